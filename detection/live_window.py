"""A window that shows a live run: one more viewer of its page, in a process of its own.

Started by ``detection.live_show`` with the address of the page. Code 0: the window was closed, or the run has ended.
Code 3: there is no screen, or Python has no Tk.
"""

from __future__ import annotations

import io
import queue
import sys
import threading
import urllib.request
from contextlib import suppress

from PIL import Image

NO_SCREEN = 3


def pictures(address: str) -> queue.Queue[bytes | None]:
    """The newest JPEG of the stream, put into a queue of one by a thread; None when the stream has ended."""
    newest: queue.Queue[bytes | None] = queue.Queue(maxsize=1)

    def put(jpeg: bytes | None) -> None:
        if newest.full():
            with suppress(queue.Empty):
                newest.get_nowait()
        newest.put(jpeg)

    def read() -> None:
        try:
            with urllib.request.urlopen(f"{address}stream.mjpg") as stream:
                while line := stream.readline():
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                        stream.readline()
                        put(stream.read(length))
        except (OSError, ValueError):
            pass
        put(None)

    threading.Thread(target=read, daemon=True).start()
    return newest


def main(address: str, title: str) -> int:
    """Show the pictures until the window is closed or the stream ends."""
    try:
        import tkinter

        from PIL import ImageTk

        window = tkinter.Tk()
    except Exception:  # no Tk in this Python, no screen, a screen that is not ours
        return NO_SCREEN
    window.title(title)
    window.configure(background="black")
    label = tkinter.Label(window, borderwidth=0, background="black")
    label.pack(fill="both", expand=True)
    newest = pictures(address)

    def show() -> None:
        try:
            jpeg = newest.get_nowait()
        except queue.Empty:
            window.after(10, show)
            return
        if jpeg is None:
            window.destroy()
            return
        image: Image.Image = Image.open(io.BytesIO(jpeg))
        size = (label.winfo_width(), label.winfo_height())
        if min(size) > 50:  # the window has a size, which the user may have changed
            scale = min(size[0] / image.width, size[1] / image.height)
            image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        shown = ImageTk.PhotoImage(image)
        label.configure(image=shown)
        label.image = shown  # type: ignore[attr-defined]  # Tk keeps no reference
        window.after(10, show)

    show()
    window.mainloop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
