"""A zero explains itself: each known mistake is made on purpose and must be named."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from eval.explain import diagnose, diagnose_boxes
from linking.records import Tube, VideoAnnotation
from linking.tables import table_from_annotations


def made_up(seed: int = 0, videos: int = 12) -> list[VideoAnnotation]:
    """Moving actors in 320 x 240; the label goes with the video."""
    rng = np.random.default_rng(seed)
    result = []
    for v in range(videos):
        tubes = []
        for i in range(2):
            first, n = int(rng.integers(5, 15)), int(rng.integers(8, 15))
            corner = rng.uniform((120, 20), (200, 120)) + np.cumsum(rng.normal(0, 2, (n, 2)), axis=0)
            boxes = np.concatenate([corner, corner + rng.uniform(20, 60, 2)], axis=1)
            label = ("run", "jump", "swim")[v % 3]
            tubes.append(Tube(label, np.arange(first, first + n), boxes, None, float(rng.random()), i))
        result.append(VideoAnnotation(f"class/v_{v:02d}", tubes, 40, 320, 240))
    return result


def each(change: Callable[[Tube], Tube]) -> list[VideoAnnotation]:
    """The detections: the truth with ``change`` made to every tube, of unknown size."""
    return [replace(a, tubes=[change(t) for t in a.tubes], width=None, height=None) for a in made_up()]


def boxes(change: Callable[[np.ndarray], np.ndarray]) -> list[VideoAnnotation]:
    return each(lambda tube: replace(tube, boxes=change(tube.boxes)))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(boxes(lambda b: b[:, [1, 0, 3, 2]]), "x and y of the detections swapped", id="x and y swapped"),
        pytest.param(
            boxes(lambda b: b * np.float32([2, 1.5, 2, 1.5])), "scaled by 0.5 in x and 0.6667 in y", id="size"
        ),
        pytest.param(
            boxes(lambda b: b / np.float32([320, 240, 320, 240])),
            "multiplied by the size of the video, 320 x 240",
            id="0 to 1",
        ),
        pytest.param(each(lambda t: replace(t, frames=t.frames + 1)), "one frame earlier", id="frames from 1"),
        pytest.param(each(lambda t: replace(t, frames=t.frames - 1)), "one frame later", id="a frame early"),
        pytest.param(
            each(lambda t: replace(t, frames=t.frames + 100)), "the frames do not meet: 5..", id="far in time"
        ),
        pytest.param(
            each(lambda t: replace(t, label=t.label.upper())), "agree without regard to capitals", id="labels"
        ),
        pytest.param(each(lambda t: replace(t, label="2")), "are numbers, not names", id="numbers for labels"),
        pytest.param(
            each(lambda t: replace(t, label={"run": "jump", "jump": "swim", "swim": "run"}[t.label])),
            "the boxes are right and the labels wrong: 8 of 8 tubes of",
            id="labels permuted",
        ),
        pytest.param([], "there is not a single detection", id="nothing"),
        pytest.param(
            [replace(a, video=a.video + ".avi") for a in made_up()],
            "12 of 12 videos with detections have names that the ground truth does not know: "
            "'class/v_00.avi' and 'class/v_00' agree without suffix",
            id="names",
        ),
    ],
)
def test_a_mistake_is_named(found: list[VideoAnnotation], said: str) -> None:
    diagnosis = diagnose(made_up(), found)
    assert said in diagnosis.verdict
    assert diagnosis.suspicious
    assert diagnosis.verdict in diagnosis.text()


def near_the_corner(as_width_and_height: bool) -> list[VideoAnnotation]:
    """Boxes larger than their distance from the corner of the picture: read wrongly they are boxes still."""

    def change(tube: Tube) -> Tube:
        corner = tube.boxes[:, :2] * np.float32(0.1)
        size = tube.boxes[:, 2:] - tube.boxes[:, :2] + np.float32(20)
        return replace(tube, boxes=np.concatenate([corner, size if as_width_and_height else corner + size], axis=1))

    return each(change)


def test_width_and_height_read_as_the_other_corner_are_named() -> None:
    right, wrong = near_the_corner(False), near_the_corner(True)
    assert "with the detections read as x, y, width, height" in diagnose(right, wrong).verdict
    assert "with the ground truth read as x, y, width, height" in diagnose(wrong, right).verdict


def test_a_shift_of_one_frame_is_named_although_it_costs_little() -> None:
    def still(tube: Tube, later: int) -> Tube:
        return replace(tube, frames=np.arange(later, later + 30), boxes=np.tile(tube.boxes[:1], (30, 1)), scores=None)

    diagnosis = diagnose(each(lambda t: still(t, 0)), each(lambda t: still(t, 1)))
    assert diagnosis.overlap["as it stands"] == pytest.approx(29 / 31)
    assert "one frame earlier, 100 % of the true tubes overlap more" in diagnosis.verdict


def whole(change: Callable[[np.ndarray], np.ndarray] = lambda b: b) -> list[VideoAnnotation]:
    """Boxes of whole pixels."""
    return boxes(lambda b: change(np.floor(b)))


def test_a_last_pixel_for_a_corner_is_named_on_either_side() -> None:
    last_pixel = whole(lambda b: b - np.float32([0, 0, 1, 1]))
    diagnosis = diagnose(whole(), last_pixel)
    assert diagnosis.verdict == (
        "with x2 and y2 of the detections one pixel further, 100 % of the true tubes overlap more."
        " Do x2 and y2 name the last pixel?"
    )
    assert "with x2 and y2 of the ground truth one pixel further, 100 %" in diagnose(last_pixel, whole()).verdict
    assert not diagnose(last_pixel, last_pixel).suspicious
    rng = np.random.default_rng(0)
    rounded = boxes(lambda b: np.round(b + rng.normal(0, 2, b.shape)))
    assert not diagnose(whole(), rounded).suspicious


@pytest.mark.parametrize("lengths_known", [True, False])
def test_another_frame_rate_is_named(lengths_known: bool) -> None:
    def halved(tube: Tube) -> Tube:
        frames, rows = np.unique(tube.frames // 2, return_index=True)
        return Tube(tube.label, frames, tube.boxes[rows], None, tube.score, tube.id)

    found = [replace(a, num_frames=20 if lengths_known else None) for a in each(halved)]
    diagnosis = diagnose(made_up(), found)
    assert "with the frame numbers of the detections times 2, they overlap" in diagnosis.verdict
    assert diagnosis.verdict.endswith("Is that another frame rate?")


def test_scores_that_count_backwards_are_named() -> None:
    def with_false_ones(true_score: float, false_score: float) -> list[VideoAnnotation]:
        return [
            replace(a, tubes=[
                *(replace(t, score=true_score + 0.01 * t.id) for t in a.tubes),
                *(replace(t, boxes=t.boxes - np.float32(100), score=false_score, id=t.id + 9) for t in a.tubes),
            ])
            for a in made_up()
        ]  # fmt: skip

    assert not diagnose(made_up(), with_false_ones(0.8, 0.2)).suspicious
    diagnosis = diagnose(made_up(), with_false_ones(0.2, 0.8))
    assert diagnosis.verdict == (
        "detections on true tubes score lower than those on none in 100 % of pairs. Is a low score the better one?"
    )
    assert diagnosis.suspicious
    # equal scores are in order in half of the pairs
    assert not diagnose(made_up(), with_false_ones(0.5, 0.505)).suspicious


def test_noisy_but_honest_detections_are_not_suspected() -> None:
    rng = np.random.default_rng(1)

    def noisy(tube: Tube) -> Tube:
        first = max(0, int(tube.frames[0] + rng.integers(-2, 3)))
        shaken = tube.boxes + rng.normal(0, 4, 4).astype(np.float32)
        return replace(tube, frames=np.arange(first, first + len(tube)), boxes=shaken)

    diagnosis = diagnose(made_up(), each(noisy))
    assert not diagnosis.suspicious
    assert "nothing looks mistaken" in diagnosis.verdict


def test_detections_elsewhere_are_a_matter_of_quality() -> None:
    rng = np.random.default_rng(2)
    elsewhere = boxes(lambda b: np.tile(np.float32(np.append(c := rng.uniform(0, 40, 2), c + 20)), (len(b), 1)))
    diagnosis = diagnose(made_up(), elsewhere)
    assert not diagnosis.suspicious
    assert "lie elsewhere" in diagnosis.verdict


def test_the_text_has_names_ranges_and_overlaps() -> None:
    text = diagnose(made_up(), each(lambda t: t)).text()
    assert "videos: 12 in common, 0 only in the ground truth, 0 only in the detections" in text
    assert "frames: 5.." in text
    assert "1.000 with any label, as it stands" in text
    assert "mean: 1.000 with the right label" in text


def test_a_reading_that_makes_no_boxes_is_passed_over() -> None:
    """Scaled from millions of pixels down to the unit square, a box of one pixel has no width left."""
    tiny = boxes(lambda b: np.float32([0.5, 0.5, 0.6, 0.6]) + 0 * b)
    huge = boxes(lambda b: np.float32([2**24, 2**24, 2**24 + 2, 2**24 + 2]) + 0 * b)
    assert "lie elsewhere" in diagnose(tiny, huge).verdict


def test_shares_of_the_picture_are_recognised_in_a_single_tube() -> None:
    truth, found = made_up()[:1], boxes(lambda b: b / np.float32([320, 240, 320, 240]))[:1]
    one = [replace(a, tubes=a.tubes[:1]) for a in found]
    assert "multiplied by the size of the video, 320 x 240" in diagnose(truth, one).verdict


def test_no_scale_is_guessed_from_a_single_tube() -> None:
    lone = [replace(made_up()[0], tubes=made_up()[0].tubes[:1], width=None, height=None)]
    elsewhere = [replace(a, tubes=[replace(t, boxes=t.boxes * np.float32(0.3)) for t in a.tubes]) for a in lone]
    assert "lie elsewhere" in diagnose(lone, elsewhere).verdict


@pytest.mark.parametrize(
    ("found", "said"),
    [
        pytest.param(each(lambda t: t), "nothing looks mistaken; true boxes are overlapped by 1.00", id="right"),
        pytest.param(boxes(lambda b: b[:, [1, 0, 3, 2]]), "x and y of the detections swapped", id="x and y swapped"),
        pytest.param(each(lambda t: replace(t, frames=t.frames + 1)), "the detections one frame earlier", id="frames"),
        pytest.param(each(lambda t: replace(t, label="2")), "are numbers, not names", id="numbers for labels"),
        pytest.param(
            each(lambda t: replace(t, frames=t.frames + 100)), "the frames do not meet: 5..", id="far in time"
        ),
        pytest.param([replace(a, video=a.video + ".avi") for a in made_up()], "agree without suffix", id="names"),
        pytest.param([], "there is not a single detection", id="nothing"),
    ],
)
def test_boxes_that_belong_to_no_tube_are_diagnosed_too(found: list[VideoAnnotation], said: str) -> None:
    assert said in diagnose_boxes(made_up(), table_from_annotations(found)).verdict
