"""Link and trim stored scores again, without running the networks: scored boxes in, action tubes out.

    python tools/link_tubes.py outputs/scores --output tubes.csv
    python tools/link_tubes.py clip.npz --output tubes.json --no-trim
    python tools/link_tubes.py outputs/scores --output tubes.csv --set link.max_gap=3 --set trim.class_alpha.run=1.5
    python tools/link_tubes.py outputs/scores --output tubes.csv --preset online
    python tools/link_tubes.py rgb/scores --fuse-with flow/scores --fusion boost --output tubes.csv
    python tools/link_tubes.py train/scores --fit-trimming truth.json --output trim.toml
    python tools/link_tubes.py test/scores --config trim.toml --output tubes.csv

reads   score files as tools/detect_video.py leaves them (NAME.scores.npz), one a video; a folder stands for all in it
writes  a tube table in the format of its suffix: .csv, .parquet or .json
        beside it NAME.settings.json: all settings, the inputs with their hashes, versions
prints  a line for every video

Presets: default (offline, gaps are bridged), online (frame by frame, as on a live stream), paper (Saha et al. 2016 as
published, for clips without gaps) and singh (the online linker and trimming of Singh et al. 2017 as published).

Settings have the groups link (of the offline linker), online, trim, select and fusion and the switches linker, trimmed
and trim_labels. A TOML file (--config) changes the preset, --set changes both, and the options below change all of
them; those of linking act on the linker in use. An unknown setting lists the known ones.

--fit-trimming chooses alpha and threshold of each class, or not to trim it, by average precision on training videos,
and writes a TOML file for --config, here and in tools/detect_video.py. Take scores of a scorer that was not trained on
these videos (tools/detect_video.py --dataset with --fold): of its own training videos it is too sure.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scores", nargs="+", type=Path, help="score files (.npz), or folders of them")
    parser.add_argument(
        "--output", "-o", required=True, type=Path, metavar="FILE", help="tube table (or settings) to write"
    )
    parser.add_argument("--preset", default="default", help="default, online, paper or singh; see above")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument(
        "--no-trim", action="store_true", help="the videos hold nothing but the action, like J-HMDB: tubes last as long"
    )
    parser.add_argument("--alpha", type=float, help="penalty for a change of label in trimming")
    parser.add_argument("--max-gap", type=int, metavar="N", help="most frames without a box inside a tube")
    parser.add_argument("--score-threshold", type=float, metavar="S", help="lowest score of a tube that is kept")
    parser.add_argument("--box-threshold", type=float, metavar="S", help="boxes scored lower are not linked")
    parser.add_argument("--class-agnostic", action="store_true", help="link actors first, give them classes afterwards")
    parser.add_argument(
        "--fuse-with",
        nargs="+",
        type=Path,
        metavar="SCORES",
        help="score files or folders of a second stream (flow) of the same videos, matched by their names",
    )
    parser.add_argument(
        "--fusion",
        choices=("product", "mean", "boost", "union"),
        help="product (default; of classes that exclude each other) or mean: of scores of the same boxes; boost: by "
        "scores of boxes that overlap; union: of the boxes",
    )
    parser.add_argument(
        "--fusion-weight",
        type=float,
        metavar="W",
        help="weight of the second stream: its share of a product or mean (0.5), else a factor on its scores (1)",
    )
    fitting = parser.add_argument_group("fitting the trimming")
    fitting.add_argument(
        "--fit-trimming",
        type=Path,
        metavar="GROUND_TRUTH",
        help="write no tubes but trimming fitted to these training videos; their true tubes, in any format",
    )
    fitting.add_argument("--folds", type=int, default=5, metavar="N", help="for checking each choice (default 5)")
    fitting.add_argument(
        "--fit-iou",
        nargs="+",
        default=["0.2", "0.5"],
        metavar="IOU",
        help="AP is averaged over these (default 0.2 0.5)",
    )
    fitting.add_argument("--part", default="train", choices=("train", "test", "all"), help="default train")
    fitting.add_argument("--split", type=int, default=1, metavar="N", help="of the ground truth (default 1)")
    fitting.add_argument("--test-list", type=Path, metavar="FILE", help="names of the test videos, one a line")
    fitting.add_argument(
        "--ignore-unknown-videos", action="store_true", help="leave out scores of videos without ground truth"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        if args.fit_trimming:
            fit(args)
        else:
            run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    import dataclasses
    import time

    from tqdm import tqdm

    from linking.build import PRESETS
    from linking.fuse import fuse_streams
    from linking.records import VideoAnnotation
    from linking.scores import files_by_video, read_scores
    from linking.tables import check_suffix, table_from_annotations, write_tubes

    config, fusion = resolved_config(args)
    check_suffix(args.output)
    origin = files_by_video(score_files(args.scores))
    second = second_stream(args.fuse_with, origin) if args.fuse_with else {}
    annotations: list[VideoAnnotation] = []
    labels: set[str] = set()
    cpu_seconds = 0.0
    for video, path in tqdm(origin.items(), unit="video", disable=None):  # a bar on a terminal only
        scored = read_scores(path)
        labels.update(scored.class_names)
        other = read_scores(second[video]) if second else None
        started = time.process_time()
        if other is not None:
            scored = fuse_streams(scored, other, fusion)
        tubes = config.build(scored)
        cpu_seconds += time.process_time() - started
        annotations.append(VideoAnnotation(scored.video, tubes, scored.num_frames, scored.width, scored.height))
    for group in ("class_alpha", "class_threshold"):
        unknown = set(getattr(config.trim, group)) - set(getattr(PRESETS[args.preset].trim, group)) - labels
        if unknown:
            raise ValueError(f"trim.{group} names {min(unknown)!r}, which is no class of these scores")
    write_tubes(table_from_annotations(annotations), args.output)
    settings = dataclasses.asdict(config)
    if second:
        settings["fusion"] = dataclasses.asdict(fusion)
    write_settings(args.output.with_suffix(".settings.json"), args, settings, origin, second, cpu_seconds)
    for annotation in annotations:
        print(summary(annotation))
    total = sum(len(annotation.tubes) for annotation in annotations)
    print(f"{total} tubes of {len(annotations)} videos in {args.output} ({cpu_seconds:.2f} CPU s)")


def fit(args: argparse.Namespace) -> None:
    """Write the settings that suit the training videos best, and print what they are worth."""
    import time
    from functools import partial

    from eval.fit_trimming import fit_trimming
    from eval.trimming_file import table_text, trimming_file
    from linking.files import replace_when_whole
    from linking.scores import files_by_video, read_scores
    from video.dataset_description import find_description, read_description
    from video.folds import source_of

    if args.output.suffix.lower() != ".toml":
        raise ValueError(f"{args.output}: fitted trimming is written as .toml")
    config, fusion = resolved_config(args)
    origin = files_by_video(score_files(args.scores))
    truth = training_videos(args, list(origin))
    origin = {video: path for video, path in origin.items() if video in truth}
    second = second_stream(args.fuse_with, origin) if args.fuse_with else {}
    class_names = read_scores(next(iter(origin.values()))).class_names
    warn_of_other_labels([truth[video] for video in origin], class_names)
    described = find_description(args.fit_trimming)
    started = time.process_time()
    fitted = fit_trimming(
        scored_and_true(origin, second, truth, class_names, fusion),
        class_names,
        config,
        ious=args.fit_iou,
        folds=args.folds,
        source_of=partial(source_of, group=read_description(described).group if described else None),
    )
    text = trimming_file(fitted, config, made_from(args, [*origin.values(), *second.values()]))
    with replace_when_whole(args.output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(table_text(fitted))
    mean = fitted.table().loc["mean"]
    print(
        f"\nmean AP in percent: {mean['default']:.1f} with the default, {mean['held out']:.1f} on held-out videos"
        f" ({mean['fitted']:.1f} on those of the choice itself)"
    )
    print(f"{args.output}: trimming fitted to {len(origin)} videos ({time.process_time() - started:.1f} CPU s)")


def training_videos(args: argparse.Namespace, scored: list[str]) -> dict[str, Any]:
    """The true tubes of the scored videos by name; videos of another part are refused."""
    from eval.inputs import matching_names, nearest_hint
    from video.annotations import read_annotations
    from video.ground_truth import choose_parts, read_test_names

    path = args.fit_trimming
    test_names = read_test_names(args.test_list, args.split) if args.test_list else None
    annotations = read_annotations(path)
    chosen = choose_parts(annotations, path, split=args.split, part=args.part, test_names=test_names)
    truth = {video.video: video for video in chosen.parts[0]}
    unknown = sorted(set(scored) - chosen.known)
    if unknown:
        hint = (
            matching_names(unknown, sorted(chosen.known))
            or f"{unknown[0][:80]!r}{nearest_hint(unknown[0], list(truth))}"
        )
        said = f"{path}: {len(unknown)} of {len(scored)} scored videos are unknown to the ground truth: {hint}"
        if not args.ignore_unknown_videos:
            raise ValueError(
                f"{said}; correct the names (of videos without tubes a CSV table has none: take JSON), or give"
                " --ignore-unknown-videos"
            )
        print(f"warning: {said}; they were left out", file=sys.stderr)
    elsewhere = sorted((set(scored) & chosen.known) - truth.keys())
    if elsewhere:
        raise ValueError(
            f"{path}: {len(elsewhere)} scored videos are not of the part {args.part}, {elsewhere[0][:80]!r} for one; "
            "trimming fitted to test videos makes their test worthless; leave them out or give --part"
        )
    if not truth.keys() & set(scored):
        raise ValueError(f"{path}: it knows none of the {len(scored)} scored videos")
    if args.part != "train" and (test_names or annotations.splits):
        print("warning: fitted to test videos, scores on them look better than they are", file=sys.stderr)
    return truth


def warn_of_other_labels(truth: list[Any], class_names: tuple[str, ...]) -> None:
    from eval.inputs import matching_names, nearest_hint

    others = sorted({tube.label for video in truth for tube in video.tubes} - set(class_names))
    if others:
        hint = matching_names(others, class_names) or f"{others[0][:60]!r}{nearest_hint(others[0], class_names)}"
        print(f"warning: true tubes of {len(others)} labels that the scores do not know: {hint}", file=sys.stderr)


def scored_and_true(
    origin: dict[str, Path], second: dict[str, Path], truth: dict[str, Any], class_names: Any, fusion: Any
) -> Any:
    """Scores and true tubes of one video after the other."""
    from tqdm import tqdm

    from linking.fuse import fuse_streams
    from linking.scores import read_scores

    for video, path in tqdm(origin.items(), unit="video", disable=None):
        scored = read_scores(path)
        if scored.class_names != class_names:
            raise ValueError(f"{path}: its classes are not those of {next(iter(origin.values()))}")
        yield (fuse_streams(scored, read_scores(second[video]), fusion) if second else scored), truth[video]


def made_from(args: argparse.Namespace, files: list[Path]) -> dict[str, str]:
    """What the comment of the written file says of its inputs."""
    import hashlib

    from eval.provenance import file_record, versions

    every = hashlib.sha256("".join(file_record(file)["sha256"] for file in files).encode())
    return {
        "scores": f"{', '.join(map(str, [*args.scores, *(args.fuse_with or [])]))}; sha256 of the sha256 of the files, "
        f"by video: {every.hexdigest()}",
        "truth": f"{args.fit_trimming}, part {args.part}, sha256 {file_record(args.fit_trimming)['sha256']}",
        "preset": args.preset,
        "versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
    }


def resolved_config(args: argparse.Namespace) -> tuple[Any, Any]:
    """The preset, changed by the TOML file, then by --set, then by the options that have a name of their own.

    Returns the settings of linking and those of fusion.
    """
    from linking.build import PRESETS
    from linking.fuse import FusionConfig
    from linking.settings import read_settings, with_settings

    if args.preset not in PRESETS:
        raise ValueError(f"unknown preset {args.preset!r}; there are {', '.join(PRESETS)}")
    settings = read_settings(args.config, args.set)
    of_fusion = settings.pop("fusion", {})
    if not isinstance(of_fusion, dict):
        raise ValueError("fusion is a group of settings; set fusion.NAME=value")
    options = {"method": args.fusion, "weight": args.fusion_weight}
    of_fusion |= {name: value for name, value in options.items() if value is not None}
    if of_fusion and not args.fuse_with:
        raise ValueError("settings of fusion need a second stream, --fuse-with")
    fusion = with_settings(FusionConfig(), of_fusion, prefix="fusion.")
    config = with_settings(PRESETS[args.preset], settings)
    named: dict[str, dict[str, Any]] = {
        "online" if config.linker == "online" else "link": {
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
        changes |= {"trimmed": False, "whole_clip": True}
    return with_settings(config, changes), fusion


def second_stream(places: list[Path], origin: dict[str, Path]) -> dict[str, Path]:
    """The files of the second stream by video; those of other videos do not matter."""
    from linking.scores import files_by_video

    files = files_by_video(score_files(places))
    missing = [video for video in origin if video not in files]
    if missing:
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ValueError(f"{places[0]}: the second stream lacks {len(missing)} of {len(origin)} videos: {some[:150]}")
    return files


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


def write_settings(
    path: Path, args: argparse.Namespace, settings: dict, inputs: dict[str, Path], second: dict[str, Path], cpu: float
) -> None:
    import hashlib
    import json
    import platform
    from importlib.metadata import version

    from linking.files import replace_when_whole

    def digest(file: Path) -> str:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    report: dict[str, Any] = {
        "made_by": "tools/link_tubes.py",
        "preset": args.preset,
        "settings": settings,
        "inputs": [{"video": video, "file": str(file), "sha256": digest(file)} for video, file in inputs.items()],
        "link_cpu_seconds": round(cpu, 3),
        "versions": {
            **{name: version(name) for name in ("lgd-action-detection", "numpy", "pandas")},
            "python": platform.python_version(),
        },
    }
    if second:
        report["fused_with"] = [
            {"video": video, "file": str(second[video]), "sha256": digest(second[video])} for video in inputs
        ]
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
