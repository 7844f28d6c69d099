"""Settings of live input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LiveConfig:
    """How much is done of a camera or stream, and what is kept of it."""

    frame_stride: int | None = None
    """Every so many pictures one is looked at; none: so that about 30 a second are, the pace of the training videos."""
    adapt: bool = True
    """Do less where the networks are slower than the source (``detection.live_effort``); no: the buffer drops."""
    buffer_frames: int = 16
    """Pictures that may wait for the networks; the oldest is dropped when one more comes. The frames of a clip: where
    the networks are too slow, runs of so many are what they get. With a stride, as many fewer."""
    longest_hole: float = 0.5
    """Seconds without a picture across which clips and tubes go on; after more they begin anew."""
    max_tube_frames: int = 1500
    """A tube is handed out after so many pictures and its actor begins a new one: bounds memory. Counts unless
    ``online.max_frames`` says something else."""
    show_score: float = 0.1
    """Tubes that score lower are not drawn and not listed on the page."""
    max_reconnects: int = 10
    """Attempts to connect again after a stream broke off; 0: its end is the end."""
    first_wait: float = 1.0
    """Seconds before the first attempt; doubled for each further one, up to 30."""

    def __post_init__(self) -> None:
        least = {"buffer_frames": 2, "max_tube_frames": 50, "max_reconnects": 0, "frame_stride": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise ValueError(f"{name} must be {low} or more, got {value}")
        for name in ("longest_hole", "first_wait", "show_score"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
