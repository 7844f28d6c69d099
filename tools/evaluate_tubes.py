"""Compare detected action tubes with the ground truth: video-mAP and frame-mAP, by the protocol you name.

    python tools/evaluate_tubes.py --ground-truth truth.csv --detections tubes.csv
    python tools/evaluate_tubes.py --ground-truth JHMDB-GT.pkl --split 1 --detections tubes.csv --protocol all
    python tools/evaluate_tubes.py --ground-truth pyannot.pkl --test-list testlist01.txt --detections tubes.parquet \\
        --iou 0.2 0.5 0.5:0.95 --json result.json

Both sides take every format that is read, recognised by content: tube tables (csv, parquet, json), J-HMDB (pickle,
puppet masks), UCF101-24 (pickles, finalAnnots.mat), MultiSports, tubes of ACT and MOC, AVA, MOTChallenge, CVAT
(docs/formats.md); the ground truth may be the .toml of a dataset of one's own, of which the test part is judged.
Several files of detections are taken together; boxes that belong to no tube get frame-mAP only.
Videos are matched by name; detections in a video that the ground truth does not know are an error.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ground-truth", type=Path, required=True, metavar="FILE", help="what really happens")
    parser.add_argument(
        "--detections", type=Path, required=True, nargs="+", metavar="FILE", help="what was found; files or folders"
    )
    parser.add_argument(
        "--iou", nargs="+", metavar="IOU", help="thresholds or ranges like 0.5:0.95 (default: those of the dataset)"
    )
    parser.add_argument("--frame-iou", nargs="+", metavar="IOU", help="for frame-mAP (default: as --iou)")
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="saha (default), matlab-legacy, saha-legacy, act, road, yowo, multisports, ava (default for AVA), or all",
    )
    parser.add_argument("--explain", action="store_true", help="say in words what each protocol does")
    parser.add_argument(
        "--split", default="1", choices=["1", "2", "3", "mean"], help="of J-HMDB; mean takes one or three tables"
    )
    parser.add_argument("--part", default="test", choices=["train", "test", "all"], help="of the dataset")
    parser.add_argument(
        "--test-list",
        type=Path,
        metavar="FILE",
        help="names of the test videos, one a line (UCF101-24, tables), or J-HMDB's folder of split files",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="the classes to judge, one a line, or AVA's list of actions (default: those of the dataset)",
    )
    parser.add_argument(
        "--excluded", type=Path, metavar="FILE", help="AVA: key frames that do not count (ava_excluded_timestamps)"
    )
    parser.add_argument(
        "--as-published", action="store_true", help="leave all coordinates as the authors of the files wrote them"
    )
    parser.add_argument("--ground-truth-kind", metavar="KIND", help="where it is not recognised: jhmdb, ava, ...")
    parser.add_argument(
        "--detections-kind", metavar="KIND", help="where they are not recognised: act, multisports, ..."
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
    details.add_argument("--tracking", action="store_true", help="IDF1, MOTA, switches (some seconds on large sets)")
    details.add_argument("--confusion", type=Path, metavar="FILE", help="what is called what: .png, .pdf or .svg")
    details.add_argument(
        "--detail-iou", type=float, default=0.5, metavar="IOU", help="for --errors, --confusion and the curves"
    )
    details.add_argument("--report", type=Path, metavar="FILE.html", help="all of it, but --tracking, as one page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers, 0..1, with their provenance")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    said: list[str] = []

    def say(text: object) -> None:
        """Warnings go to the terminal as they come, and all of them into the result."""
        print(f"warning: {text}", file=sys.stderr)
        said.append(str(text))

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda text, *_: say(text)
            return evaluate(args, said)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def evaluate(args: argparse.Namespace, said: list[str]) -> int:
    """Judge, print and write; ``said`` fills with the warnings of this run."""
    from eval.judge import PROTOCOL_NAMES, class_table, judge, mean_over_splits, protocol_table, protocols_of
    from eval.protocols import describe
    from linking.files import replace_when_whole

    started = time.perf_counter()
    chosen = args.protocol and (list(PROTOCOL_NAMES) if args.protocol == "all" else [args.protocol])
    for name in chosen or ():
        protocols_of(name)  # what is wrongly named is told before large files are read
    if args.confusion:
        from eval.figure_files import check_format

        check_format(args.confusion)
    truth, listed = read_ground_truth(args)
    names = chosen or ["ava" if truth.kind == "ava" else "saha"]
    rules = [protocols_of(name) for name in names]
    ious = args.iou or usual_ious(truth.kind)
    classes = truth.class_names if listed is None else tuple(listed.values() if isinstance(listed, dict) else listed)
    options = {"class_names": classes, "ignore_unknown_videos": args.ignore_unknown_videos}
    tables = read_detections(args, truth, listed)
    if args.loose_names:
        tables = [with_known_names(table, truth.known) for table in tables]
    tables = [
        only_this_part(tables[min(number, len(tables) - 1)], videos, truth.known)
        for number, videos in enumerate(truth.parts)
    ]
    by_split = [
        judge(
            videos,
            table,
            protocols=names,
            ious=ious,
            frame_ious=args.frame_iou,
            annotated_frames_only=args.annotated_frames_only,
            **options,
        )
        for videos, table in zip(truth.parts, tables)
    ]
    judgements = by_split[0] if len(by_split) == 1 else mean_over_splits(by_split)
    for warning in dict.fromkeys(text for judgement in judgements for text in judgement.warnings):
        warnings.warn(warning, stacklevel=1)
    if args.explain:
        for name, (video, frame) in zip(names, rules):
            for kind, protocol in (("video-mAP", video), ("frame-mAP", frame)):
                if protocol is not None:
                    print(f"{name}, {kind}:", *(f"  {line}" for line in describe(protocol)), "", sep="\n")
    print(class_table(judgements[0]) if len(judgements) == 1 else protocol_table(judgements))
    print(f"\n{truth.description}, protocol {', '.join(names)}")
    if judgements[0].video is None and rules[0][0] is not None:
        print("no video-mAP: the boxes belong to no tubes; link them into tubes first")
    details = look_closer(args, truth, tables[0], judgements[0], ious, options)
    result = {
        "protocols": {judgement.name: judgement.as_json() for judgement in judgements},
        **details.as_json(),
        "provenance": provenance(args, truth, judgements, said, time.perf_counter() - started),
    }
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if args.confusion:
        from eval.confusion_plot import plot_confusion

        plot_confusion(args.confusion, details.confusion.counts, details.confusion.class_names, things="tubes")
    if args.report:
        with replace_when_whole(args.report) as temporary:
            temporary.write_text(page(truth, judgements, details, result["provenance"]), encoding="utf-8")
    return 0


def look_closer(
    args: argparse.Namespace, truth: Any, table: Any, judgement: Any, ious: Any, options: dict[str, Any]
) -> Any:
    """Print the details that were asked for; a zero, or a sign of a mistake, is diagnosed unasked.

    Of several splits, and of boxes in no tubes, there is the diagnosis alone (of the first split).
    """
    from eval.errors import EvaluationError
    from eval.examine import Details, examine
    from eval.explain import diagnose, diagnose_boxes
    from linking.tables import annotations_from_table

    wanted = {part for part in ("confidence", "errors", "ceilings", "tracking", "confusion") if getattr(args, part)}
    zero = max((judgement.video or judgement.frame).mean.values()) == 0
    if judgement.video is not None and len(truth.parts) == 1:
        if args.report:
            wanted |= {"confidence", "errors", "ceilings", "curves"}
        details = examine(
            truth.parts[0],
            annotations_from_table(table),
            wanted | {"diagnosis"},
            ious=ious,
            iou=args.detail_iou,
            protocol=judgement.name,
            **options,
        )
    elif wanted:
        raise EvaluationError("details need tubes, one split, and a protocol with a video-mAP")
    elif table["tube"].isna().any():
        diagnosis = diagnose_boxes(truth.parts[0], table, class_names=options["class_names"])
        details = Details(args.detail_iou, diagnosis)
    else:
        diagnosis = diagnose(truth.parts[0], annotations_from_table(table), class_names=options["class_names"])
        details = Details(args.detail_iou, diagnosis)
    assert details.diagnosis is not None
    if details.diagnosis.suspicious and not (zero or args.diagnose):
        warnings.warn(f"{details.diagnosis.verdict} (--diagnose says more)", stacklevel=1)
    if zero or args.diagnose:
        print(f"\n{details.text()}")
    elif wanted:
        print(f"\n{replace(details, diagnosis=None).text()}")
    return details


def page(truth: Any, judgements: list[Any], details: Any, provenance: dict[str, Any]) -> str:
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
            provenance["warnings"],
        )
    )


def read_ground_truth(args: argparse.Namespace) -> tuple[Any, Any]:
    """The part that was asked for, and the classes of --classes (a tuple, by number a dictionary, or None)."""
    from video.annotations import FormatOptions, read_annotations
    from video.ava import read_excluded_timestamps
    from video.ground_truth import choose_parts, read_class_names, read_test_names

    listed = read_class_names(args.classes) if args.classes else None
    options = FormatOptions(
        as_published=args.as_published,
        class_names=listed if isinstance(listed, dict) else None,
        excluded=read_excluded_timestamps(args.excluded) if args.excluded else frozenset(),
    )
    annotations = read_annotations(args.ground_truth, kind=args.ground_truth_kind, options=options)
    split = None if args.split == "mean" else int(args.split)
    test_names = read_test_names(args.test_list, split or 1) if args.test_list else None
    truth = choose_parts(annotations, args.ground_truth, split=split, part=args.part, test_names=test_names)
    return truth, listed


def usual_ious(kind: str) -> tuple[str, ...]:
    """What is reported on a dataset."""
    from eval.thresholds import AVA_IOUS, DEFAULT_IOUS, JHMDB_IOUS, MULTISPORTS_IOUS, UCF24_IOUS

    usual = {"jhmdb": JHMDB_IOUS, "ucf24": UCF24_IOUS, "multisports": MULTISPORTS_IOUS, "ava": AVA_IOUS}
    return usual.get(kind.removesuffix("-mat").removesuffix("-masks"), DEFAULT_IOUS)


def read_detections(args: argparse.Namespace, truth: Any, listed: Any) -> list[Any]:
    """One tube table, or one a split; numbers of classes and videos count in the lists of the ground truth."""
    from eval.errors import EvaluationError
    from video.annotations import FormatOptions, joined, read_annotations

    splits = len(truth.parts)
    by_split = splits > 1 and len(args.detections) > 1
    if by_split and len(args.detections) != splits:
        raise EvaluationError(f"--split mean takes one table or {splits}, one a split, got {len(args.detections)}")
    read = []
    for number, path in enumerate(args.detections):
        options = FormatOptions(
            as_published=args.as_published,
            class_names=listed if isinstance(listed, dict) else truth.class_names or listed,
            video_names=truth.test_names[number if by_split else 0] if by_split or splits == 1 else None,
            inclusive=truth.kind != "multisports",
        )
        read.append(read_annotations(path, kind=args.detections_kind, options=options))
    return [one.table for one in read] if by_split else [joined(list(zip(read, args.detections))).table]


def with_known_names(table: Any, known: frozenset[str]) -> Any:
    """The table with the ground truth's names for videos that are spelled otherwise."""
    from eval.inputs import respelled

    names = set(table["video"].unique())
    pairs = respelled(sorted(names - known), sorted(known - names))[1]
    return table.assign(video=table["video"].replace(pairs)) if pairs else table


def only_this_part(table: Any, videos: list[Any], known: frozenset[str]) -> Any:
    """Without detections in videos that the ground-truth file annotates, but in another part."""
    elsewhere = known - {video.video for video in videos}
    dropped = table["video"].isin(elsewhere)
    if dropped.any():
        number = table.loc[dropped, "video"].nunique()
        warnings.warn(f"detections in {number} videos of another part were left out", stacklevel=1)
        table = table[~dropped].reset_index(drop=True)
    return table


def provenance(
    args: argparse.Namespace, truth: Any, judgements: list[Any], said: list[str], seconds: float
) -> dict[str, Any]:
    from eval.provenance import counts_by_protocol, file_record, versions

    first = judgements[0].video or judgements[0].frame
    return {
        "ground_truth": {
            **record_of_truth(args.ground_truth),
            "kind": truth.title,
            "split": args.split if truth.kind == "jhmdb" else None,
            "part": args.part,
            "as_published": args.as_published,
            "videos": sum(len(part) for part in truth.parts),
            "tubes": sum(len(video.tubes) for part in truth.parts for video in part),
        },
        "detections": [file_record(path) for path in args.detections],
        "judged": counts_by_protocol(judgements),
        "classes": list(first.class_names),
        "warnings": said,
        "versions": versions(),
        "seconds": round(seconds, 3),
    }


def record_of_truth(path: Path) -> dict[str, Any]:
    """Path and hash of the file; with a described dataset, of the description and of the annotation it names."""
    from eval.provenance import file_record
    from video.dataset_description import find_description, read_description

    description = find_description(path)
    if description is None:
        return file_record(path)
    files = read_description(description).annotations
    return {**file_record(description), "annotations": [file_record(file) for file in files]}


if __name__ == "__main__":
    sys.exit(main())
