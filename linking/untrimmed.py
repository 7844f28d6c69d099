"""The paths that trimmed tubes were cut from, for those who want to see what was cut away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linking.build import SelectConfig, build_tubes
from linking.link import LinkConfig
from linking.online import OnlineConfig
from linking.records import Tube
from linking.scores import ScoredVideo

_EVERY_PATH = SelectConfig(nms_iou=1.0, min_score=0.0, max_tubes=10_000_000)


def untrimmed_paths(tubes: Sequence[Tube], scored: ScoredVideo, link: LinkConfig | OnlineConfig) -> list[Tube]:
    """For each of ``tubes`` the path that ``scored`` is linked to with the settings ``link`` and that holds it whole.

    Linking is repeated, which is exact: a path holds a tube when it has the same label and the same boxes in the
    frames of the tube. Tubes that were cut from one path get the same object, which tells that they show one actor.
    A tube that no path holds (linked with other settings, or given from outside) stands for itself.
    """
    by_label: dict[str, list[Tube]] = {}
    if tubes:
        for path in build_tubes(scored, link, None, _EVERY_PATH):
            by_label.setdefault(path.label, []).append(path)
    return [next((path for path in by_label.get(tube.label, ()) if _holds(path, tube)), tube) for tube in tubes]


def _holds(path: Tube, tube: Tube) -> bool:
    if tube.first_frame < path.first_frame or tube.end_frame > path.end_frame:
        return False
    rows = np.searchsorted(path.frames, tube.frames)
    return np.array_equal(path.frames[rows], tube.frames) and np.array_equal(path.boxes[rows], tube.boxes)
