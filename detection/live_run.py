"""A live run from the command line: connect, show, write, say how it went."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detection.detect import DetectConfig
from detection.inputs import Input
from detection.live import LiveOutcome, check_live, watch
from detection.live_show import LiveShow, Where
from detection.live_stop import StopSignals
from detection.live_tubes import EndedTube
from detection.proposals import Proposer
from detection.results import DoneVideo, run_record
from detection.scorer import LoadedScorer
from linking.files import replace_when_whole
from video.frames import open_video
from video.live_frames import LiveReader


@dataclass(frozen=True)
class LiveOptions:
    """What the command line says of a live run."""

    where: Where = "auto"
    host: str = "127.0.0.1"
    port: int | None = None
    """None: 8000 or, where that is taken, any free one."""
    write_video: bool = True
    as_json: bool = False
    max_frames: int | None = None
    may_drop_streams: bool = False


def has_no_end(item: Input) -> bool:
    """Whether an input is a camera or a broadcast, and not a video that lies on a server. Connects to a stream."""
    if "://" not in item.path:
        return item.is_live
    with open_video(item.path) as source:
        return source.is_live


def run_live(
    item: Input,
    proposer: Proposer,
    scorers: Sequence[LoadedScorer],
    config: DetectConfig,
    options: LiveOptions,
    *,
    proposals: str,
    output: Path,
    labels: Sequence[str] | None = None,
    picked: Mapping[str, Any] | None = None,
) -> int:
    """Watch ``item`` until it ends or a signal comes, leave finished files in ``output``; the exit code.

    0 where the source ended or was ended (Ctrl-C, SIGTERM, the window closed), 2 where it was lost and did not come
    back: then, too, the files are finished. KeyboardInterrupt at the second Ctrl-C.
    """

    def tell(line: str) -> None:
        print(f"{item.name}: {line}", file=sys.stderr, flush=True)

    def print_ended(ended: Sequence[EndedTube]) -> None:
        for one in ended:
            if one.was_shown and not options.as_json:
                tube, start, end = one.tube, one.seconds[0], one.seconds[-1]
                line = f"{tube.id:>4}  {tube.label:<16} {tube.score:>5.2f}  {start:>8.2f}s  {end:>8.2f}s"
                print(f"{line}  {tube.first_frame}-{tube.end_frame - 1}", flush=True)

    live = config.live
    check_live(config)
    with ExitStack() as stack:
        reader = LiveReader(
            item.path,
            buffer_frames=live.buffer_frames,
            max_frames=options.max_frames,
            max_reconnects=live.max_reconnects,
            first_wait=live.first_wait,
            tell=tell,
        )
        show = None
        if options.where != "none":
            where = LiveShow(item.name, where=options.where, host=options.host, port=options.port, tell=tell)
            show = stack.enter_context(where)
        stop = stack.enter_context(StopSignals())
        if not options.as_json:
            print(f"{'tube':>4}  {'action':<16} {'score':>5}  {'from':>9}  {'to':>9}  frames", flush=True)
        outcome = watch(
            reader,
            item.name,
            proposer,
            scorers,
            config,
            output=output,
            annotated=output / f"{item.name}.annotated.mp4" if options.write_video else None,
            show=show,
            labels=labels,
            may_drop_streams=options.may_drop_streams,
            until=stop.asked,
            on_ended=print_ended,
            tell=tell,
        )
    size = (outcome.decoded, reader.full_width, reader.full_height, float(outcome.facts["source_fps"]))
    done = DoneVideo(item, [], *size, outcome.timings, [])
    record = run_record([done], {}, scorers=scorers, proposals=proposals, config=config, picked=picked)
    (video,) = record["videos"]
    del video["tubes"]  # there may be any number; the table has them
    ended_by = stop.reason or ("lost" if outcome.failure else "end of the source")
    video |= {"num_tubes": outcome.num_tubes, "live": outcome.facts | {"ended_by": ended_by}}
    with replace_when_whole(output / "run.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.as_json:
        print(json.dumps(record, indent=1))
    _print_account(outcome, output)
    if outcome.failure:
        print(f"error: {outcome.failure}; what was seen until then is in {output}", file=sys.stderr)
        return 2
    return 0


def _print_account(outcome: LiveOutcome, output: Path) -> None:
    """How it went, on standard error."""
    facts = outcome.facts
    latency = facts["latency_seconds"]
    said = "nothing was shown"
    if latency["median"] is not None:
        said = f"latency {latency['median']:.2f} s (95 %: {latency['p95']:.2f} s, most: {latency['max']:.2f} s)"
    print(
        f"{facts['decoded']} pictures in {facts['seconds']:.0f} s: {facts['looked_at']} looked at "
        f"({facts['frames_per_second']:.1f} a second), {facts['dropped']} dropped, {facts['skipped']} skipped; "
        f"{said}; {outcome.num_tubes} tubes",
        file=sys.stderr,
    )
    print(f"results are in {output}", file=sys.stderr)
