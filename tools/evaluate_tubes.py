"""Compare detected action tubes with the ground truth: video-mAP and frame-mAP, by the protocol you name.

    python tools/evaluate_tubes.py --ground-truth truth.csv --detections tubes.csv
    python tools/evaluate_tubes.py --ground-truth JHMDB-GT.pkl --split 1 --detections tubes.csv --protocol all
    python tools/evaluate_tubes.py --ground-truth pyannot.pkl --test-list testlist01.txt --detections tubes.parquet \\
        --iou 0.2 0.5 0.5:0.95 --json result.json

The ground truth is a tube table (csv, parquet, json), the J-HMDB pickle or the UCF101-24 pickle, recognised by
content. Detections are one or several tube tables, taken together; boxes that belong to no tube get
frame-mAP only. Videos are matched by name; detections in a video that the ground truth does not know are an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ground-truth", type=Path, required=True, metavar="FILE", help="what really happens")
    parser.add_argument(
        "--detections", type=Path, required=True, nargs="+", metavar="FILE", help="what was found: tube tables"
    )
    parser.add_argument(
        "--iou", nargs="+", metavar="IOU", help="thresholds or ranges like 0.5:0.95 (default: those of the dataset)"
    )
    parser.add_argument("--frame-iou", nargs="+", metavar="IOU", help="for frame-mAP (default: as --iou)")
    parser.add_argument(
        "--protocol",
        default="saha",
        metavar="NAME",
        help="saha (default), matlab-legacy, saha-legacy, act, road, yowo, multisports, ava, or all",
    )
    parser.add_argument("--explain", action="store_true", help="say in words what each protocol does")
    parser.add_argument(
        "--split", default="1", choices=["1", "2", "3", "mean"], help="of J-HMDB; mean takes one or three tables"
    )
    parser.add_argument("--part", default="test", choices=["train", "test", "all"], help="of the dataset")
    parser.add_argument(
        "--test-list", type=Path, metavar="FILE", help="names of the test videos, one a line (UCF101-24, tables)"
    )
    parser.add_argument(
        "--classes", type=Path, metavar="FILE", help="the classes to judge, one a line (default: those of the dataset)"
    )
    parser.add_argument(
        "--as-published", action="store_true", help="leave the dataset's coordinates as its authors wrote them"
    )
    parser.add_argument(
        "--ignore-unknown-videos", action="store_true", help="leave out detections in videos without ground truth"
    )
    parser.add_argument(
        "--loose-names",
        action="store_true",
        help="match names of videos without folder, suffix, capitals, - and _, where that leaves no doubt",
    )
    parser.add_argument(
        "--annotated-frames-only",
        action="store_true",
        help="frame-mAP: boxes count only in frames with ground truth (where only key frames are annotated)",
    )
    details = parser.add_argument_group("details (video tubes of one split, first protocol)")
    details.add_argument("--diagnose", action="store_true", help="why is it so low? (a zero is diagnosed anyway)")
    details.add_argument("--confidence", action="store_true", help="95 %% intervals, by drawing the videos again")
    details.add_argument("--errors", action="store_true", help="where the points are lost, by class and reason")
    details.add_argument("--ceilings", action="store_true", help="what perfect labels, trimming, linking would give")
    details.add_argument("--tracking", action="store_true", help="IDF1, MOTA, switches (slow on large sets)")
    details.add_argument("--detail-iou", type=float, default=0.5, metavar="IOU", help="for --errors and the curves")
    details.add_argument("--report", type=Path, metavar="FILE.html", help="all of it, but --tracking, as one page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, 0..1, with their provenance")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return evaluate(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def evaluate(args: argparse.Namespace) -> int:
    from eval.judge import PROTOCOL_NAMES, class_table, judge, mean_over_splits, protocol_table, protocols_of
    from eval.protocols import describe
    from linking.files import replace_when_whole

    started = time.perf_counter()
    names = list(PROTOCOL_NAMES) if args.protocol == "all" else [args.protocol]
    rules = [protocols_of(name) for name in names]
    truth = read_ground_truth(args)
    ious = args.iou or truth.ious
    options = {"class_names": truth.class_names, "ignore_unknown_videos": args.ignore_unknown_videos}
    tables = read_detections(args)
    if args.loose_names:
        tables = [with_known_names(table, truth.known) for table in tables]
    by_split = []
    for number, videos in enumerate(truth.parts):
        table = only_this_part(tables[min(number, len(tables) - 1)], videos, truth.known)
        by_split.append(
            judge(
                videos,
                table,
                protocols=names,
                ious=ious,
                frame_ious=args.frame_iou,
                annotated_frames_only=args.annotated_frames_only,
                **options,
            )
        )
    judgements = by_split[0] if len(by_split) == 1 else mean_over_splits(by_split)
    for warning in judgements[0].warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if args.explain:
        for name, (video, frame) in zip(names, rules):
            for kind, protocol in (("video-mAP", video), ("frame-mAP", frame)):
                if protocol is not None:
                    print(f"{name}, {kind}:", *(f"  {line}" for line in describe(protocol)), "", sep="\n")
    print(class_table(judgements[0]) if len(judgements) == 1 else protocol_table(judgements))
    print(f"\n{truth.description}, protocol {', '.join(names)}")
    details = look_closer(args, truth, table, judgements[0], ious, options)
    result = {
        "protocols": {judgement.name: judgement.as_json() for judgement in judgements},
        **({} if details is None else details.as_json()),
        "provenance": provenance(args, truth, judgements, time.perf_counter() - started),
    }
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.report and details is not None:
        with replace_when_whole(args.report) as temporary:
            temporary.write_text(page(truth, judgements, details, result["provenance"]), encoding="utf-8")
    return 0


def look_closer(
    args: argparse.Namespace, truth: GroundTruth, table: Any, judgement: Any, ious: Any, options: dict[str, Any]
) -> Any:
    """Print the details that were asked for; a zero, or a sign of a mistake, is diagnosed unasked."""
    from eval.errors import EvaluationError
    from eval.examine import examine
    from linking.tables import annotations_from_table

    wanted = {part for part in ("confidence", "errors", "ceilings", "tracking") if getattr(args, part)}
    if args.report:
        wanted |= {"confidence", "errors", "ceilings", "curves"}
    if judgement.video is None or len(truth.parts) > 1:
        if wanted or args.diagnose:
            raise EvaluationError("details need tubes, one split, and a protocol with a video-mAP")
        return None
    details = examine(
        truth.parts[0],
        annotations_from_table(table),
        wanted | {"diagnosis"},
        ious=ious,
        iou=args.detail_iou,
        protocol=judgement.name,
        **options,
    )
    zero = max(judgement.video.mean.values()) == 0
    diagnosis = details.diagnosis
    if diagnosis is not None and diagnosis.suspicious and not (zero or args.diagnose):
        print(f"warning: {diagnosis.verdict} (--diagnose says more)", file=sys.stderr)
    if zero or args.diagnose:
        print(f"\n{details.text()}")
    elif wanted:
        print(f"\n{replace(details, diagnosis=None).text()}")
    return details


def page(truth: GroundTruth, judgements: list[Any], details: Any, provenance: dict[str, Any]) -> str:
    from eval.report import ReportParts, html_report

    return html_report(
        ReportParts(
            f"Action tubes, {truth.description}",
            judgements,
            provenance,
            details.iou,
            details.verdicts,
            details.intervals,
            details.breakdown,
            details.ceilings,
            details.tracking,
            details.diagnosis.text(),
        )
    )


@dataclass(frozen=True)
class GroundTruth:
    """The annotation to judge by."""

    kind: str
    parts: list[list[Any]]
    """The annotated videos of each split."""
    known: set[str]
    """Every video of the file, whatever its part."""
    class_names: tuple[str, ...] | None
    ious: tuple[str, ...]
    """What is usually reported on this dataset."""

    @property
    def description(self) -> str:
        videos = sum(len(part) for part in self.parts)
        tubes = sum(len(video.tubes) for part in self.parts for video in part)
        splits = f" (mean of {len(self.parts)} splits)" if len(self.parts) > 1 else ""
        return f"{self.kind}: {videos} videos, {tubes} tubes{splits}"


def read_ground_truth(args: argparse.Namespace) -> GroundTruth:
    """Recognise the file by its content and take the part that was asked for."""
    from eval.errors import EvaluationError
    from eval.thresholds import DEFAULT_IOUS, JHMDB_IOUS, UCF24_IOUS
    from linking.tables import annotations_from_table, read_tubes
    from video.jhmdb import is_jhmdb, parse_jhmdb
    from video.pickles import load_pickle
    from video.ucf24 import is_ucf24, parse_ucf24, read_test_list

    path, given = args.ground_truth, read_names(args.classes)
    ious: tuple[str, ...] = DEFAULT_IOUS
    listed = set(read_test_list(args.test_list)) if args.test_list else None
    if path.suffix.lower() in (".csv", ".parquet", ".json"):
        videos = annotations_from_table(read_tubes(path))
        kind, class_names = "tube table", given
        parts = [choose(videos, listed, args.part)] if listed else [videos]
    else:
        data = load_pickle(path)
        if is_jhmdb(data):
            annotation = parse_jhmdb(data, path, as_published=args.as_published)
            videos = list(annotation.videos)
            kind, class_names, ious = "J-HMDB", given or annotation.class_names, JHMDB_IOUS
            numbers = range(1, len(annotation.splits) + 1) if args.split == "mean" else [int(args.split)]
            parts = [choose(videos, set(annotation.split(number).test), args.part) for number in numbers]
        elif is_ucf24(data):
            ucf = parse_ucf24(data, path)
            videos = list(ucf.videos)
            kind, class_names, ious = "UCF101-24", given or ucf.class_names, UCF24_IOUS
            names = {video.video for video in videos}
            test = listed or (names - set(ucf.train) if ucf.train else None)
            if test is None and args.part != "all":
                raise EvaluationError(f"{path}: which videos are for testing? give --test-list, or --part all")
            parts = [choose(videos, test or set(), args.part)]
        else:
            raise EvaluationError(f"{path}: neither the J-HMDB nor the UCF101-24 pickle, and no tube table")
    if not all(parts):
        raise EvaluationError(f"{path}: no video of the {args.part} part has an annotation; is it the right list?")
    return GroundTruth(kind, parts, {video.video for video in videos}, class_names, ious)


def choose(videos: list[Any], test: set[str], part: str) -> list[Any]:
    return [video for video in videos if part == "all" or (video.video in test) == (part == "test")]


def read_names(path: Path | None) -> tuple[str, ...] | None:
    if path is None:
        return None
    return tuple(line.strip() for line in path.read_text("utf-8").splitlines() if line.strip())


def read_detections(args: argparse.Namespace) -> list[Any]:
    """One table, or one a split."""
    import pandas as pd

    from linking.tables import TableError, read_tubes

    tables = [read_tubes(path) for path in args.detections]
    if args.split == "mean" and len(tables) > 1:
        if len(tables) != 3:
            raise TableError(f"--split mean takes one table or three, one a split, got {len(tables)}")
        return tables
    seen: dict[str, Path] = {}
    for path, table in zip(args.detections, tables):
        for video in table["video"].unique():
            if video in seen:
                raise TableError(f"{path}: video {video!r} is in {seen[video]} too; give each video once")
            seen[video] = path
    return [pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]]


def with_known_names(table: Any, known: set[str]) -> Any:
    """The table with the ground truth's names for videos that are spelled otherwise."""
    from eval.inputs import respelled

    names = set(table["video"].unique())
    pairs = respelled(sorted(names - known), sorted(known - names))[1]
    return table.assign(video=table["video"].replace(pairs)) if pairs else table


def only_this_part(table: Any, videos: list[Any], known: set[str]) -> Any:
    """Without detections in videos that the ground-truth file annotates, but in another part."""
    elsewhere = known - {video.video for video in videos}
    dropped = table["video"].isin(elsewhere)
    if dropped.any():
        number = table.loc[dropped, "video"].nunique()
        print(f"warning: detections in {number} videos of another part were left out", file=sys.stderr)
        table = table[~dropped].reset_index(drop=True)
    return table


def provenance(args: argparse.Namespace, truth: GroundTruth, judgements: list[Any], seconds: float) -> dict[str, Any]:
    import hashlib
    import platform
    from importlib.metadata import version

    def file(path: Path) -> dict[str, str]:
        return {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    first = judgements[0].video or judgements[0].frame
    return {
        "ground_truth": {
            **file(args.ground_truth),
            "kind": truth.kind,
            "split": args.split if truth.kind == "J-HMDB" else None,
            "part": args.part,
            "as_published": args.as_published,
            "videos": sum(len(part) for part in truth.parts),
            "tubes": sum(len(video.tubes) for part in truth.parts for video in part),
        },
        "detections": [file(path) for path in args.detections],
        "judged": {
            judgement.name: {
                "tubes": None if judgement.video is None else int(judgement.video.num_detections.sum()),
                "boxes": int(judgement.frame.num_detections.sum()),
            }
            for judgement in judgements
        },
        "classes": list(first.class_names),
        "warnings": list(judgements[0].warnings),
        "versions": {
            **{name: version(name) for name in ("lgd-action-detection", "numpy", "pandas")},
            "python": platform.python_version(),
        },
        "seconds": round(seconds, 3),
    }


if __name__ == "__main__":
    sys.exit(main())
