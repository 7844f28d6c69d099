"""Link and trim stored scores again, without running the networks: scored boxes in, action tubes out.

    python tools/link_tubes.py outputs/scores --output tubes.csv
    python tools/link_tubes.py clip.npz --output tubes.json --no-trim
    python tools/link_tubes.py outputs/scores --output tubes.csv --set link.max_gap=3 --set trim.class_alpha.run=1.5

reads   score files as tools/detect_video.py leaves them (NAME.scores.npz), one a video; a folder stands for all in it
writes  a tube table in the format of its suffix: .csv, .parquet or .json
        beside it NAME.settings.json: all settings, the inputs with their hashes, versions
prints  a line for every video

Settings have the groups link, trim and select and the switch trimmed. A TOML file (--config) changes the preset,
--set changes both, and the options below change all of them. An unknown setting lists the known ones.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", type=Path, help="score files (.npz), or folders of them")
    parser.add_argument("--output", "-o", required=True, type=Path, metavar="FILE", help="tube table to write")
    parser.add_argument(
        "--preset", default="default", help="default, or paper: Saha et al. 2016 as published, for clips without gaps"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--no-trim", action="store_true", help="tubes keep their whole length")
    parser.add_argument("--alpha", type=float, help="penalty for a change of label in trimming")
    parser.add_argument("--max-gap", type=int, metavar="N", help="most frames without a box inside a tube")
    parser.add_argument("--score-threshold", type=float, metavar="S", help="lowest score of a tube that is kept")
    parser.add_argument("--box-threshold", type=float, metavar="S", help="boxes scored lower are not linked")
    parser.add_argument("--class-agnostic", action="store_true", help="link actors first, give them classes afterwards")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    import time

    from tqdm import tqdm

    from linking.build import PRESETS
    from linking.records import VideoAnnotation
    from linking.scores import read_scores
    from linking.tables import check_suffix, table_from_annotations, write_tubes

    config = resolved_config(args)
    files = score_files(args.scores)
    check_suffix(args.output)
    annotations: list[VideoAnnotation] = []
    origin: dict[str, Path] = {}
    labels: set[str] = set()
    cpu_seconds = 0.0
    for path in tqdm(files, unit="video", disable=None):  # a bar on a terminal only
        scored = read_scores(path)
        if scored.video in origin:
            raise ValueError(f"{path}: video {scored.video!r} is in {origin[scored.video]} already")
        origin[scored.video] = path
        labels.update(scored.class_names)
        started = time.process_time()
        tubes = config.build(scored)
        cpu_seconds += time.process_time() - started
        annotations.append(VideoAnnotation(scored.video, tubes, scored.num_frames, scored.width, scored.height))
    unknown = set(config.trim.class_alpha) - set(PRESETS[args.preset].trim.class_alpha) - labels
    if unknown:
        raise ValueError(f"trim.class_alpha names {min(unknown)!r}, which is no class of these scores")
    write_tubes(table_from_annotations(annotations), args.output)
    write_settings(args.output.with_suffix(".settings.json"), args, config, origin, cpu_seconds)
    for annotation in annotations:
        print(summary(annotation))
    total = sum(len(annotation.tubes) for annotation in annotations)
    print(f"{total} tubes of {len(annotations)} videos in {args.output} ({cpu_seconds:.2f} CPU s)")


def resolved_config(args: argparse.Namespace) -> Any:
    """The preset, changed by the TOML file, then by --set, then by the options that have a name of their own."""
    from linking.build import PRESETS
    from linking.settings import read_settings, with_settings

    if args.preset not in PRESETS:
        raise ValueError(f"unknown preset {args.preset!r}; there are {', '.join(PRESETS)}")
    config = with_settings(PRESETS[args.preset], read_settings(args.config, args.set))
    named: dict[str, dict[str, Any]] = {
        "link": {
            "max_gap": args.max_gap,
            "score_threshold": args.box_threshold,
            "class_agnostic": True if args.class_agnostic else None,
        },
        "trim": {"alpha": args.alpha},
        "select": {"min_score": args.score_threshold},
    }
    changes: dict[str, Any] = {
        group: {name: value for name, value in options.items() if value is not None} for group, options in named.items()
    }
    if args.no_trim:
        changes["trimmed"] = False
    return with_settings(config, changes)


def score_files(places: list[Path]) -> list[Path]:
    """The files named, and those in the folders named in the order of their paths."""
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            inside = sorted(place.rglob("*.npz"))
            if not inside:
                raise ValueError(f"{place}: no score files (.npz) in this folder")
            files += inside
        elif place.exists():
            files.append(place)
        else:
            raise ValueError(f"{place}: no such file or folder")
    return files


def write_settings(path: Path, args: argparse.Namespace, config: Any, inputs: dict[str, Path], cpu: float) -> None:
    import dataclasses
    import hashlib
    import json
    import platform
    from importlib.metadata import version

    from linking.files import replace_when_whole

    def digest(file: Path) -> str:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    report = {
        "made_by": "tools/link_tubes.py",
        "preset": args.preset,
        "settings": dataclasses.asdict(config),
        "inputs": [{"video": video, "file": str(file), "sha256": digest(file)} for video, file in inputs.items()],
        "link_cpu_seconds": round(cpu, 3),
        "versions": {
            **{name: version(name) for name in ("lgd-action-detection", "numpy", "pandas")},
            "python": platform.python_version(),
        },
    }
    with replace_when_whole(path) as temporary:
        temporary.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(annotation: Any) -> str:
    head = f"{annotation.video}: {annotation.num_frames} frames, {len(annotation.tubes)} tubes"
    if not annotation.tubes:
        return head
    best = annotation.tubes[0]
    return f"{head}, best: {best.label} {best.score:.2f} in frames {best.first_frame}-{best.end_frame - 1}"


if __name__ == "__main__":
    sys.exit(main())
