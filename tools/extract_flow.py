"""Optical flow (TV-L1) of videos and whole datasets, kept on disk for training and inference.

    python tools/extract_flow.py data/jhmdb --output flow/jhmdb --workers 4
    python tools/extract_flow.py my.mp4 --output flow --preview flow/my.preview.mp4
    python tools/extract_flow.py data/kinetics --output flow/kinetics --device cuda --workers 4
    python tools/extract_flow.py data/ucf101 --output flow/ucf101-120 --short-side 120 --set bound=10

reads   video files, folders of pictures, dataset folders (all their videos)
writes  OUTPUT/NAME.flow.zip   one a video: grey JPEG pictures of the motion in x and in y, and the settings
        PREVIEW.mp4            with --preview: the first video beside its flow in colours
prints  how many videos are done

What is there already, whole and of the same settings, is left alone: after an interruption, start it again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", metavar="VIDEO_OR_DATASET", help="file, folder of pictures, or dataset")
    parser.add_argument("--output", required=True, type=Path, help="folder of the flow files")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument(
        "--short-side", type=int, metavar="PX", help="scale larger frames down to it first (default 240; 0: never)"
    )
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="processes (default 0: this one)")
    parser.add_argument("--preview", type=Path, metavar="MP4", help="also write a video for looking, of the first one")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting, tvl1.warps=3 say"
    )
    parser.add_argument("--json", action="store_true", help="print the summary as JSON")
    args = parser.parse_args(argv)
    if args.workers < 0:
        parser.error("--workers must be 0 or more")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; start it again to go on", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from tqdm import tqdm

    from linking.settings import read_settings, with_settings
    from video.flow import FlowSettings
    from video.flow_cache import CachedFlow, flow_path
    from video.flow_extraction import FlowOutcome, extract, flow_jobs

    changes = read_settings(args.config, args.set)
    if args.short_side is not None:
        changes["short_side"] = args.short_side
    settings = with_settings(FlowSettings(), changes)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: no usable CUDA device here; use --device cpu")
    with warnings.catch_warnings(record=True) as told:
        jobs = flow_jobs(args.inputs)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)

    outcomes: list[FlowOutcome] = []
    started = time.monotonic()
    # a single video shows its frames, several show videos
    alone = len(jobs) == 1 and args.workers == 0
    with tqdm(
        total=None if alone else len(jobs), unit="frame" if alone else "video", file=sys.stderr, disable=None
    ) as bar:
        for outcome in extract(
            jobs,
            args.output,
            settings,
            device=device,
            workers=args.workers,
            on_open=lambda frames: bar.reset(frames) if alone else None,
            on_frame=lambda count: bar.update(count - bar.n) if alone else None,
        ):
            outcomes.append(outcome)
            bar.update(0 if alone else 1)
            for text in outcome.warnings:
                bar.write(f"warning: {text}", file=sys.stderr)
            if outcome.error:
                bar.write(f"error: {outcome.error}", file=sys.stderr)
            elif bar.disable:
                what = f"{outcome.frames} frames" if outcome.frames else "was done"
                print(f"{len(outcomes)}/{len(jobs)} {outcome.job.name}: {what}", file=sys.stderr, flush=True)

    failed = [outcome for outcome in outcomes if outcome.error]
    paths = [flow_path(args.output, outcome.job.name) for outcome in outcomes if not outcome.error]
    summary = {
        "videos": len(jobs),
        "computed": sum(outcome.frames > 0 for outcome in outcomes),
        "done_before": sum(outcome.frames == 0 and not outcome.error for outcome in outcomes),
        "failed": {outcome.job.name: outcome.error for outcome in failed},
        "frames": sum(outcome.frames for outcome in outcomes),
        "seconds": round(time.monotonic() - started, 1),
        "megabytes": round(sum(path.stat().st_size for path in paths) / 1e6, 1),
        "settings": settings.to_dict(),
    }
    if args.json:
        print(json.dumps(summary, indent=1))
    else:
        print(
            f"{summary['videos']} videos: {summary['computed']} computed ({summary['frames']} frames in "
            f"{summary['seconds']} s), {summary['done_before']} done before, {len(failed)} failed; "
            f"{summary['megabytes']} MB in {args.output}"
        )
    if args.preview and not any(outcome.job == jobs[0] for outcome in failed):
        from video.flow_colours import write_flow_video

        flow = CachedFlow(flow_path(args.output, jobs[0].name))
        write_flow_video(jobs[0].video, flow, args.preview, bound=settings.bound)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
