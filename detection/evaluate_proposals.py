"""How many of the annotated actors does a source of boxes find? The same question to every source."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from detection.actor_frames import actors_by_frame
from detection.motion import frames_around, motion_stack
from detection.proposals import Proposer
from detection.train_proposals import proposal_quality, spread
from detection.two_streams import TwoStreamProposer
from linking.records import Detections
from video.clips import ClipReader
from video.datasets import LabelledVideo, resized_annotation
from video.flow import FlowReader


@dataclass(frozen=True)
class JudgedFrames:
    """Boxes found and actors annotated in the same frames."""

    found: list[tuple[np.ndarray, np.ndarray]]
    """Boxes (n, 4), best first, and scores (n,) of each frame."""
    actors: list[np.ndarray]
    """(m, 4) of each frame, in pixels of the video as the boxes are."""

    def quality(self, iou: float, boxes_per_frame: Sequence[int] = (1, 10, 100)) -> dict[str, float]:
        """See :func:`~detection.train_proposals.proposal_quality`."""
        return proposal_quality(self.found, self.actors, iou=iou, boxes_per_frame=boxes_per_frame)


def judge_frames(videos: Iterable[LabelledVideo], proposer: Proposer, *, frames_per_video: int = 8) -> JudgedFrames:
    """Boxes of ``proposer`` in up to ``frames_per_video`` annotated frames of each video, evenly spread.

    Flow is computed where the source wants it. VideoError for a video that cannot be read.
    """
    judged = JudgedFrames([], [])
    for video in videos:
        reader = ClipReader(video.path)
        annotation = video.annotation
        if annotation.width is not None:
            annotation = resized_annotation(annotation, reader.width, reader.height)
        actors = actors_by_frame(annotation)
        # an annotation may be longer than its video
        chosen = spread([frame for frame in sorted(actors) if frame < reader.num_frames], frames_per_video)
        for found in _propose(video, reader, proposer, chosen):
            judged.found.append((found.boxes, found.scores))
            judged.actors.append(actors[found.frame])
    return judged


def _propose(
    video: LabelledVideo, reader: ClipReader, proposer: Proposer, chosen: Sequence[int]
) -> Sequence[Detections]:
    if not chosen:
        return []
    frames = list(reader.read(chosen))
    if not isinstance(proposer, TwoStreamProposer):
        return proposer.propose(frames, chosen)
    around = [frames_around(frame, proposer.flow_frames, 0, reader.num_frames - 1) for frame in chosen]
    wanted = sorted({frame for frames in around for frame in frames})
    flow = dict(zip(wanted, FlowReader(video.path, proposer.flow).read(wanted)))
    return proposer.propose_moving(frames, [motion_stack([flow[k] for k in frames]) for frames in around], chosen)
