"""Show action tubes: an annotated video, a 3-D plot and a contact sheet for each video of a tube table; a report.

    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --output pictures
    python tools/visualize_tubelets.py tubes.csv --video clips/*.avi --ground-truth truth.csv --output pictures
    python tools/visualize_tubelets.py tubes.csv --output figures --format pdf
    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --scores my.scores.npz --report report.html

Written for a video called NAME: NAME_tubes.mp4 and NAME_sheet.png where its file is given, and NAME_plot.png in any
case. Files are matched with the names in the table by their name without folder and suffix. An actor with tubes of
several classes is shown once, with its best class; the next ones stand in the panel (--every-tube shows all).
The ground truth is a tube table, the J-HMDB pickle or the UCF101-24 pickle.

--report writes one HTML page: player, timeline of the tubes, best classes, ground truth beside predictions. With the
--scores the tubes were made from it also shows how every class scored and, if the record of the run lies beside
TUBES (run.json, NAME.settings.json), what was trimmed away.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from detection.report_records import VideoReport
    from linking.actors import Actor
    from linking.records import Tube, VideoAnnotation
    from video.thumbnails import Thumbnails


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tubes", type=Path, metavar="TUBES", help="tube table: .csv, .parquet or .json")
    parser.add_argument(
        "--video",
        nargs="+",
        default=[],
        metavar="V",
        help="video files or folders of frames that the table is about",
    )
    parser.add_argument("--ground-truth", type=Path, metavar="GT", help="drawn beside the tubes")
    parser.add_argument("--report", type=Path, metavar="FILE", help="page about all videos, .html")
    parser.add_argument("--scores", type=Path, nargs="+", default=[], metavar="NPZ", help="score files, for the report")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="folder for the pictures (default: that of the report)"
    )
    parser.add_argument("--format", choices=["png", "pdf", "svg"], default="png", help="of the plot (default: png)")
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.0,
        metavar="S",
        help="leave out tubes with a lower score (default: 0)",
    )
    parser.add_argument("--every-tube", action="store_true", help="draw all tubes of an actor, not its best one only")
    args = parser.parse_args(argv)
    if args.output is None:
        if args.report is None:
            parser.error("give --output, --report or both")
        args.output = args.report.parent
    if args.scores and args.report is None:
        parser.error("--scores are for the report; give --report too")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return visualize(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def visualize(args: argparse.Namespace) -> int:
    from detection.report_page import write_report
    from detection.report_records import run_report
    from detection.table_report import record_beside, table_video_report
    from linking.records import VideoAnnotation
    from linking.scores import read_scores
    from linking.tables import annotations_from_table, read_tubes
    from video.thumbnails import thumbnails_for

    videos = {annotation.video: annotation for annotation in annotations_from_table(read_tubes(args.tubes))}
    if not videos and len(args.video) == 1:
        # nothing was found in the only video there is: worth looking at all the same
        videos = {Path(args.video[0]).stem: VideoAnnotation(Path(args.video[0]).stem)}
    if not videos:
        raise ValueError(f"{args.tubes}: there is no tube in this table, so there is nothing to draw")
    files = match_files(list(videos), args.video, args.tubes)
    truth = read_ground_truth(args.ground_truth) if args.ground_truth else {}
    check_files(files)
    scores = scores_by_video(args.scores, list(videos))
    record = record_beside(args.tubes)
    reports: list[VideoReport] = []
    for name, prefix in zip(videos, output_names(list(videos))):
        if args.ground_truth and name not in truth:
            hint = nearest(name, list(truth))
            print(f"warning: {args.ground_truth}: no ground truth of video {name!r}{hint}", file=sys.stderr)
        true_tubes = truth[name].tubes if name in truth else None
        actors = actors_to_show(videos[name], args)
        thumbnails = None
        if args.report:
            tubes = [actor.tube for actor in actors]
            thumbnails = thumbnails_for(tubes, len(videos), ground_truth=true_tubes or ())
        shown = show(videos[name], actors, true_tubes, files.get(name), args.output / prefix, args.format, thumbnails)
        annotation, fps, annotated = shown
        if args.report:
            scored = read_scores(scores[name]) if name in scores else None
            reports.append(
                table_video_report(
                    annotation,
                    actors,
                    record,
                    fps=fps,
                    scored=scored,
                    truth=true_tubes,
                    thumbnails=thumbnails,
                    annotated=annotated,
                )
            )
    if args.report:
        write_report(args.report, run_report(reports, provenance(args, record)))
        print(args.report)
    return 0


def actors_to_show(annotation: VideoAnnotation, args: argparse.Namespace) -> list[Actor]:
    from linking.actors import Actor, group_by_actor

    # a tube without a score (ground truth shown by itself) is kept
    kept = [tube for tube in annotation.tubes if not tube.score < args.score_threshold]
    if args.every_tube:
        return [Actor(tube, ((tube.label, tube.score),), (tube,)) for tube in kept]
    return group_by_actor(kept)


def show(
    annotation: VideoAnnotation,
    actors: Sequence[Actor],
    truth: Sequence[Tube] | None,
    file: str | None,
    prefix: Path,
    plot_format: str,
    thumbnails: Thumbnails | None,
) -> tuple[VideoAnnotation, float | None, Path | None]:
    """Write the pictures of one video and print their names.

    Returns ``annotation`` with length and size, frames a second, and the annotated video, as far as its file tells.
    """
    from eval.plots import plot_tubes
    from video.contact_sheet import write_contact_sheet
    from video.drawing import annotate_video
    from video.frames import open_video

    tubes = [actor.tube for actor in actors]
    size: dict[str, Any] = {key: getattr(annotation, key) for key in ("width", "height", "num_frames")}
    video = None
    if file is not None:
        classes = {actor.tube.id: actor.classes for actor in actors}
        video, sheet = Path(f"{prefix}_tubes.mp4"), Path(f"{prefix}_sheet.png")
        with open_video(file) as source:
            size = {"width": source.width, "height": source.height, "fps": source.fps}
            total = source.stated_frames
        with progress_bar(f"{annotation.video}: video", total) as step:
            watch = None if thumbnails is None else thumbnails.see
            size["num_frames"] = annotate_video(
                file, video, tubes, top_classes=classes, ground_truth=truth, progress=step, watch=watch
            )
        print(video)
        with progress_bar(f"{annotation.video}: contact sheet", size["num_frames"]) as step:
            write_contact_sheet(file, sheet, tubes, ground_truth=truth, progress=step)
        print(sheet)
    plot = Path(f"{prefix}_plot.{plot_format}")
    plot_tubes(plot, tubes, ground_truth=truth, title=annotation.video, **size)
    print(plot)
    fps = size.pop("fps", None)
    return replace(annotation, **size), fps, video


def provenance(args: argparse.Namespace, record: dict[str, Any]) -> dict[str, Any]:
    """What the report is about, then what made the tubes, as the record beside them says."""
    from eval.provenance import file_record

    about: dict[str, Any] = {"tubes": file_record(args.tubes)}
    if args.ground_truth:
        about["ground truth"] = file_record(args.ground_truth)
    return about | {name: value for name, value in record.items() if name not in ("videos", "failed")}


def scores_by_video(files: Sequence[Path], names: Sequence[str]) -> dict[str, Path]:
    """Score files by video; ValueError for one whose video is not in the table."""
    from linking.scores import files_by_video

    found = files_by_video(files)
    for name, file in found.items():
        if name not in names:
            raise ValueError(f"{file}: it is of video {name!r}, which the table does not have{nearest(name, names)}")
    return found


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
            raise ValueError(f"{file}: several videos of {table} could be meant: {listed}; give one table a video")
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
        plain = re.sub(r"[^\w.+()-]+", "_", stem if stems.count(stem) == 1 else name).strip("._")[:120] or "video"
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
