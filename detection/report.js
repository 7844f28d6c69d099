"use strict";
// A click on a tube plays its video from there, a click on a small picture stops there; a line shows the time.
// The page can be read without this.
document.documentElement.classList.add("scripted");

// Some browsers cannot seek in a data URL, all can in a blob.
function asBlob(url) {
  const [head, data] = url.slice("data:".length).split(";base64,");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: head }));
}

for (const section of document.querySelectorAll("section.video")) {
  const video = section.querySelector("video");
  if (!video) continue;
  section.classList.add("playable");
  const seconds = Number(section.dataset.seconds);
  const timeline = section.querySelector(".timeline");
  const failure = section.querySelector(".player .warning");

  const showTime = () => {
    timeline?.style.setProperty("--now", Math.min(100, (100 * video.currentTime) / seconds));
    if (!video.paused) requestAnimationFrame(showTime);
  };
  for (const event of ["play", "seeking", "timeupdate"]) video.addEventListener(event, showTime);
  video.addEventListener("error", () => { failure.hidden = false; });

  const go = (second, plays) => {
    video.currentTime = second;
    if (plays && !matchMedia("(prefers-reduced-motion: reduce)").matches) video.play().catch(() => {});
    else video.pause();
    video.scrollIntoView({ block: "nearest" });
  };

  section.addEventListener("click", (event) => {
    const link = event.target.closest("[data-from], [data-at]");
    if (link) {
      event.preventDefault();
      go(Number(link.dataset.from ?? link.dataset.at), "from" in link.dataset);
      return;
    }
    const track = event.target.closest(".track");
    if (track) {
      const place = track.getBoundingClientRect();
      go((seconds * (event.clientX - place.left)) / place.width, !video.paused);
    }
  });

  if (video.src.startsWith("data:")) video.src = asBlob(video.src);
}
