"""One video to action tubes: the whole way, from a name to tubes and everything worth keeping beside them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np

from detection.live_settings import LiveConfig
from detection.pipeline import PipelineConfig, Timings, score_video
from detection.proposals import ProposalConfig, Proposer, TableProposer, read_table_once
from detection.scorer import LoadedScorer
from linking.build import SelectConfig, TrimLabels, build_tubes
from linking.given import label_tubes
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Tube
from linking.scores import ScoredVideo
from linking.tables import annotations_from_table
from linking.trim import TrimConfig
from video.frames import VideoSource, open_video
from video.writing import VideoWriter

_ASSETS = Path(__file__).resolve().parents[1] / "assets"
BUNDLED_SCORERS = {"rgb": _ASSETS / "scorer-small.safetensors", "flow": _ASSETS / "scorer-small-flow.safetensors"}
"""By stream."""
DEFAULT_STREAMS = "rgb,flow"


@dataclass(frozen=True)
class DetectConfig:
    """Settings of every stage."""

    pipeline: PipelineConfig = field(default_factory=PipelineConfig)
    proposals: ProposalConfig = field(default_factory=ProposalConfig)
    link: LinkConfig = field(default_factory=LinkConfig)
    trim: TrimConfig = field(default_factory=TrimConfig)
    trimmed: bool = True
    """False hands out paths as they were linked; see ``whole_clip`` for clips that are cut to the action already."""
    whole_clip: bool = False
    """See ``linking.build.TubeConfig``."""
    select: SelectConfig = field(default_factory=lambda: SelectConfig(min_score=0.1))
    linker: Literal["offline", "online"] = "offline"
    """offline looks at the whole video (settings ``link``), online frame by frame (settings ``online``); live input is
    always linked online."""
    online: OnlineConfig = field(default_factory=OnlineConfig)
    trim_labels: TrimLabels = "own"
    """See ``linking.build.TubeConfig``."""
    live: LiveConfig = field(default_factory=LiveConfig)
    """Of cameras and streams."""

    @property
    def linking(self) -> LinkConfig | OnlineConfig:
        """The settings of the linker in use."""
        return self.online if self.linker == "online" else self.link


@dataclass(frozen=True)
class DetectedVideo:
    """What is known of a video after detection."""

    scored: ScoredVideo
    tubes: list[Tube]
    """Best first."""
    timings: Timings
    warnings: list[str]


def detect_video(
    path: str | os.PathLike[str],
    video: str,
    proposer: Proposer,
    scorers: LoadedScorer | Sequence[LoadedScorer],
    config: DetectConfig,
    *,
    given: Sequence[Tube] | None = None,
    labels: Sequence[str] | None = None,
    recording: Path | None = None,
    on_open: Callable[[VideoSource], None] | None = None,
    on_frame: Callable[[int], None] | None = None,
    until: Callable[[], bool] | None = None,
    max_frames: int | None = None,
) -> DetectedVideo:
    """Decode, propose, score, link and trim one video.

    Args:
        path: anything ``open_video`` takes.
        video: name under which results are kept.
        scorers: one, or one a stream; see ``score_video``.
        given: tubes that were linked elsewhere; they are labelled, not linked again.
        labels: only these classes.
        recording: where to keep what a live source showed, so that it can be annotated afterwards.
        on_open: told the opened source.
        on_frame, until, max_frames: see ``score_video``.
    """
    timings = Timings()
    with ExitStack() as stack:
        source = stack.enter_context(open_video(path))
        if on_open is not None:
            on_open(source)
        frames = source
        if recording is not None:
            writer = VideoWriter(recording, width=source.width, height=source.height, fps=source.fps)
            frames = _Recorded(source, stack.enter_context(writer))
        scored = score_video(
            frames,
            video,
            proposer,
            scorers,
            config.pipeline,
            timings=timings,
            on_frame=on_frame,
            until=until,
            max_frames=max_frames,
        )
        warnings = list(source.warnings)
    started = perf_counter()
    of_labels = scored if labels is None else only_labels(scored, labels)
    if given is not None:
        inside, lost = _cut_to(given, scored.num_frames)
        if lost:
            warnings.append(f"{lost} given boxes lie beyond the last of {scored.num_frames} frames and are left out")
        tubes = label_tubes(inside, of_labels)
    else:
        tubes = build_tubes(
            scored,
            config.linking,
            config.trim if config.trimmed else None,
            config.select,
            trim_labels=config.trim_labels,
            whole_clip=config.whole_clip,
            labels=labels,
        )
    timings.link = perf_counter() - started
    return DetectedVideo(of_labels, tubes, timings, warnings)


def bundled_scorers(streams: str | None = None) -> list[Path]:
    """Files of the bundled scorers of ``streams``, names with commas between them; ValueError for an unknown name."""
    names = [name.strip() for name in (streams or DEFAULT_STREAMS).split(",")]
    unknown = [name for name in names if name not in BUNDLED_SCORERS]
    if unknown or len(set(names)) < len(names):
        raise ValueError(f"streams are {' or '.join(BUNDLED_SCORERS)}, each once, with commas between; got {streams!r}")
    return [BUNDLED_SCORERS[name] for name in names]


def boxes_of_table(path: str | Path, video: str, config: ProposalConfig) -> tuple[TableProposer, list[Tube] | None]:
    """The boxes of a tube table for one video, all of them, and its tubes if its rows say which box is whose."""
    proposer = TableProposer(path, video, replace(config, max_boxes=10_000))
    table = read_table_once(path)
    rows = table[table["video"] == proposer.video]
    if rows["tube"].isna().any() or len(rows) == 0:
        return proposer, None
    if rows["label"].isna().any():
        rows = rows.assign(label=rows["label"].fillna("actor"))
    (annotation,) = annotations_from_table(rows)
    return proposer, list(annotation.tubes)


def only_labels(scored: ScoredVideo, labels: Sequence[str]) -> ScoredVideo:
    """``scored`` with the columns of ``labels`` only; ValueError for a class it does not have."""
    unknown = [label for label in labels if label not in scored.class_names]
    if unknown:
        raise ValueError(f"unknown label {unknown[0]!r}; the weights know {', '.join(scored.class_names)}")
    columns = [scored.class_names.index(label) for label in labels]
    detections = tuple(
        replace(found, class_scores=np.asarray(found.class_scores)[:, columns]) for found in scored.detections
    )
    return replace(scored, class_names=tuple(labels), detections=detections)


def _cut_to(tubes: Sequence[Tube], num_frames: int) -> tuple[list[Tube], int]:
    """Tubes without the boxes at ``num_frames`` and later, and how many boxes that were."""
    kept, lost = [], 0
    for tube in tubes:
        inside = tube.frames < num_frames
        lost += int((~inside).sum())
        if inside.any():
            scores = np.asarray(tube.scores)[inside]
            kept.append(replace(tube, frames=tube.frames[inside], boxes=tube.boxes[inside], scores=scores))
    return kept, lost


class _Recorded(VideoSource):
    """A source whose frames are also written to a file."""

    def __init__(self, source: VideoSource, writer: VideoWriter) -> None:
        super().__init__(source.name)
        self.source, self.writer = source, writer
        self.width, self.height, self.fps, self.is_live = source.width, source.height, source.fps, source.is_live

    def _frames(self) -> Iterator[np.ndarray]:
        for frame in self.source:
            self.writer.write(frame)
            yield frame
