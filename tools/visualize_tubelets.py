"""Show action tubes: an annotated video, a contact sheet, a film strip and a 3-D plot for each video of a tube table.

    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --output pictures
    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --output pictures --trails
    python tools/visualize_tubelets.py tubes.csv --video clips/*.avi --ground-truth truth.csv --errors --output pictures
    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --only plot strip --format pdf --output figures
    python tools/visualize_tubelets.py tubes.csv --video my.mp4 --scores my.scores.npz --report report.html

Written for a video called NAME: NAME_tubes.mp4, NAME_sheet.png and NAME_strip.png where its file is given, and
NAME_plot.png in any case (docs/visualizing.md). Files are matched with the names in the table by their name without
folder and suffix. An actor with tubes of several classes is shown once, with its best class (--every-tube: all).
The ground truth is of any format that is read (docs/formats.md).

--errors colours tubes by what the evaluator says of those that are drawn: correct, wrong place, wrong time, wrong
class, found twice, false alarm; ground truth that none of them finds is drawn as missed.

--report writes one HTML page: player, timeline, best classes, ground truth beside predictions. With the --scores the
tubes were made from also how every class scored and, if the record of the run lies beside TUBES (run.json,
NAME.settings.json), what was trimmed away.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from detection.report_records import VideoReport
    from linking.actors import Actor
    from linking.looks import Looks
    from linking.records import Tube, VideoAnnotation
    from video.thumbnails import Thumbnails

PICTURES = ("video", "sheet", "strip", "plot")
MAX_STRIPS, COLUMNS = 8, 8  # rows of a film strip, and crops in each


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tubes", type=Path, metavar="TUBES", help="tube table: .csv, .parquet or .json")
    parser.add_argument(
        "--video", nargs="+", default=[], metavar="V", help="video files or folders of frames that the table is about"
    )
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder of the pictures (default: the report's)")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=PICTURES, metavar="P", help=", ".join(PICTURES))
    parser.add_argument("--format", choices=["png", "pdf", "svg"], default="png", help="of plot and strip (png)")
    parser.add_argument("--trails", action="store_true", help="video: the path of each box over the last second")
    parser.add_argument("--frames", type=int, default=4, metavar="N", help="pictures in the plot (default: 4)")
    parser.add_argument(
        "--score-threshold", type=float, default=0.0, metavar="S", help="leave out tubes with a lower score (0)"
    )
    parser.add_argument("--every-tube", action="store_true", help="draw all tubes of an actor, not its best one only")
    truth = parser.add_argument_group("ground truth")
    truth.add_argument("--ground-truth", type=Path, metavar="GT", help="drawn beside the tubes: file or folder")
    truth.add_argument("--ground-truth-kind", metavar="KIND", help="where it is not recognised: jhmdb, cvat, ...")
    truth.add_argument("--split", type=int, metavar="N", help="only the test videos of this split (default: all)")
    truth.add_argument("--errors", action="store_true", help="colour tubes by what is wrong with them")
    truth.add_argument("--iou", type=float, default=0.5, metavar="IOU", help="overlap that counts as found (0.5)")
    report = parser.add_argument_group("report")
    report.add_argument("--report", type=Path, metavar="FILE", help="page about all videos, .html")
    report.add_argument("--scores", type=Path, nargs="+", default=[], metavar="NPZ", help="score files, for the report")
    args = parser.parse_args(argv)
    if args.output is None:
        if args.report is None:
            parser.error("give --output, --report or both")
        args.output = args.report.parent
    if args.scores and args.report is None:
        parser.error("--scores are for the report; give --report too")
    if args.errors and args.ground_truth is None:
        parser.error("--errors compares with the ground truth; give --ground-truth too")
    if not 0 <= args.frames <= 20:
        parser.error("--frames must be 0 to 20")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
            return visualize(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; pictures that were named are whole, no others were written", file=sys.stderr)
        return 130


def visualize(args: argparse.Namespace) -> int:
    from detection.report_page import write_report
    from detection.report_records import run_report
    from detection.table_report import record_beside, table_video_report
    from linking.actors import group_by_actor, one_by_one
    from linking.records import VideoAnnotation
    from linking.scores import read_scores
    from linking.tables import annotations_from_table, read_tubes
    from video.ground_truth import truth_by_video
    from video.table_videos import check_files, match_files, nearest, output_names, same_video, scores_by_video
    from video.thumbnails import thumbnails_for

    videos = {annotation.video: annotation for annotation in annotations_from_table(read_tubes(args.tubes))}
    if not videos and len(args.video) == 1:
        # nothing was found in the only video there is: worth looking at all the same
        videos = {Path(args.video[0]).stem: VideoAnnotation(Path(args.video[0]).stem)}
    if not videos:
        raise ValueError(f"{args.tubes}: there is no tube in this table, so there is nothing to draw")
    files = match_files(list(videos), args.video, args.tubes)
    truth: dict[str, VideoAnnotation] = {}
    if args.ground_truth:
        truth = truth_by_video(args.ground_truth, kind=args.ground_truth_kind, split=args.split)
    check_files(files)
    scores = scores_by_video(args.scores, list(videos))
    record = record_beside(args.tubes)
    reports: list[VideoReport] = []
    for name, prefix in zip(videos, output_names(list(videos))):
        known = same_video(name, list(truth))
        if args.ground_truth and known is None:
            hint = nearest(name, list(truth))
            print(f"warning: {args.ground_truth}: no ground truth of video {name!r}{hint}", file=sys.stderr)
        # a tube without a score (ground truth shown by itself) is kept
        kept = [tube for tube in videos[name].tubes if not tube.score < args.score_threshold]
        actors = one_by_one(kept) if args.every_tube else group_by_actor(kept)
        tubes, true = [actor.tube for actor in actors], truth[known].tubes if known else None
        thumbnails = thumbnails_for(tubes, len(videos), ground_truth=true or ()) if args.report else None
        job = Job(videos[name], actors, tubes, true, thumbnails)
        annotation, fps, annotated = show(job, files.get(name), args.output / prefix, args)
        if args.report:
            reports.append(
                table_video_report(
                    annotation,
                    job.actors,
                    record,
                    fps=fps,
                    scored=read_scores(scores[name]) if name in scores else None,
                    truth=job.truth,
                    thumbnails=job.thumbnails,
                    annotated=annotated,
                )
            )
    if args.report:
        write_report(args.report, run_report(reports, provenance(args, record)))
        print(args.report)
    return 0


class Job(NamedTuple):
    """One video and what is to be shown of it."""

    annotation: VideoAnnotation
    actors: list[Actor]
    tubes: list[Tube]
    """Of the actors."""
    truth: Sequence[Tube] | None
    thumbnails: Thumbnails | None


def show(
    job: Job, file: str | None, prefix: Path, args: argparse.Namespace
) -> tuple[VideoAnnotation, float | None, Path | None]:
    """Write the pictures of one video and print their names; its file is read once, whatever is made of it.

    Returns the annotation with length and size, frames a second, and the annotated video, as far as its file tells.
    """
    from eval.film_strip import Strip, plot_film_strip
    from eval.plots import plot_tubes
    from eval.verdicts import looks_for
    from video.contact_sheet import ContactSheet
    from video.watching import Crops, SpreadFrames

    name, looks = job.annotation.video, looks_for(job.tubes, job.truth, iou=args.iou, errors=args.errors)
    facts: dict[str, Any] = {key: getattr(job.annotation, key) for key in ("width", "height", "num_frames")}
    common: dict[str, Any] = {"ground_truth": job.truth, "looks": looks}
    annotated, pictures = None, {}
    if file is not None:
        missed = [tube for tube in job.truth or () if looks.of_true(tube).word]
        rows = [*((tube, False) for tube in job.tubes), *((tube, True) for tube in missed)]
        sheet, spread = ContactSheet(job.tubes, **common), SpreadFrames(args.frames)
        crops = Crops([tube for tube, _ in rows[:MAX_STRIPS]], COLUMNS)
        wanted = {"sheet": sheet.see, "strip": crops.see, "plot": spread.see}
        watchers = [see for kind, see in wanted.items() if kind in args.only]
        annotated, seen = look_through(job, file, prefix, args, looks, watchers)
        facts |= seen
        pictures = spread.pictures(facts["num_frames"])
        if "sheet" in args.only:
            sheet.save(f"{prefix}_sheet.png")
            print(f"{prefix}_sheet.png")
        if "strip" in args.only:
            path = f"{prefix}_strip.{args.format}"
            strips = [Strip(tube, crops.of(k), is_true) for k, (tube, is_true) in enumerate(rows[:MAX_STRIPS])]
            more = {"fps": facts["fps"], "title": name, "left_out": len(rows) - len(strips)}
            plot_film_strip(path, strips, columns=COLUMNS, **more, **common)
            print(path)
    if "plot" in args.only:
        plot_tubes(f"{prefix}_plot.{args.format}", job.tubes, title=name, pictures=pictures, **facts, **common)
        print(f"{prefix}_plot.{args.format}")
    fps = facts.pop("fps", None)
    return replace(job.annotation, **facts), fps, annotated


def look_through(
    job: Job, file: str, prefix: Path, args: argparse.Namespace, looks: Looks, watchers: Sequence[Any]
) -> tuple[Path | None, dict[str, Any]]:
    """Read the video once for all ``watchers``, and draw into it if that is wanted; the drawing, size and length."""
    from video.drawing import annotate_video
    from video.frames import open_video
    from video.watching import progress_bar, together, watch_video

    with open_video(file) as source:
        facts: dict[str, Any] = {"width": source.width, "height": source.height, "fps": source.fps}
        total = source.stated_frames
    see = together([*watchers, *([job.thumbnails.see] if job.thumbnails else [])])
    path = Path(f"{prefix}_tubes.mp4") if "video" in args.only else None
    with progress_bar(job.annotation.video, total) as step:
        if path is None:
            facts["num_frames"] = watch_video(file, see, [*job.tubes, *(job.truth or ())], progress=step)
            return None, facts
        facts["num_frames"] = annotate_video(
            file,
            path,
            job.tubes,
            top_classes={actor.tube.id: actor.classes for actor in job.actors},
            ground_truth=job.truth,
            progress=step,
            watch=see,
            looks=looks,
            trails=1.0 if args.trails else 0.0,
        )
    print(path)
    return path, facts


def provenance(args: argparse.Namespace, record: dict[str, Any]) -> dict[str, Any]:
    """What the report is about, then what made the tubes, as the record beside them says."""
    from eval.provenance import file_record

    about: dict[str, Any] = {"tubes": file_record(args.tubes)}
    if args.ground_truth:
        about["ground truth"] = file_record(args.ground_truth)
    return about | {name: value for name, value in record.items() if name not in ("videos", "failed")}


if __name__ == "__main__":
    sys.exit(main())
