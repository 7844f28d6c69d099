"""The one error of this package: input that cannot be judged."""


class EvaluationError(ValueError):
    """Ground truth and detections that cannot be compared as they are; the message says what to do."""
