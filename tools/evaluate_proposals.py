"""How many actors do the proposals find? Recall with the best 1, 10 and 100 boxes of a frame, and average precision.

    python tools/evaluate_proposals.py --dataset data/jhmdb --fold 0/5 --proposals runs/rgb/proposals.safetensors
    python tools/evaluate_proposals.py --dataset data/jhmdb --proposals rgb.safetensors,flow.safetensors --iou 0.5 0.7

reads   a dataset folder, or a .toml about videos of one's own: with --fold the videos that a training with this
        fold held out, else the test part
prints  a row for each overlap: shares of the annotated boxes that are found, in percent
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="dataset folder or .toml")
    parser.add_argument("--split", type=int, default=1, help="split of the dataset (default 1)")
    parser.add_argument("--part", choices=("train", "test", "all"), help="default: test, or train with --fold")
    parser.add_argument("--fold", metavar="I/N", help="only the validation videos of fold I of N")
    parser.add_argument(
        "--proposals", default="bundled", metavar="SOURCE", help="as for detect_video.py, no table (default bundled)"
    )
    parser.add_argument("--frames", type=int, default=8, metavar="N", help="of each video, evenly spread (default 8)")
    parser.add_argument("--iou", type=float, nargs="+", default=[0.5], metavar="IOU", help="default 0.5")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, as mirror")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers, 0..1")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--threads", type=int, help="CPU threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(args: argparse.Namespace) -> int:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from tqdm import tqdm

    from detection.evaluate_proposals import judge_frames
    from detection.proposals import TABLE_SUFFIXES, ProposalConfig, ProposalError, open_proposer
    from linking.files import replace_when_whole
    from linking.settings import read_settings, with_settings
    from video.datasets import open_dataset
    from video.mixing import named_fold

    if args.threads:
        torch.set_num_threads(args.threads)
    if args.proposals.endswith(TABLE_SUFFIXES):
        raise ProposalError("boxes of a table are judged by evaluate_tubes.py (frame-mAP)")
    config = with_settings(ProposalConfig(max_boxes=100, min_score=0.0), read_settings(None, args.set))
    dataset = open_dataset(args.dataset, split=args.split, part=args.part or ("train" if args.fold else "test"))
    if args.fold:
        _, dataset = named_fold(dataset, args.fold)
    proposer = open_proposer(args.proposals, config=config, device=args.device)
    videos = tqdm(dataset.videos, unit="video", file=sys.stderr, disable=None)
    judged = judge_frames(videos, proposer, frames_per_video=args.frames)
    numbers = {f"{iou:g}": judged.quality(iou) for iou in args.iou}
    actors = sum(map(len, judged.actors))
    print(f"{dataset.name}: {actors} actors in {len(judged.actors)} frames of {len(dataset.videos)} videos")
    columns = ("recall@1", "recall@10", "recall@100", "average_precision")
    print(f"{'IoU':<6}" + "".join(f"{column.replace('average_precision', 'AP'):>12}" for column in columns))
    for iou, row in numbers.items():
        print(f"{iou:<6}" + "".join(f"{100 * row[column]:>12.1f}" for column in columns))
    if args.json:
        with replace_when_whole(args.json) as temporary:
            temporary.write_text(json.dumps({"proposals": args.proposals, "iou": numbers}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
