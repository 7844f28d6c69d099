"""Train the action scorer: LGD-3D with a classifier on the regions of actors.

    python tools/train_detection.py --dataset data/jhmdb --fold 0/5 --output runs/scorer
    python tools/train_detection.py --dataset data/jhmdb,data/puppets --preset small --output runs/scorer --resume
    python tools/train_detection.py --dataset data/ucf24 --preset lgd-r2plus1d18 --body-weights kinetics --device cuda
    python tools/train_detection.py --dataset data/ucf24 --preset resnet101 --body-weights imagenet --device cuda \\
        --set train.precision=bf16 --output runs/ucf24

reads   dataset folders (J-HMDB, UCF101-24), or a .toml about videos of one's own; their training part
writes  OUTPUT/scorer.safetensors   the network, for detect_video.py --weights
        OUTPUT/settings.json        all settings of the run
        OUTPUT/log.jsonl            losses, a JSON object an epoch
        OUTPUT/state.pt             what --resume goes on from
prints  the validation numbers, as JSON
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="dataset folder or .toml, or several with commas between them")
    parser.add_argument("--output", required=True, type=Path, help="folder of the results")
    parser.add_argument("--split", type=int, default=1, help="split whose training part is used (default 1)")
    parser.add_argument("--fold", metavar="I/N", help="hold fold I of N out for validation, by source video")
    parser.add_argument(
        "--preset",
        default="small",
        help="recipe: small (default), small-flow, tiny, resnet50, lgd-r2plus1d18, swin3d-t, ...",
    )
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    parser.add_argument("--epochs", type=int, help="short for --set train.epochs=")
    parser.add_argument("--seed", type=int, help="short for --set train.seed=")
    parser.add_argument(
        "--weights", metavar="WHERE", help="scorer to start from: a file, https://...#sha256=..., hf://..."
    )
    parser.add_argument(
        "--body-weights",
        metavar="WHERE",
        help="start of the backbone: 'imagenet', 'kinetics' for torchvision's video networks, a file of such weights, "
        "or a classifier of train_recognition.py; weights that are named here are fetched",
    )
    parser.add_argument("--proposals", type=Path, help="tube table of proposals to take training regions from as well")
    parser.add_argument(
        "--flow",
        type=Path,
        metavar="DIR",
        help="flow by tools/extract_flow.py: of the first dataset in DIR, of others in DIR/DATASET",
    )
    add_fetch_options(parser)
    parser.add_argument("--max-minutes", type=float, help="start no epoch after that; go on with --resume")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/state.pt")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that prepare clips (default 0: this one)")
    parser.add_argument("--threads", type=int, help="CPU threads; equal numbers give equal bits")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        report = run(args)
    except (ValueError, ArithmeticError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"stopped; go on with --resume --output {args.output}", file=sys.stderr)
        return 130
    print(json.dumps(report, indent=1))
    return 0


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import time
    from dataclasses import asdict, replace

    import torch
    from tqdm import tqdm

    from detection.presets import PRESETS
    from detection.scorer import KIND, LoadedScorer, load_scorer
    from detection.train_scorer import build_scorer, preprocessing_of, train_scorer
    from detection.training_clips import proposals_of_table
    from detection.validate_scorer import validate_scorer
    from linking.files import replace_when_whole
    from linking.settings import SettingsError, read_settings, with_settings
    from recognition.memory import reuse_large_blocks
    from recognition.model_files import load_model, save_model
    from recognition.preprocessing import Preprocessing
    from recognition.weights_location import fetch_of, locate_weights
    from video.mixing import mix, open_for_training

    reuse_large_blocks()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.preset not in PRESETS:
        raise SettingsError(f"unknown preset {args.preset!r}; known are {', '.join(PRESETS)}")
    if args.resume and not (args.output / "state.pt").is_file():
        raise SettingsError(f"{args.output / 'state.pt'}: nothing to resume; leave --resume out to start")
    start = load_scorer(locate_weights(args.weights, fetch_of(args)).path) if args.weights else None
    recipe = PRESETS[args.preset]()
    if start:
        recipe = replace(recipe, scorer=start.network.config)
    short = [f"train.{name}={getattr(args, name)}" for name in ("epochs", "seed") if getattr(args, name) is not None]
    recipe = with_settings(recipe, read_settings(args.config, args.set + short))

    training, validation = open_for_training(args.dataset.split(","), split=args.split, fold_name=args.fold)
    dataset = mix(training)
    recipe = replace(recipe, scorer=replace(recipe.scorer, num_classes=len(dataset.class_names)))
    with replace_when_whole(args.output / "settings.json") as temporary:
        temporary.write_text(json.dumps(asdict(recipe), indent=1) + "\n")

    network = build_scorer(
        recipe.scorer,
        seed=recipe.train.seed,
        body_weights=args.body_weights,
        start=start.network.state_dict() if start else None,
    )
    started = time.monotonic()
    with tqdm(total=recipe.train.epochs, unit="epoch", file=sys.stderr, disable=None) as bar:

        def show(line: dict[str, Any]) -> None:
            bar.update(line["epoch"] - bar.n)
            bar.set_postfix(loss=line["region_loss"], actions=line["action_accuracy"])
            if bar.disable:
                print(json.dumps(line), file=sys.stderr, flush=True)

        finished = train_scorer(
            network,
            dataset,
            recipe.train,
            args.output,
            device=args.device,
            resume=args.resume,
            proposals=proposals_of_table(args.proposals) if args.proposals else None,
            flow_folder=args.flow,
            workers=args.workers,
            max_minutes=args.max_minutes,
            on_epoch=show,
        )
    minutes = (time.monotonic() - started) / 60

    path = args.output / "scorer.safetensors"
    names = [one.name for one in training]

    def write(report: dict[str, Any]) -> None:
        save_model(
            path,
            network.state_dict(),
            kind=KIND,
            config=network.config.to_dict(),
            class_names=dataset.class_names,
            preprocessing=preprocessing_of(network.config).to_dict(),
            provenance={
                "datasets": names,
                "videos": [len(part) for part in training],
                "split": args.split,
                "fold": args.fold,
                "started_from": start.file.sha256 if start else args.body_weights,
                "settings": asdict(recipe),
                **report,
            },
            store="float16",
        )

    report: dict[str, Any] = {"finished": finished, "minutes": round(minutes, 1), "validation": {}}
    write(report)
    if validation:
        # measured on the file as it was written, in half precision
        file = load_model(path, kind=KIND)
        network.load_state_dict(file.state)
        scorer = LoadedScorer(network, file.class_names, Preprocessing.from_dict(file.preprocessing), file)
        report["validation"] = {
            name: asdict(validate_scorer(scorer, held)) for name, held in zip(names, validation) if len(held)
        }
        write(report)
    return report


if __name__ == "__main__":
    sys.exit(main())
