"""Make the generated dataset: small labelled videos of puppets, in the layout of J-HMDB or UCF101-24.

    python tools/make_puppets.py puppets
    python tools/make_puppets.py puppets --preset full --layout ucf24 --seed 7
    python tools/make_puppets.py --demo demo.mp4 --truth truth.csv

quick: 6 classes with clear motions and large people, made in half a minute and learnt on a CPU in minutes. full: all 21
classes of J-HMDB under a moving camera with people who only pose; sit and stand differ only in the order of time,
throw and shoot_ball only in what stands far away.

writes  OUTPUT/videos/<class>/<clip>.avi
        OUTPUT/JHMDB-GT.pkl and splits/       (--layout jhmdb: one action from the first frame to the last)
        OUTPUT/pyannot.pkl and testlist01.txt (--layout ucf24: untrimmed, several tubes a video)
        OUTPUT/puppets.json                   how it was made
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", nargs="?", type=Path, help="folder to make")
    parser.add_argument("--preset", choices=("quick", "full"), default="quick", help="default: quick")
    parser.add_argument("--layout", choices=("jhmdb", "ucf24"), default="jhmdb", help="default: jhmdb (trimmed)")
    parser.add_argument("--classes", metavar="NAME,NAME", help="instead of the preset's")
    parser.add_argument("--videos-per-class", type=int, metavar="N", help="training videos of each class")
    parser.add_argument("--test-videos-per-class", type=int, metavar="N", help="test videos of each class")
    parser.add_argument("--size", metavar="WxH", help="pixels; default 160x120, for ucf24 320x240")
    parser.add_argument("--frames", metavar="MIN-MAX", help="frames a video; default 24-40, for ucf24 48-80")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same dataset; default: 0")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that this tool made")
    parser.add_argument("--demo", type=Path, metavar="FILE.mp4", help="write the demo clip and nothing else")
    parser.add_argument("--truth", type=Path, metavar="FILE", help="with --demo: its ground truth, a tube table")
    args = parser.parse_args(argv)
    if args.truth is not None and args.demo is None:
        parser.error("--truth is for the demo clip; give --demo too")
    if (args.output is None) == (args.demo is None):
        parser.error("name the folder to make, or --demo FILE.mp4")
    if args.seed < 0:
        parser.error("--seed must be 0 or more")
    return args


def pair(text: str, separator: str, option: str) -> tuple[int, int]:
    """Two whole numbers of an option; ValueError says what was expected."""
    first, _, second = text.partition(separator)
    if not (first.isdecimal() and second.isdecimal()):
        raise ValueError(f"{option} {text}: expected two numbers as in 32{separator}40")
    return int(first), int(second)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    from tqdm import tqdm

    from video.puppets import PRESETS, for_layout, generate

    try:
        if args.demo is not None:
            make_demo(args)
            return 0
        config = for_layout(PRESETS[args.preset], args.layout)
        if args.classes:
            config = replace(config, classes=tuple(name.strip() for name in args.classes.split(",")))
        if args.videos_per_class is not None:
            config = replace(config, train_per_class=args.videos_per_class)
        if args.test_videos_per_class is not None:
            config = replace(config, test_per_class=args.test_videos_per_class)
        if args.size:
            width, height = pair(args.size, "x", "--size")
            config = replace(config, style=replace(config.style, width=width, height=height))
        if args.frames:
            shortest, longest = pair(args.frames, "-", "--frames")
            config = replace(config, min_frames=shortest, max_frames=longest)
        config = replace(config, seed=args.seed)
        with tqdm(unit="video", disable=None) as bar:

            def show(done: int, total: int) -> None:
                bar.total = total
                bar.update(done - bar.n)

            counts = generate(args.output, config, overwrite=args.overwrite, progress=show)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(
        f"{args.output}: {counts['videos']} videos of {len(config.classes)} classes ({args.layout} layout), "
        f"{counts['tubes']} tubes, {counts['frames']} frames, {counts['sources']} sources, seed {args.seed}"
    )
    return 0


def make_demo(args: argparse.Namespace) -> None:
    """Write the demo clip, and its ground truth where that is wanted."""
    import numpy as np

    from linking.records import Tube, VideoAnnotation
    from linking.tables import check_suffix, table_from_annotations, write_tubes
    from video.puppets import write_demo

    if args.truth is not None:
        check_suffix(args.truth)
    drawn = write_demo(args.demo, seed=args.seed)
    tubes = [
        Tube(tube.label, tube.first_frame + np.arange(len(tube.boxes)), tube.boxes, id=number)
        for number, tube in enumerate(drawn)
    ]
    if args.truth is not None:
        write_tubes(table_from_annotations([VideoAnnotation(args.demo.stem, tubes)]), args.truth)
    said = ", ".join(f"{tube.label} in frames {tube.first_frame}-{tube.end_frame - 1}" for tube in tubes)
    print(f"{args.demo}: {said}")


if __name__ == "__main__":
    sys.exit(main())
