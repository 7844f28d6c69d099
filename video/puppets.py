"""The generated dataset: small labelled videos of puppets, written in the layouts of J-HMDB or UCF101-24.

It exists so that tests, examples and first trainings need no download: articulated figures over textured
backgrounds under a moving camera, people who only stand there, actions told apart by motion alone, by the order of
time or by what stands far away (video/puppet_actions.py). Boxes are exact, and everything follows from the seed.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from video.puppet_actions import ACTIONS
from video.puppet_scenes import Scene, render
from video.puppet_stories import Style, random_source, told_scene, trimmed_scene, untrimmed_scene
from video.ucf24 import HEIGHT as UCF_HEIGHT
from video.ucf24 import WIDTH as UCF_WIDTH
from video.writing import VideoWriter

MARKER = "puppets.json"
"""Says how a folder was made, and that it was made here: only such a folder is ever replaced."""


class PuppetsError(ValueError):
    """A wish that cannot be granted, or a folder that must not be written to."""


@dataclass(frozen=True)
class PuppetsConfig:
    """What to generate."""

    layout: Literal["jhmdb", "ucf24"] = "jhmdb"
    """jhmdb: trimmed, one action from the first frame to the last; ucf24: untrimmed, several tubes a video."""
    classes: tuple[str, ...] = tuple(ACTIONS)
    """Names from video.puppet_actions.ACTIONS, which are those of J-HMDB."""
    train_per_class: int = 24
    """Training videos of each class."""
    test_per_class: int = 8
    clips_per_source: int = 2
    """Clips that share place, people and light; a source is never in both parts."""
    min_frames: int = 24
    max_frames: int = 40
    max_actors: int = 3
    """In an untrimmed video; in a trimmed one a single puppet acts."""
    style: Style = field(default_factory=Style)
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.classes if name not in ACTIONS]
        if unknown:
            raise PuppetsError(f"puppets cannot {unknown[0]!r}; they can {', '.join(ACTIONS)}")
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise PuppetsError("classes must be at least one name, each once")
        if self.layout not in ("jhmdb", "ucf24"):
            raise PuppetsError(f"layout must be jhmdb or ucf24, got {self.layout!r}")
        for name, least in (("train_per_class", 1), ("test_per_class", 0), ("clips_per_source", 1), ("max_actors", 1)):
            if getattr(self, name) < least:
                raise PuppetsError(f"{name} must be {least} or more, got {getattr(self, name)}")
        if not 2 <= self.min_frames <= self.max_frames:
            raise PuppetsError(f"frames must be 2 <= min <= max, got {self.min_frames}..{self.max_frames}")
        size = self.style.width, self.style.height
        if min(size) < 32 or size[0] % 2 or size[1] % 2:
            raise PuppetsError(f"a picture must have even sides of 32 pixels or more, got {size[0]}x{size[1]}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of their labels, as in the real datasets: alphabetical."""
        return tuple(sorted(self.classes))


QUICK_CLASSES = ("clap", "jump", "pick", "sit", "walk", "wave")

PRESETS: dict[str, PuppetsConfig] = {
    # clear motions, large people, at most one bystander who stands still: learnt from scratch on a CPU in minutes
    "quick": PuppetsConfig(
        classes=QUICK_CLASSES,
        train_per_class=24,
        test_per_class=8,
        style=Style(min_person=0.5, max_person=0.8, camera=0.5, bystanders=1, frozen_bystanders=False, noise=2.0),
    ),
    "full": PuppetsConfig(),
}


def for_layout(config: PuppetsConfig, layout: Literal["jhmdb", "ucf24"]) -> PuppetsConfig:
    """The same wishes in another layout; untrimmed videos are twice as long and have UCF101's 320x240 pixels."""
    if layout == config.layout:
        return config
    if layout == "jhmdb":
        raise PuppetsError("presets are trimmed; make an untrimmed config from them, not the other way round")
    style = replace(config.style, width=UCF_WIDTH, height=UCF_HEIGHT)
    frames = 2 * config.min_frames, 2 * config.max_frames
    return replace(config, layout=layout, style=style, min_frames=frames[0], max_frames=frames[1])


@dataclass(frozen=True)
class Clip:
    """One video to be made."""

    label: str
    name: str
    """``class/clip`` in the manner of the layout."""
    is_test: bool
    source: int
    """Number of the source among those of its class."""
    scene: Callable[[], Scene]


@dataclass(frozen=True)
class DrawnTube:
    """What was drawn of an actor while it acted."""

    label: str
    first_frame: int
    boxes: np.ndarray
    """(n, 4) int64 x1 y1 x2 y2, our continuous convention: x2 is one past the last pixel."""


def plan(config: PuppetsConfig) -> list[Clip]:
    """Every video of the dataset in order; nothing is drawn yet."""
    return list(_clips(config))


def draw(scene: Scene) -> tuple[list[np.ndarray], list[DrawnTube]]:
    """The frames, (H, W, 3) uint8, and the tubes of a scene."""
    frames, boxes = [], []
    for frame, found in render(scene):
        frames.append(frame)
        boxes.append(found)
    tubes = []
    for index, actor in enumerate(scene.actors):
        if actor.label is None:
            continue
        span = [boxes[frame][index] for frame in range(actor.first_frame, actor.end_frame)]
        assert all(box is not None for box in span), f"{actor.label} left the picture"
        tubes.append(DrawnTube(actor.label, actor.first_frame, np.array(span)))
    return frames, tubes


def generate(
    output: str | os.PathLike[str],
    config: PuppetsConfig,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Make the dataset in the folder ``output`` and return counts of what was made: videos, tubes, frames, sources.

    The folder appears whole or not at all. One that exists and is not empty is refused; with ``overwrite`` it is
    replaced, if this function made it. ``progress`` is called with the number of videos made and of all.
    Raises PuppetsError.
    """
    final = Path(output)
    if final.exists() and (not final.is_dir() or any(final.iterdir())):
        if not overwrite:
            raise PuppetsError(f"{final}: exists and is not empty; name another folder or ask to overwrite it")
        if not (final / MARKER).is_file():
            raise PuppetsError(f"{final}: has no {MARKER}, so it was not made here and is not overwritten")
    work = final.with_name(f".{final.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        counts = _make(work, config, progress)
        if final.exists():
            shutil.rmtree(final)
        work.rename(final)
    except OSError as error:
        raise PuppetsError(f"{final}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return counts


DEMO_PARTS = (("wave", 8, 76), ("jump", 56, 118))
"""What happens in the demo clip: label, first frame, one past the last."""


def write_demo(path: str | os.PathLike[str], seed: int = 0) -> tuple[DrawnTube, ...]:
    """Write the demo clip: five seconds of 320x240 pixels with two puppets; returns who does what, when and where.

    Raises VideoError where the file cannot be written.
    """
    style = Style(width=320, height=240, min_person=0.52, max_person=0.62, camera=0.0, noise=0.0)
    rng = np.random.default_rng([seed, 1])
    source = random_source(rng, style, people=len(DEMO_PARTS))
    frames, tubes = draw(told_scene(rng, source, style, DEMO_PARTS, num_frames=125))
    with VideoWriter(path, width=style.width, height=style.height, fps=style.fps) as writer:
        for frame in frames:
            writer.write(frame)
    return tuple(sorted(tubes, key=lambda tube: tube.first_frame))


def _make(folder: Path, config: PuppetsConfig, progress: Callable[[int, int], None] | None) -> dict[str, int]:
    clips = plan(config)
    drawn: dict[str, tuple[int, list[DrawnTube]]] = {}
    for number, clip in enumerate(clips, 1):
        frames, tubes = draw(clip.scene())
        write_avi(folder / "videos" / f"{clip.name}.avi", frames, config.style.fps)
        drawn[clip.name] = len(frames), tubes
        if progress:
            progress(number, len(clips))
    write = _write_jhmdb if config.layout == "jhmdb" else _write_ucf24
    write(folder, config, clips, drawn)
    (folder / MARKER).write_text(json.dumps({"made_by": "video/puppets.py", "config": asdict(config)}, indent=1) + "\n")
    return {
        "videos": len(clips),
        "tubes": sum(len(tubes) for _, tubes in drawn.values()),
        "frames": sum(num_frames for num_frames, _ in drawn.values()),
        "sources": len({(clip.label, clip.source) for clip in clips}),
    }


def _clips(config: PuppetsConfig) -> Iterator[Clip]:
    for label in config.class_names:
        # The stream of a class does not depend on which other classes there are.
        key = zlib.crc32(label.encode())
        first_test = -(-config.train_per_class // config.clips_per_source)
        for count, first_source, is_test in (
            (config.train_per_class, 0, False),
            (config.test_per_class, first_test, True),
        ):
            for index in range(count):
                source, clip = first_source + index // config.clips_per_source, index % config.clips_per_source
                yield Clip(
                    label, _name(config, label, source, clip), is_test, source, _maker(config, label, key, source, clip)
                )


def _maker(config: PuppetsConfig, label: str, key: int, source: int, clip: int) -> Callable[[], Scene]:
    def make() -> Scene:
        place = random_source(np.random.default_rng([config.seed, key, source]), config.style, config.max_actors + 1)
        rng = np.random.default_rng([config.seed, key, source, clip + 1])
        num_frames = int(rng.integers(config.min_frames, config.max_frames + 1))
        if config.layout == "jhmdb":
            return trimmed_scene(rng, place, config.style, label, num_frames)
        return untrimmed_scene(rng, place, config.style, label, num_frames, config.max_actors)

    return make


def camel_case(label: str) -> str:
    """``kick_ball`` as UCF101 would write it: ``KickBall``."""
    return "".join(word.capitalize() for word in label.split("_"))


def _name(config: PuppetsConfig, label: str, source: int, clip: int) -> str:
    if config.layout == "ucf24":
        return f"{camel_case(label)}/v_{camel_case(label)}_g{source + 1:02d}_c{clip + 1:02d}"
    # HMDB51's tags: full body, camera moves or not, number of people, front, quality, running number
    motion = "cm" if config.style.camera else "nm"
    return f"{label}/puppets{zlib.crc32(label.encode()) % 1000:03d}{source:03d}_{label}_f_{motion}_np1_fr_goo_{clip}"


def write_avi(path: Path, frames: list[np.ndarray], fps: float) -> None:
    """Frames, (H, W, 3) uint8 RGB, as MPEG-4 in AVI, which is what both real datasets consist of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        options = {"flags": "+qscale+bitexact", "global_quality": str(3 * 118)}
        stream = container.add_stream("mpeg4", rate=Fraction(fps).limit_denominator(1001), options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))


# ---- annotation in the layouts of the real datasets


def _write_jhmdb(
    folder: Path, config: PuppetsConfig, clips: list[Clip], drawn: dict[str, tuple[int, list[DrawnTube]]]
) -> None:
    """JHMDB-GT.pkl with 1-based frames and inclusive boxes, and the official split files."""
    tubes: dict[str, dict[int, list[np.ndarray]]] = {}
    for name, (_, drawn_tubes) in drawn.items():
        by_label: dict[int, list[np.ndarray]] = {}
        for tube in drawn_tubes:
            frames = np.arange(len(tube.boxes))[:, None] + tube.first_frame + 1
            rows = np.concatenate([frames, tube.boxes - [0, 0, 1, 1]], axis=1).astype(np.float32)
            by_label.setdefault(config.class_names.index(tube.label), []).append(rows)
        tubes[name] = by_label
    train, test = ([clip.name for clip in clips if clip.is_test == part] for part in (False, True))
    data = {
        "labels": list(config.class_names),
        "gttubes": tubes,
        "nframes": {name: num_frames for name, (num_frames, _) in drawn.items()},
        "train_videos": [train],
        "test_videos": [test],
        "resolution": dict.fromkeys(drawn, (config.style.height, config.style.width)),
    }
    _write_pickle(folder / "JHMDB-GT.pkl", data)
    for label in config.class_names:
        lines = [f"{Path(clip.name).name}.avi {1 + clip.is_test}" for clip in clips if clip.label == label]
        path = folder / "splits" / f"{label}_test_split1.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n")


def _write_ucf24(
    folder: Path, config: PuppetsConfig, clips: list[Clip], drawn: dict[str, tuple[int, list[DrawnTube]]]
) -> None:
    """pyannot.pkl with boxes x y w h for 320x240 pixels in uint8 where they fit, and testlist01.txt."""
    scale = np.array([UCF_WIDTH / config.style.width, UCF_HEIGHT / config.style.height] * 2)
    data = {}
    for clip in clips:
        num_frames, tubes = drawn[clip.name]
        label = config.class_names.index(clip.label)
        annotations = []
        for tube in tubes:
            x1, y1, x2, y2 = np.rint(tube.boxes * scale).astype(np.int64).T
            boxes = np.stack([x1, y1, x2 - x1, y2 - y1], axis=1)
            boxes = boxes.astype(np.uint8 if boxes.max() < 256 else np.uint16)
            end = tube.first_frame + len(boxes)
            annotations.append({"label": label, "sf": tube.first_frame, "ef": end, "boxes": boxes})
        # The real file has NumPy scalars here, a trap for whoever adds to them.
        kind: Any = np.uint8 if num_frames < 256 else np.uint16
        data[clip.name] = {"annotations": annotations, "label": label, "numf": kind(num_frames)}
    _write_pickle(folder / "pyannot.pkl", data)
    (folder / "testlist01.txt").write_text("".join(f"{clip.name}\n" for clip in clips if clip.is_test))


def _write_pickle(path: Path, data: Any) -> None:
    """The real datasets are pickles; protocol 2 is what Python 2 could still read."""
    path.write_bytes(pickle.dumps(data, protocol=2))
