"""Late fusion: means, weights found on labelled videos, and files that do not belong together."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eval.class_scores import ClassScores
from eval.errors import EvaluationError
from recognition.fusion import FusionWeights, align, fit_weights, fuse, read_weights, softmax, write_weights


def scores(rows: list[list[float]], labels: str = "") -> ClassScores:
    names = tuple(f"v{k}" for k in range(len(rows)))
    return ClassScores(tuple("abc")[: len(rows[0])], names, tuple(labels) or ("",) * len(rows), np.array(rows))


RGB = scores([[0.8, 0.2], [0.4, 0.6]], "ab")
FLOW = scores([[0.2, 0.8], [0.1, 0.9]])


def test_without_weights_it_is_the_mean() -> None:
    fused = fuse([RGB, FLOW])
    np.testing.assert_allclose(fused.scores, [[0.5, 0.5], [0.25, 0.75]])
    assert fused.labels == ("a", "b")
    assert fused.about["weights"] == [0.5, 0.5]


def test_weights_need_not_add_up_to_one() -> None:
    np.testing.assert_allclose(fuse([RGB, FLOW], (3, 1)).scores[0], [0.65, 0.35])
    np.testing.assert_array_equal(fuse([RGB, FLOW], (2, 0)).scores, RGB.scores)
    np.testing.assert_array_equal(fuse([RGB]).scores, RGB.scores)


def test_videos_and_classes_may_stand_in_another_order() -> None:
    turned = ClassScores(("b", "a"), FLOW.videos[::-1], FLOW.labels, FLOW.scores[::-1, ::-1])
    np.testing.assert_array_equal(fuse([RGB, turned]).scores, fuse([RGB, FLOW]).scores)
    assert align([turned, RGB])[0].labels == ("b", "a")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(FLOW, videos=("v0", "v9")), "file 2 has other videos than the first: 'v1'"),
        (replace(FLOW, class_names=("a", "c")), "file 2 has other classes than the first: 'b'"),
        (replace(FLOW, labels=("b", "")), "video 'v0' is 'a' in one file and 'b' in another"),
    ],
)
def test_files_that_do_not_belong_together_are_refused(other: ClassScores, told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        fuse([RGB, other])


def test_wrong_weights_are_refused() -> None:
    with pytest.raises(EvaluationError, match="3 weights for 2 files"):
        fuse([RGB, FLOW], (1, 1, 1))
    for wrong in ((), (0, 0), (-1, 2), (np.nan, 1)):
        with pytest.raises(ValueError, match="not all 0"):
            FusionWeights(wrong)
    with pytest.raises(EvaluationError, match="nothing to fuse"):
        fuse([])


def test_logits_become_probabilities() -> None:
    logits = scores([[np.log(3), 0.0], [1000.0, 0.0]])
    np.testing.assert_allclose(softmax(logits).scores, [[0.75, 0.25], [1, 0]], atol=1e-6)


def test_the_likeliest_weights_are_the_maximum_of_the_likelihood() -> None:
    # One stream gives its label 0.9 or 0.2, the other 0.3 or 0.8, three videos of the first kind to one.
    one = scores([[0.9, 0.1]] * 3 + [[0.2, 0.8]], "aaaa")
    other = scores([[0.3, 0.7]] * 3 + [[0.8, 0.2]])
    shares = np.linspace(0, 1, 100001)
    likelihood = 3 * np.log(0.9 * shares + 0.3 * (1 - shares)) + np.log(0.2 * shares + 0.8 * (1 - shares))
    fitted = fit_weights([one, other])
    assert fitted.weights[0] == pytest.approx(shares[likelihood.argmax()], abs=1e-4)
    assert sum(fitted.weights) == pytest.approx(1)
    assert fitted.about["videos"] == 4  # type: ignore[index]


def test_a_stream_that_knows_nothing_gets_no_weight() -> None:
    good = scores([[0.9, 0.1], [0.1, 0.9]], "ab")
    noise = scores([[0.1, 0.9], [0.9, 0.1]])
    for criterion in ("likelihood", "accuracy"):
        fitted = fit_weights([noise, good], criterion)  # type: ignore[arg-type]
        assert fitted.weights == pytest.approx((0, 1), abs=1e-6)


def test_the_most_accurate_weights_name_as_many_right_as_any_on_the_grid() -> None:
    rng = np.random.default_rng(0)
    labels = "".join(rng.choice(list("abc"), 60))
    targets = np.array(["abc".index(label) for label in labels])

    def stream(strength: float) -> ClassScores:
        logits = rng.normal(size=(60, 3))
        logits[np.arange(60), targets] += strength
        return softmax(scores(logits.tolist(), labels))

    three = [stream(1.0), stream(0.7), stream(0.3)]
    fitted = fit_weights(three, "accuracy")
    best = max(
        (fuse(three, (i, j, 20 - i - j)).scores.argmax(axis=1) == targets).mean()
        for i in range(21)
        for j in range(21 - i)
    )
    assert fitted.about["top1"] == pytest.approx(best)  # type: ignore[index]
    assert fitted.about["top1"] >= fitted.about["top1_equal_weights"]  # type: ignore[index]
    four = fit_weights([*three, stream(0.5)], "accuracy")
    assert four.about["top1"] >= four.about["top1_equal_weights"]  # type: ignore[index]


def test_weights_are_fitted_to_labelled_probabilities_only() -> None:
    with pytest.raises(EvaluationError, match="no video has a label"):
        fit_weights([FLOW, FLOW])
    with pytest.raises(EvaluationError, match="turn logits into them with --softmax"):
        fit_weights([scores([[3.0, -1.0]], "a")] * 2)
    with pytest.raises(EvaluationError, match="among the classes"):
        fit_weights([scores([[0.5, 0.5]], "z")])


def test_weights_are_kept_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    fitted = fit_weights([RGB, FLOW])
    write_weights(path, fitted)
    assert read_weights(path) == fitted
    path.write_text('{"weights": [1]}')
    with pytest.raises(EvaluationError, match=r"weights\.json: not a file of fusion weights"):
        read_weights(path)
    with pytest.raises(EvaluationError, match="cannot be read"):
        read_weights(tmp_path / "gone.json")
