"""How good is a video classifier? Top-1, top-5, by class, confusions, confidence intervals.

    python tools/evaluate_recognition.py --weights runs/lgd/classifier.safetensors --dataset data/ucf101 --part test
    python tools/evaluate_recognition.py --weights runs/lgd/classifier.safetensors --dataset data/jhmdb --fold 0/5 \\
        --save-scores runs/lgd/fold0.npz --confusion runs/lgd/confusion.png
    python tools/evaluate_recognition.py --scores both.npz --against rgb.npz --by-class

reads   a model file and a dataset (Kinetics, UCF101, HMDB51, folders by class, datasets for detection), or score files;
        several score files are judged one by one and averaged, the three splits of UCF101 for example
writes  --save-scores FILE   the scores of every video (.npz or .csv)
        --confusion FILE     a picture of the confusion matrix
        --json FILE          all numbers
prints  the numbers, for reading
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.class_scores import ClassScores


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--weights", metavar="WHERE", help="classifier: a file, https://...#sha256=..., hf://")
    source.add_argument(
        "--scores", type=Path, nargs="+", metavar="FILE", help="score files instead, of other videos each"
    )
    add_fetch_options(parser)
    parser.add_argument("--dataset", help="dataset folder, with --weights")
    parser.add_argument("--part", choices=("train", "val", "test", "all"), default="test", help="default: test")
    parser.add_argument("--fold", metavar="I/N", help="instead: fold I of N of the training part, by source video")
    parser.add_argument("--split", type=int, default=1, help="split of UCF101, HMDB51 or J-HMDB (default 1)")
    parser.add_argument("--clips", type=int, help="test clips a video, instead of those of the model file")
    parser.add_argument("--short-side", type=int, help="pixels at test, instead of those of the model file")
    parser.add_argument("--paths", choices=("first", "mean"), default="first", help="score by the first head or by all")
    parser.add_argument("--against", type=Path, metavar="FILE", help="scores of another model, to compare with")
    parser.add_argument("--by-class", action="store_true", help="print a line for each class")
    parser.add_argument("--save-scores", type=Path, metavar="FILE", help=".npz or .csv")
    parser.add_argument("--confusion", type=Path, metavar="FILE", help=".png, .pdf or .svg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all numbers")
    parser.add_argument("--flow", type=Path, metavar="DIR", help="flow by extract_flow.py; else it is computed")
    parser.add_argument("--batch", type=int, default=4, help="clips that go through the network together (default 4)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that read videos (default 0: this one)")
    parser.add_argument("--threads", type=int, help="CPU threads")
    args = parser.parse_args(argv)
    if args.weights and not args.dataset:
        parser.error("--weights needs --dataset")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda text, *_: print(f"warning: {text}", file=sys.stderr)
            run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


def run(args: argparse.Namespace) -> None:
    """Everything after parsing."""
    from eval.class_scores import read_scores, write_scores
    from eval.confusion_plot import plot_confusion
    from eval.recognition import confusion
    from linking.files import replace_when_whole

    unreadable: list[str] = []
    if args.weights:
        scores, unreadable = classified(args)
        judged = {str(args.dataset): scores}
    else:
        judged = {str(path): read_scores(path) for path in args.scores}
    if args.save_scores:
        write_scores(args.save_scores, only(judged, "--save-scores"))
    against = read_scores(args.against) if args.against else None
    reports = []
    for name, scores in judged.items():
        if len(judged) > 1:
            print(name)
        reports.append({"scores": name, **judge(scores, against, by_class=args.by_class)})
    result: dict[str, Any] = reports[0]
    if len(reports) > 1:
        means = {key: sum(report[key] for report in reports) / len(reports) for key in MEASURES}
        result = {"files": reports, "mean": means}
        print(f"mean of {len(reports)} files")
        for key, text in MEASURES.items():
            print(f"{text:<12}{100 * means[key]:6.2f} %")
    for line in unreadable:
        print(f"left out: {line}", file=sys.stderr)
    if args.confusion:
        chosen = only(judged, "--confusion")
        plot_confusion(args.confusion, confusion(chosen), chosen.class_names)
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps({**result, "unreadable": unreadable}, indent=1) + "\n")


MEASURES = {"top1": "top-1", "top5": "top-5", "mean_class": "mean class"}


def judge(scores: ClassScores, against: ClassScores | None, *, by_class: bool) -> dict[str, Any]:
    """Print and return the numbers of one file."""
    from eval.recognition import accuracy, difference, intervals, per_class

    found, ends, table = accuracy(scores), intervals(scores), per_class(scores)
    report: dict[str, Any] = {
        **dataclasses.asdict(found),
        "intervals": {name: list(end) for name, end in ends.items()},
        "classes": table.to_dict(orient="index"),
        "about": dict(scores.about),
    }
    print(f"{found.videos} videos, {len(table)} classes")
    for key, text in MEASURES.items():
        low, high = ends[key]
        print(f"{text:<12}{100 * report[key]:6.2f} %   95 % of samples {100 * low:.2f} to {100 * high:.2f}")
    if against is not None:
        gain, low, high = difference(against, scores)
        report["against"] = {"top1_gain": gain, "interval": [low, high], "about": dict(against.about)}
        print(f"{'gain':<12}{100 * gain:+6.2f} points of top-1, 95 % of samples {100 * low:+.2f} to {100 * high:+.2f}")
    if by_class:
        width = max(map(len, table.index))
        for name, row in table.iterrows():
            other = f"   {row['times']} taken for {row['taken_for']}" if row["times"] else ""
            print(f"{name!s:<{width}}  {100 * row['top1']:6.1f} % of {row['videos']}{other}")
    return report


def only(judged: dict[str, ClassScores], option: str) -> ClassScores:
    """The one file that was given."""
    if len(judged) > 1:
        raise ValueError(f"{option} takes one score file, got {len(judged)}")
    return next(iter(judged.values()))


def classified(args: argparse.Namespace) -> tuple[ClassScores, list[str]]:
    """Scores of the dataset's videos by the model, and what could not be read; imports torch."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from tqdm import tqdm

    from recognition.classifier_files import load_classifier
    from recognition.classify import ClassifyConfig, classify_dataset
    from recognition.memory import reuse_large_blocks
    from recognition.weights_location import fetch_of, locate_weights
    from video.class_datasets import fold_classes, open_classes
    from video.folds import parse_fold

    reuse_large_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    model = load_classifier(locate_weights(args.weights, fetch_of(args)).path, args.device)
    dataset = open_classes(args.dataset, split=args.split, part="train" if args.fold else args.part)
    if args.fold:
        _, dataset = fold_classes(dataset, *parse_fold(args.fold))
    changes = {"test_clips": args.clips, "test_short_side": args.short_side}
    if args.short_side and model.clip.stream == "audio":
        raise ValueError("--short-side is a size of pictures, and this classifier hears")
    clip = dataclasses.replace(model.clip, **{name: value for name, value in changes.items() if value is not None})
    with tqdm(total=len(dataset), unit="video", file=sys.stderr, disable=None) as bar:
        scores, unreadable = classify_dataset(
            model.network,
            dataset,
            model.class_names,
            clip,
            ClassifyConfig(args.batch, args.paths, args.precision, args.flow),
            args.device,
            workers=args.workers,
            on_video=lambda number: bar.update(number - bar.n),
        )
    if not len(scores):
        raise ValueError(f"{args.dataset}: none of its {len(dataset)} videos could be read: {unreadable[0]}")
    about = {"model": model.file.sha256, "data": dataset.name, "part": args.fold or args.part, "clip": clip.to_dict()}
    return dataclasses.replace(scores, about=about), unreadable


if __name__ == "__main__":
    sys.exit(main())
