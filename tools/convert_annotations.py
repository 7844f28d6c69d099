"""Convert annotation and detections from one format to another; every input is recognised by its content.

    python tools/convert_annotations.py JHMDB-GT.pkl --output tubes.csv
    python tools/convert_annotations.py puppet_mask/ --output tubes.json
    python tools/convert_annotations.py finalAnnots.mat --test-list testlist01.txt --output test.parquet
    python tools/convert_annotations.py job_1.xml job_2.xml --attribute action --output tubes.csv
    python tools/convert_annotations.py tubes.csv --to cvat --output corrected/
    python tools/convert_annotations.py results/ --from act --class-names classes.txt --output tubes.csv
    python tools/convert_annotations.py tubes.csv --to mot --output sequences/
    python tools/convert_annotations.py JHMDB-GT.pkl --part train --to coco --one-class actor --output actors.json

reads   table (csv, parquet, json), jhmdb, jhmdb-masks, ucf24, ucf24-mat, multisports, act, ava, ava-proposals, mot,
        cvat
writes  table (by the suffix .csv, .parquet, .json), cvat (.xml, or a folder), and with --to: jhmdb, ucf24,
        multisports, act, ava, mot, coco (boxes of single pictures, to train detectors with)
prints  what was read, and what the new format cannot hold

Frames of tube tables count from 0 and boxes are continuous corners; readers and writers convert (docs/formats.md).
"""

from __future__ import annotations

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", type=Path, metavar="INPUT", help="files or folders, taken together")
    parser.add_argument("--output", "-o", required=True, type=Path, metavar="OUT", help="file or folder to write")
    parser.add_argument("--from", dest="source", metavar="KIND", help="kind of the inputs, where not recognised")
    parser.add_argument("--to", metavar="KIND", help="kind to write (default: told by the suffix of OUT)")
    chosen = parser.add_argument_group("which videos (default: all)")
    chosen.add_argument("--part", choices=["train", "test", "all"], help="of a dataset that knows its parts")
    chosen.add_argument("--split", type=int, default=1, metavar="N", help="of a dataset with several (J-HMDB)")
    chosen.add_argument("--test-list", type=Path, metavar="FILE", help="names of the test videos, one a line")
    details = parser.add_argument_group("what formats leave open")
    details.add_argument("--class-names", type=Path, metavar="FILE", help="classes, a name a line, or AVA's list")
    details.add_argument("--video-names", type=Path, metavar="FILE", help="the videos that numbers in the file mean")
    details.add_argument("--video", metavar="NAME", help="name of the video, where the file does not say it")
    details.add_argument("--label", default="person", help="class of tracks without one (mot), label of tracks (cvat)")
    details.add_argument("--attribute", metavar="NAME", help="cvat: the attribute of a track that is the action")
    details.add_argument("--fps", type=float, help="ava: frames a second; without it, frames are seconds")
    details.add_argument("--start", type=float, default=0.0, metavar="S", help="ava: second with which videos begin")
    details.add_argument("--size", metavar="WxH", help="size of all videos: ava, whose boxes are fractions; coco")
    details.add_argument("--excluded", type=Path, metavar="FILE", help="ava: key frames to leave out")
    details.add_argument("--as-published", action="store_true", help="leave coordinates as they stand on both sides")
    coco = parser.add_argument_group("--to coco")
    coco.add_argument("--one-class", metavar="NAME", help="the only class, whatever the labels: 'actor' for proposals")
    coco.add_argument("--every", type=int, default=1, metavar="K", help="every K-th frame; neighbours hardly differ")
    coco.add_argument(
        "--frame-files", metavar="PATTERN", help="of pictures (default '{video}/{frame:05d}.png', from 1)"
    )
    args = parser.parse_args(argv)
    if args.every < 1:
        parser.error("--every must be 1 or more")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
            convert(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


def convert(args: argparse.Namespace) -> None:
    from video.annotation_writing import kind_to_write, write_annotations
    from video.annotations import joined, read_annotations

    kind = "coco" if args.to == "coco" else kind_to_write(args.output, args.to)
    options = format_options(args)
    read = [(read_annotations(path, kind=args.source, options=options), path) for path in args.inputs]
    annotations = chosen_part(joined(read), args)
    print(f"{annotations.kind}: {summary(annotations)}")
    if kind == "coco":
        lost = to_coco(annotations, args)
    else:
        lost = write_annotations(annotations, args.output, kind=kind, options=options)
    print(f"written as {kind}: {args.output}")
    for sentence in lost:
        print(f"lost: {sentence}")


def to_coco(annotations: Any, args: argparse.Namespace) -> list[str]:
    from video.coco_writing import FRAME_FILES, write_coco

    write_coco(
        annotations.table,
        args.output,
        frame_files=args.frame_files or FRAME_FILES,
        one_class=args.one_class,
        every=args.every,
        size=parse_size(args.size),
    )
    return ["which boxes are one tube, and scores"]


def format_options(args: argparse.Namespace) -> Any:
    from video.annotations import FormatOptions
    from video.ava import read_excluded_timestamps
    from video.ground_truth import read_class_names
    from video.ucf24 import read_test_list

    return FormatOptions(
        as_published=args.as_published,
        video=args.video,
        label=args.label,
        fps=args.fps,
        start=args.start,
        size=parse_size(args.size),
        attribute=args.attribute,
        class_names=read_class_names(args.class_names) if args.class_names else None,
        video_names=read_test_list(args.video_names) if args.video_names else None,
        excluded=read_excluded_timestamps(args.excluded) if args.excluded else frozenset(),
    )


def parse_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not all(part.isascii() and part.isdecimal() and 0 < int(part) < 2**16 for part in (width, height)):
        raise ValueError(f"--size must be width x height in pixels, such as 320x240, got {text[:40]!r}")
    return int(width), int(height)


def chosen_part(annotations: Any, args: argparse.Namespace) -> Any:
    """The videos of --part, of --test-list (the test part unless --part says another), or all."""
    from video.ground_truth import choose_parts, read_test_names

    part = args.part or ("test" if args.test_list else "all")
    if part == "all":
        return annotations
    names = read_test_names(args.test_list, args.split) if args.test_list else None
    truth = choose_parts(annotations, args.inputs[0], split=args.split, part=part, test_names=names)
    return replace(annotations, content=truth.parts[0], splits=())


def summary(annotations: Any) -> str:
    """``2 videos, 3 tubes, 40 boxes, 2 classes (run, jump), frames 0-39``."""
    table = annotations.table
    videos = set(table["video"].unique()) | set(table.attrs.get("videos", {}))
    with_tube = table[table["tube"].notna()]
    tubes = len(with_tube[["video", "tube"]].drop_duplicates())
    labels = sorted(label for label in table["label"].unique() if label)
    named = f" ({', '.join(labels[:6])}{', ...' if len(labels) > 6 else ''})" if labels else ""
    frames = f", frames {table['frame'].min()}-{table['frame'].max()}" if len(table) else ""
    loose = len(table) - len(with_tube)
    return (
        f"{len(videos)} videos, {tubes} tubes, {len(table)} boxes"
        + (f" ({loose} in no tube)" if loose else "")
        + f", {len(labels)} classes{named}{frames}"
    )


if __name__ == "__main__":
    sys.exit(main())
