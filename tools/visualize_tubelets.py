"""Show action tubes: an annotated video, a 3-D plot and a contact sheet for each video of a tube table.

    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --output pictures
    python tools/visualize_tubelets.py tubes.csv --video clips/*.avi --ground-truth truth.csv --output pictures
    python tools/visualize_tubelets.py tubes.csv --output figures --format pdf

Written for a video called NAME: NAME_tubes.mp4 and NAME_sheet.png where its file is given, and NAME_plot.png in any
case. Files are matched with the names in the table by their name without folder and suffix. An actor with tubes of
several classes is shown once, with its best class; the next ones stand in the panel (--every-tube shows all).
The ground truth is a tube table, the J-HMDB pickle or the UCF101-24 pickle.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from linking.records import VideoAnnotation


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tubes", type=Path, metavar="TUBES", help="tube table: .csv, .parquet or .json")
    parser.add_argument(
        "--video",
        nargs="+",
        default=[],
        metavar="V",
        help="video files or folders of frames that the table is about",
    )
    parser.add_argument("--ground-truth", type=Path, metavar="GT", help="drawn beside the tubes")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the pictures")
    parser.add_argument(
        "--format", choices=["png", "pdf", "svg"], default="png", help="of the plot (default: png)"
    )
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.0,
        metavar="S",
        help="leave out tubes with a lower score (default: 0)",
    )
    parser.add_argument(
        "--every-tube", action="store_true", help="draw all tubes of an actor, not its best one only"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return visualize(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def visualize(args: argparse.Namespace) -> int:
    from linking.records import VideoAnnotation
    from linking.tables import annotations_from_table, read_tubes

    videos = {annotation.video: annotation for annotation in annotations_from_table(read_tubes(args.tubes))}
    if not videos and len(args.video) == 1:
        # nothing was found in the only video there is: worth looking at all the same
        videos = {Path(args.video[0]).stem: VideoAnnotation(Path(args.video[0]).stem)}
    if not videos:
        raise ValueError(f"{args.tubes}: there is no tube in this table, so there is nothing to draw")
    files = match_files(list(videos), args.video, args.tubes)
    truth = read_ground_truth(args.ground_truth) if args.ground_truth else {}
    check_files(files)
    for name, prefix in zip(videos, output_names(list(videos))):
        if args.ground_truth and name not in truth:
            hint = nearest(name, list(truth))
            print(f"warning: {args.ground_truth}: no ground truth of video {name!r}{hint}", file=sys.stderr)
        show(videos[name], truth.get(name), files.get(name), args.output / prefix, args)
    return 0


def show(
    annotation: VideoAnnotation,
    truth: VideoAnnotation | None,
    file: str | None,
    prefix: Path,
    args: argparse.Namespace,
) -> None:
    """Write the pictures of one video and print their names."""
    from eval.plots import plot_tubes
    from linking.actors import Actor, group_by_actor
    from video.contact_sheet import write_contact_sheet
    from video.drawing import annotate_video
    from video.frames import open_video

    # a tube without a score (ground truth shown by itself) is kept
    kept = [tube for tube in annotation.tubes if not tube.score < args.score_threshold]
    if args.every_tube:
        actors = [Actor(tube, ((tube.label, tube.score),)) for tube in kept]
    else:
        actors = group_by_actor(kept)
    tubes = [actor.tube for actor in actors]
    true_tubes = truth.tubes if truth is not None else None
    size: dict[str, Any] = {key: getattr(annotation, key) for key in ("width", "height", "num_frames")}
    if file is not None:
        classes = {actor.tube.id: actor.classes for actor in actors}
        video, sheet = Path(f"{prefix}_tubes.mp4"), Path(f"{prefix}_sheet.png")
        with open_video(file) as source:
            size = {"width": source.width, "height": source.height, "fps": source.fps}
            total = source.stated_frames
        with progress_bar(f"{annotation.video}: video", total) as step:
            size["num_frames"] = annotate_video(
                file, video, tubes, top_classes=classes, ground_truth=true_tubes, progress=step
            )
        print(video)
        with progress_bar(f"{annotation.video}: contact sheet", size["num_frames"]) as step:
            write_contact_sheet(file, sheet, tubes, ground_truth=true_tubes, progress=step)
        print(sheet)
    plot = Path(f"{prefix}_plot.{args.format}")
    plot_tubes(plot, tubes, ground_truth=true_tubes, title=annotation.video, **size)
    print(plot)


def match_files(names: Sequence[str], files: Sequence[str], table: Path) -> dict[str, str]:
    """The file of each video of the table, where one was given; ValueError for files that belong to none."""
    if len(names) == 1 and len(files) == 1:
        return {names[0]: files[0]}
    found: dict[str, str] = {}
    for file in files:
        path = Path(file)
        matches = [name for name in names if _stem(name) == (path.name if path.is_dir() else path.stem)]
        if len(matches) > 1:
            # names with folders: the path tells them apart
            whole = path.as_posix() if path.is_dir() else path.with_suffix("").as_posix()
            matches = [name for name in matches if f"/{whole}".endswith(f"/{name}")] or matches
        if not matches:
            raise ValueError(f"{file}: {table} has no video of this name{nearest(path.stem, names)}")
        if len(matches) > 1:
            listed = ", ".join(matches[:4])
            raise ValueError(
                f"{file}: several videos of {table} could be meant: {listed}; give one table a video"
            )
        if matches[0] in found:
            raise ValueError(f"{file}: video {matches[0]!r} was given already, as {found[matches[0]]}")
        found[matches[0]] = file
    return found


def check_files(files: dict[str, str]) -> None:
    """Open every video once, so that a bad one is found before the first picture is written."""
    from video.frames import VideoError, open_video

    for file in files.values():
        with open_video(file) as source:
            if source.is_live:
                raise VideoError(f"{source.name}: tubes are drawn into files, not into live sources")


def read_ground_truth(path: Path) -> dict[str, VideoAnnotation]:
    from linking.tables import SUFFIXES, annotations_from_table, read_tubes
    from video.jhmdb import is_jhmdb, parse_jhmdb
    from video.pickles import load_pickle
    from video.ucf24 import is_ucf24, parse_ucf24

    if path.suffix.lower() in SUFFIXES:
        return {annotation.video: annotation for annotation in annotations_from_table(read_tubes(path))}
    data = load_pickle(path)
    if is_jhmdb(data):
        annotations = parse_jhmdb(data, path).videos
    elif is_ucf24(data):
        annotations = parse_ucf24(data, path).videos
    else:
        raise ValueError(f"{path}: neither a tube table nor the J-HMDB or UCF101-24 pickle")
    return {annotation.video: annotation for annotation in annotations}


def output_names(names: Sequence[str]) -> list[str]:
    """A file name for every video: without folders where that is unambiguous, without characters that shells fear."""
    stems = [_stem(name) for name in names]
    chosen: list[str] = []
    for name, stem in zip(names, stems):
        plain = (
            re.sub(r"[^\w.+()-]+", "_", stem if stems.count(stem) == 1 else name).strip("._")[:120] or "video"
        )
        number = 2
        unique = plain
        while unique in chosen:
            unique, number = f"{plain}_{number}", number + 1
        chosen.append(unique)
    return chosen


def nearest(name: str, known: Sequence[str]) -> str:
    """The names most like ``name``, as the end of a sentence."""
    by_stem = {_stem(other): other for other in known}
    close = [by_stem[stem] for stem in get_close_matches(_stem(name), list(by_stem), n=3, cutoff=0.5)]
    shown = close or list(known)[:3]
    return f"; {'nearest' if close else 'it has'}: {', '.join(shown)}"[:150] if shown else ""


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere; gives the function to call with the number of frames done."""
    from tqdm import tqdm

    with tqdm(desc=title, total=total, unit="frame", disable=None, leave=False) as bar:
        yield lambda done: bar.update(done - bar.n) and None


def _stem(name: str) -> str:
    """Name of a video without its folders; and without a suffix, if it ends in one of a video."""
    last = name.rstrip("/").rpartition("/")[2]
    return re.sub(r"\.(mp4|m4v|mov|avi|mkv|webm|mpe?g|ts|gif)$", "", last, flags=re.IGNORECASE)


if __name__ == "__main__":
    sys.exit(main())
