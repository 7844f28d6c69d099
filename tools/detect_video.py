"""Who does what, where and when: action tubes of any video.

    python tools/detect_video.py my.mp4
    python tools/detect_video.py a.mp4 b.avi frames/ --output results --labels wave,clap
    python tools/detect_video.py my.mp4 --proposals boxes.csv
    python tools/detect_video.py my.mp4 --streams rgb
    python tools/detect_video.py my.mp4 --download
    python tools/detect_video.py my.mp4 --weights torchvision:r2plus1d_18 --download
    python tools/detect_video.py 0
    python tools/detect_video.py rtsp://user:password@camera/stream --port 8080
    python tools/detect_video.py my.mp4 --live
    python tools/detect_video.py --dataset data/jhmdb --fold 0/5 --no-video --score-threshold 0.001

reads   video files, folders of pictures, a camera ("0"), a stream URL, or the videos of a dataset
writes  OUTPUT/tubes.csv, tubes.json     every tube: a row a box; the nested view
        OUTPUT/NAME.annotated.mp4        the video with its tubes, one colour an actor
        OUTPUT/NAME.tubes.png            the tubes in x, y and time
        OUTPUT/NAME.scores.npz           all scored boxes, to link again with tools/link_tubes.py
        OUTPUT/report.html               a page to look at: videos, timeline of the tubes, scores, what made them
        OUTPUT/run.json                  what made the results: inputs, weights and their terms, settings, timings
        OUTPUT/ground_truth.csv          with --dataset: its annotation of these videos, for evaluate_tubes.py
prints  a table of who does what and when

A camera, a stream and a file with --live are watched live: linked as they come, with little delay, to be seen in a
window or on a page on this machine, until Ctrl-C or SIGTERM. They leave tubes.csv (which grows meanwhile), tubes.json,
NAME.annotated.mp4 and run.json. See docs/live.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    from detection.detect import DetectedVideo
    from detection.inputs import Input
    from detection.proposals import Proposer
    from linking.actors import Actor
    from video.thumbnails import Thumbnails


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    from recognition.weights_location import add_fetch_options

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="*", metavar="VIDEO", help="file, folder of pictures, camera number or URL")
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="folder of the results (default outputs)")
    parser.add_argument(
        "--preset",
        choices=("auto", "bundled", "kinetics"),
        default="auto",
        help="networks where nothing else is said: those that come with the program (bundled), or person boxes by COCO "
        "and 400 classes by Kinetics (kinetics; auto with --download)",
    )
    add_fetch_options(parser)
    parser.add_argument(
        "--streams", metavar="NAMES", help="bundled scorers to use: rgb (faster), flow, or rgb,flow (default: both)"
    )
    parser.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="WHERE",
        help="scorer instead: a file, https://...#sha256=..., hf://owner/repository/file, or torchvision:NAME, a "
        "Kinetics classifier with 400 classes; give it twice for two streams, which are fused",
    )
    parser.add_argument(
        "--proposals",
        metavar="SOURCE",
        help="where boxes come from: 'bundled' (default but for Kinetics), 'bundled-rgb' (without the network that "
        "sees flow), a proposals .safetensors file as for --weights or two (RGB,FLOW), torchvision:NAME (default for "
        "Kinetics), detectron2:CONFIG[:WEIGHTS], or a tube table (.csv, .parquet, .json); tubes of a table keep their "
        "frames and boxes and are only labelled (docs/backends.md)",
    )
    parser.add_argument("--labels", help="only these classes, with commas between them")
    parser.add_argument("--score-threshold", type=float, help="lowest score of a tube that is kept (default 0.1)")
    parser.add_argument(
        "--trim",
        action=argparse.BooleanOptionalAction,
        help="cut tubes to the time of their action, or not: the videos hold nothing but the action, and tubes last as "
        "long (default: cut, but not those of J-HMDB)",
    )
    parser.add_argument(
        "--linker", choices=("offline", "online"), help="link with the whole video in view (default), or as it comes"
    )
    parser.add_argument(
        "--no-video", action="store_true", help="no annotated video, no tube plot, no pictures in the report"
    )
    parser.add_argument("--no-report", action="store_true", help="no report.html")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--proposal-stride", type=int, metavar="K", help="proposals on every K-th frame (default 2, live 4)"
    )
    parser.add_argument("--clip-stride", type=int, metavar="S", help="one clip scores S frames (default 8)")
    parser.add_argument("--max-frames", type=int, help="stop after so many frames of each video")
    parser.add_argument("--device", default="auto", help="auto (default), cpu or cuda")
    parser.add_argument("--config", type=Path, help="TOML file of settings")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one setting")
    group = parser.add_argument_group("live input")
    group.add_argument("--live", action="store_true", help="play a file at its own speed, as if it were a camera")
    group.add_argument(
        "--show",
        choices=("auto", "window", "page", "none"),
        default="auto",
        help="a window and a page (auto: the window only where there is a screen), the page alone, or nothing",
    )
    group.add_argument("--port", type=int, help="of the page (default 8000 or, where that is taken, any)")
    group.add_argument(
        "--host", default="127.0.0.1", help="address of the page (default 127.0.0.1: nobody else; 0.0.0.0: everybody)"
    )
    group.add_argument(
        "--max-reconnects", type=int, metavar="N", help="attempts to connect again after a stream broke (default 10)"
    )
    group = parser.add_argument_group("the videos of a dataset")
    group.add_argument("--dataset", type=Path, help="dataset folder or .toml instead of VIDEO")
    group.add_argument("--split", type=int, default=1, help="split of the dataset (default 1)")
    group.add_argument("--part", choices=("train", "test", "all"), help="default: test, or train with --fold")
    group.add_argument("--fold", metavar="I/N", help="only the validation videos of fold I of N")
    args = parser.parse_args(argv)
    if args.streams and args.preset == "kinetics":
        parser.error("--streams chooses among the bundled scorers, --preset kinetics takes others")
    if args.weights and args.streams:
        parser.error("--streams chooses among the bundled scorers; files of one's own say their stream themselves")
    if bool(args.videos) == bool(args.dataset):
        parser.error("give videos or --dataset")
    if args.live and len(args.videos) != 1:
        parser.error("--live is for one video at a time")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    """Everything after parsing; imports torch."""
    # Threads that wait without spinning: on a busy machine spinning costs several times the work itself.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    import torch
    from tqdm import tqdm

    from detection.detect import DetectConfig, boxes_of_table, detect_video
    from detection.live_run import LiveOptions, has_no_end, run_live
    from detection.pick_weights import open_scorer, origins, pick_weights, picked_record, told
    from detection.proposals import TABLE_SUFFIXES, open_proposer
    from detection.report_lanes import lanes_of
    from detection.results import DoneVideo, ResultFiles, done_video, print_summary, print_timings
    from linking.actors import group_by_actor
    from linking.scores import write_scores
    from linking.settings import read_settings, with_settings
    from recognition.memory import reuse_large_blocks
    from recognition.weights_location import fetch_of
    from video.thumbnails import thumbnails_for

    reuse_large_blocks()
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {device}: no usable CUDA device here; use --device cpu")
    fetch = fetch_of(args)
    picked = pick_weights(
        args.preset, weights=args.weights, streams=args.streams, proposals=args.proposals, device=device, fetch=fetch
    )
    from_table = picked.proposals.endswith(TABLE_SUFFIXES)
    inputs, cut_to_action = _inputs(args)
    is_live = args.live or (len(inputs) == 1 and args.linker != "offline" and has_no_end(inputs[0]))
    given_settings = read_settings(args.config, args.set)
    if args.trim is None and cut_to_action and not given_settings.keys() & {"trimmed", "whole_clip"}:
        args.trim = False
        print(f"{args.dataset}: its clips are cut to their actions, tubes are not (--trim: they are)", file=sys.stderr)
    settings = _settings(args, given_settings, picked.settings, from_table, is_live)
    config = with_settings(DetectConfig(), settings)
    if args.dataset and config.select.min_score > 0.01:
        left_out = f"tubes that score below {config.select.min_score:g} are left out"
        print(f"{args.dataset}: {left_out}; video-mAP counts them too (--score-threshold 0.001)", file=sys.stderr)
    if is_live and picked.proposals == "bundled":  # there is no time for a second network
        picked = replace(picked, proposals="bundled-rgb")
    if is_live and from_table:
        raise ValueError("--proposals: the boxes of a table belong to a finished video, not to live input")
    scorers = [open_scorer(word, fetch, device) for word in picked.scorers]
    class_names = scorers[0].class_names
    labels = [label.strip() for label in args.labels.split(",")] if args.labels else None
    if unknown := [label for label in labels or () if label not in class_names]:
        raise ValueError(f"--labels: unknown {unknown[0]!r}; the weights know {', '.join(class_names)}")
    detector = None
    if not from_table:
        detector = open_proposer(picked.proposals, config=config.proposals, device=device, fetch=fetch)
    found_at = origins(picked, scorers)
    for line in told(found_at):
        print(line, file=sys.stderr)
    if is_live:
        assert detector is not None
        options = LiveOptions(
            where=args.show,
            host=args.host,
            port=args.port,
            write_video=not args.no_video,
            as_json=args.json,
            max_frames=args.max_frames,
            may_drop_streams=not args.weights and not args.streams,
        )
        return run_live(
            inputs[0], detector, scorers, config, options,
            proposals=picked.proposals, output=args.output, labels=labels, picked=picked_record(picked, found_at),
        )  # fmt: skip

    done: list[DoneVideo] = []
    failed: dict[str, str] = {}
    results = ResultFiles(
        args.output, done, failed,
        scorers=scorers, proposals=picked.proposals, config=config, picked=picked_record(picked, found_at),
    )  # fmt: skip
    for number, item in enumerate(inputs, 1):
        title = item.name if len(inputs) == 1 else f"{item.name} ({number}/{len(inputs)})"
        recording = args.output / f"{item.name}.recording.mp4" if item.is_live else None
        try:
            boxes: Proposer | None = detector
            given = None
            if boxes is None:
                boxes, given = boxes_of_table(picked.proposals, item.name, config.proposals)
            with (
                tqdm(desc=title, unit="frame", file=sys.stderr, disable=None, leave=len(inputs) == 1) as bar,
                _CtrlC(ends_quietly=item.is_live) as ctrl_c,
            ):
                found = detect_video(
                    item.path,
                    item.name,
                    boxes,
                    scorers,
                    config,
                    given=given,
                    labels=labels,
                    recording=recording,
                    on_open=lambda source, bar=bar: bar.reset(args.max_frames or source.stated_frames),  # type: ignore[misc]
                    on_frame=lambda count, bar=bar: bar.update(count - bar.n),  # type: ignore[misc]
                    until=lambda ctrl_c=ctrl_c: ctrl_c.pressed,  # type: ignore[misc]
                    max_frames=args.max_frames,
                )
            for warning in found.warnings:
                print(f"warning: {item.name}: {warning}", file=sys.stderr)
            started = time.perf_counter()
            actors = group_by_actor(found.tubes)
            thumbnails = annotated = lanes = None
            if not args.no_video:
                if not args.no_report:
                    thumbnails = thumbnails_for([actor.tube for actor in actors], len(inputs))
                annotated = _draw(args.output, item, found, actors, recording, thumbnails)
            if not args.no_report:
                link = config.linking if config.trimmed and given is None else None
                lanes = lanes_of(actors, found.scored, link, thumbnails)
            found.timings.draw = time.perf_counter() - started
            write_scores(args.output / f"{item.name}.scores.npz", found.scored)
        except (ValueError, OSError) as error:
            failed[item.name] = str(error)
            print(f"error: {error}", file=sys.stderr)
            continue
        done.append(done_video(item, found, lanes, annotated))
        results.write_if_due()
    if done:
        record = results.write()
        if args.json:
            print(json.dumps(record, indent=1))
        else:
            print_summary(done)
        print_timings(done, args.output)
    return 2 if failed else 0


def _settings(
    args: argparse.Namespace, settings: dict[str, Any], of_networks: dict[str, Any], from_table: bool, is_live: bool
) -> dict[str, Any]:
    """Settings of the file and of --set, over those that go with the networks; the options of the command line win."""
    pipeline = settings.setdefault("pipeline", {})
    pipeline |= of_networks.get("pipeline", {}) | pipeline
    if from_table:  # boxes of a table cost nothing, and every row of it is meant
        pipeline |= {"proposal_stride": 1, "max_boxes": 10_000, "min_actor_score": 0.0} | pipeline
    for name in ("proposal_stride", "clip_stride"):
        if getattr(args, name) is not None:
            pipeline[name] = getattr(args, name)
    if is_live:  # where time is short, half of the proposals and all mirror images are the first to go
        for stage in ("pipeline", "proposals"):
            settings.setdefault(stage, {}).setdefault("mirror", False)
        pipeline.setdefault("proposal_stride", 4)
    if args.score_threshold is not None:
        settings.setdefault("select", {})["min_score"] = args.score_threshold
    if args.trim is not None:
        settings |= {"trimmed": args.trim, "whole_clip": not args.trim}
    if args.linker:
        settings["linker"] = args.linker
    if args.max_reconnects is not None:
        settings.setdefault("live", {})["max_reconnects"] = args.max_reconnects
    return settings


def _inputs(args: argparse.Namespace) -> tuple[list[Input], bool]:
    """The videos, and whether they are known to hold nothing but their actions."""
    from detection.inputs import inputs_of, inputs_of_dataset
    from video.datasets import open_dataset
    from video.mixing import named_fold

    if not args.dataset:
        return inputs_of(args.videos), False
    dataset = open_dataset(args.dataset, split=args.split, part=args.part or ("train" if args.fold else "test"))
    if args.fold:
        _, dataset = named_fold(dataset, args.fold)
    return inputs_of_dataset(dataset), dataset.cut_to_action


class _CtrlC:
    """Ctrl-C ends a live source quietly, so that what was seen is kept; elsewhere it interrupts as always."""

    def __init__(self, *, ends_quietly: bool) -> None:
        self.pressed = False
        self._ends_quietly = ends_quietly

    def __enter__(self) -> Self:
        if self._ends_quietly:
            self._before = signal.signal(signal.SIGINT, lambda number, frame: setattr(self, "pressed", True))
        return self

    def __exit__(self, *exception: object) -> None:
        if self._ends_quietly:
            signal.signal(signal.SIGINT, self._before)


def _draw(
    output: Path,
    item: Input,
    found: DetectedVideo,
    actors: Sequence[Actor],
    recording: Path | None,
    thumbnails: Thumbnails | None,
) -> Path:
    """The annotated video, whose name is returned, and the tube plot: every actor once, under its best class."""
    from eval.plots import plot_tubes
    from linking.actors import best_classes
    from video.drawing import annotate_video
    from video.watching import SpreadFrames, together

    tubes, spread = [actor.tube for actor in actors], SpreadFrames(4)
    classes = {actor.tube.id: best_classes(actor, found.scored) for actor in actors}
    annotated = output / f"{item.name}.annotated.mp4"
    annotate_video(
        recording or item.path,
        annotated,
        tubes,
        top_classes=classes,
        max_frames=found.scored.num_frames,
        watch=spread.see if thumbnails is None else together([spread.see, thumbnails.see]),
    )
    plot_tubes(
        output / f"{item.name}.tubes.png",
        tubes,
        width=found.scored.width,
        height=found.scored.height,
        num_frames=found.scored.num_frames,
        fps=found.scored.fps,
        title=item.name,
        pictures=spread.pictures(found.scored.num_frames),
    )
    return annotated


if __name__ == "__main__":
    sys.exit(main())
