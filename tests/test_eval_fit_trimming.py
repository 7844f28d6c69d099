"""Trimming fitted to training data: the right value by construction, and what must not be believed."""

import dataclasses

import numpy as np
import pytest

import eval.fit_trimming as fitting
from eval.errors import EvaluationError
from eval.fit_trimming import UNTRIMMED, Trimming, fit_trimming
from eval.trimmed_runs import trimmed_runs
from eval.trimming_file import trimming_file
from eval.video_map import video_map
from linking.build import SelectConfig, TubeConfig
from linking.link import LinkConfig
from linking.records import Detections, Tube, VideoAnnotation
from linking.scores import ScoredVideo
from linking.settings import read_settings, with_settings
from linking.trim import TrimConfig

CLASSES = ("dips", "loud", "easy", "absent")
# the level is that of the 10 best boxes
START = TubeConfig(trim=TrimConfig(alpha=3.0, threshold=0.5, min_frames=8, top_frames=10))
OPTIONS = {"alphas": (0, 3, 4, 8), "thresholds": (0.5, 0.7)}


def scored_and_true(name: str, label: str, scores: list[float], first: int, end: int):
    """A video in which one actor stands still, with ``scores`` for ``label``; the action fills frames first..end-1."""
    column = CLASSES.index(label)
    detections = []
    for t, score in enumerate(scores):
        row = np.zeros((1, len(CLASSES)), np.float32)
        row[0, column] = score
        detections.append(Detections(t, [[10, 10, 50, 90]], [0.9], row))
    scored = ScoredVideo(name, CLASSES, tuple(detections), 320, 240, 25.0)
    frames = np.arange(first, end)
    tube = Tube(label, frames, np.tile(np.float32([10, 10, 50, 90]), (len(frames), 1)))
    return scored, VideoAnnotation(name, [tube], len(scores), 320, 240)


def made_up(count: int = 6):
    """Of each class ``count`` videos in which one trimming is right.

    dips: 0.9 with a dip of 10 frames to 0.1, then 40 frames of background. A box at 0.1 is worth
    2 (0.1 / 0.9 - 0.5) = -0.78, so the dip, 7.8, is bridged from alpha 3.9 on and the background, 31, cut off below
    15.6. loud: 0.9 in the action and 0.54 after it, 0.6 of the level, so only threshold 0.7 cuts. easy: 0.9 in
    the action and 0 elsewhere.
    """
    videos = []
    for k in range(count):
        long = [0.9] * (20 + k)
        videos += [
            scored_and_true(f"d{k}", "dips", [*long, *[0.1] * 10, *long, *[0.1] * 40], 0, 2 * len(long) + 10),
            scored_and_true(f"l{k}", "loud", [*long, *[0.54] * 60], 0, len(long)),
            scored_and_true(f"e{k}", "easy", [*[0.0] * 30, *long, *[0.0] * 30], 30, 30 + len(long)),
        ]
    return videos


def of(fit, label):
    return next(one for one in fit.classes if one.label == label)


def test_each_class_gets_the_value_that_is_right_by_construction() -> None:
    fit = fit_trimming(made_up(), CLASSES, START, **OPTIONS)
    assert of(fit, "dips").chosen == Trimming(4, 0.5)  # the nearest to the default that bridges
    assert of(fit, "loud").chosen == Trimming(3, 0.7)
    for label in ("dips", "loud"):
        assert (of(fit, label).after, of(fit, label).held_out) == (1, 1)
        assert of(fit, label).before < 1
        assert of(fit, label).tubes == 6
    assert (of(fit, "easy").before, of(fit, "easy").is_default) == (1, True)
    assert fit.config.class_alpha == {"dips": 4, "loud": 3}
    assert fit.config.class_threshold == {"dips": 0.5, "loud": 0.7}
    assert dataclasses.replace(fit.config, class_alpha={}, class_threshold={}) == START.trim


def test_a_class_without_ground_truth_keeps_the_default_and_says_so() -> None:
    absent = of(fit_trimming(made_up(), CLASSES, START, **OPTIONS), "absent")
    assert (absent.tubes, absent.chosen, absent.is_default) == (0, Trimming(3, 0.5), True)
    assert absent.remark == "default: no ground truth"
    assert np.isnan(absent.before)


def test_not_trimming_at_all_is_tried_too() -> None:
    # action throughout, at 0.9 and then at 0.1 for longer than any alpha bridges
    videos = [scored_and_true(f"v{k}", "loud", [*[0.9] * 10, *[0.1] * 70], 0, 80) for k in range(5)]
    fit = of(fit_trimming(videos, CLASSES, START, **OPTIONS), "loud")
    assert fit.chosen == UNTRIMMED
    assert (fit.before, fit.after) == (0, 1)  # before, a tube is cut to 10 of 80 frames


def test_the_fitted_values_change_the_tubes_as_promised() -> None:
    videos = made_up()
    fit = fit_trimming(videos, CLASSES, START, **OPTIONS)
    for trim, at in ((START.trim, "before"), (fit.config, "after")):
        config = dataclasses.replace(START, trim=trim)
        found = [VideoAnnotation(scored.video, config.build(scored)) for scored, _ in videos]
        result = video_map([truth for _, truth in videos], found, thresholds=[0.2, 0.5], class_names=CLASSES)
        for label, ap in zip(CLASSES, result.ap.mean(axis=1)):
            if label != "absent":
                assert getattr(of(fit, label), at) == pytest.approx(ap)


def test_values_that_help_only_where_they_were_chosen_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three videos of one source want threshold 0.7, a video each of two others 0.5, two do not care."""
    cut_at = {"a1": 10, "a2": 10, "a3": 10, "b1": 80, "c1": 80}  # 10 of 80 frames is an overlap of 1 / 8
    videos = [scored_and_true(name, "loud", [*[0.9] * 10, *[0.54] * 70], 0, end) for name, end in cut_at.items()]
    videos += [scored_and_true(name, "loud", [0.9] * 80, 0, 80) for name in ("d1", "e1")]
    options = {"alphas": (3,), "thresholds": (0.5, 0.7), "source_of": lambda name: name[0]}
    fit = of(fit_trimming(videos, CLASSES, START, **options), "loud")
    assert fit.is_default
    assert fit.remark == "default: no gain that holds"
    assert fit.held_out == fit.before == fit.after
    monkeypatch.setattr(fitting, "MARGIN", -1.0)
    believed = of(fit_trimming(videos, CLASSES, START, **options), "loud")
    assert believed.chosen == Trimming(3, 0.7)
    assert believed.after > believed.before > believed.held_out


def test_few_sources_keep_the_default_however_many_videos_were_cut_from_them() -> None:
    options = {**OPTIONS, "source_of": lambda name: name[0] + str(int(name[1]) % 3)}
    fit = fit_trimming(made_up(), CLASSES, START, **options)
    assert fit.sources == 9
    assert of(fit, "dips").remark == "default: too few sources"
    assert fit.config == START.trim


def test_the_values_that_a_class_had_before_are_its_default() -> None:
    trim = dataclasses.replace(START.trim, class_alpha={"dips": 8.0}, class_threshold={"absent": 0.0})
    fit = fit_trimming(made_up(), CLASSES, dataclasses.replace(START, trim=trim), **OPTIONS)
    assert (of(fit, "dips").chosen, of(fit, "dips").is_default) == (Trimming(8, 0.5), True)
    assert of(fit, "absent").chosen == UNTRIMMED
    assert fit.config.class_alpha == {"dips": 8, "loud": 3}


def test_the_table_has_a_row_a_class_and_the_mean_of_those_with_ground_truth() -> None:
    table = fit_trimming(made_up(), CLASSES, START, **OPTIONS).table()
    assert table.index.tolist() == [*CLASSES, "mean"]
    assert table.loc["mean", "tubes"] == 18
    assert table.loc["mean", "fitted"] == 100
    assert table.loc["loud"].tolist()[4:] == [3, 0.7, "fitted"]


def test_the_order_of_videos_does_not_matter() -> None:
    videos = made_up(5)
    one, other = (fit_trimming(v, CLASSES, START, **OPTIONS) for v in (videos, videos[::-1]))
    assert one.table().equals(other.table())


@pytest.mark.parametrize(
    ("videos", "config", "options", "message"),
    [
        ([], START, {}, "none of the scored videos has a true tube"),
        (made_up(1), START, {"folds": 1}, "folds must be 2 or more, got 1"),
        (made_up(1), dataclasses.replace(START, trim_labels="all"), {}, "only trimming by a tube's own label"),
    ],
)
def test_what_cannot_be_fitted_is_refused(videos, config, options, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        fit_trimming(videos, CLASSES, config, **options)


def test_any_linker_can_be_fitted_to() -> None:
    fit = fit_trimming(made_up(), CLASSES, dataclasses.replace(START, linker="online"), **OPTIONS)
    assert of(fit, "dips").chosen == Trimming(4, 0.5)


# ---- the file


def test_the_file_holds_the_trimming_and_what_else_is_not_the_default(tmp_path) -> None:
    config = dataclasses.replace(START, link=LinkConfig(max_gap=3))
    fit = fit_trimming(made_up(), CLASSES, config, **OPTIONS)
    path = tmp_path / "trim.toml"
    path.write_text(trimming_file(fit, config, {"scores": "18 files\nmax_gap = 7"}), encoding="utf-8")
    settings = read_settings(path)
    assert settings["link"] == {"max_gap": 3}
    assert settings.keys() == {"link", "trim"}
    assert with_settings(TubeConfig(), settings) == dataclasses.replace(config, trim=fit.config)
    text = path.read_text("utf-8")
    assert "# scores:    18 files?max_gap = 7\n" in text
    assert "# fitted on: 18 videos of 18 sources\n" in text
    assert ["#", "loud", "6", "50.0", "100.0", "100.0", "3", "0.7", "fitted"] in [
        line.split() for line in text.splitlines()
    ]


# ---- runs


@pytest.mark.parametrize("agnostic", [False, True], ids=["class-wise", "class-agnostic"])
@pytest.mark.parametrize("seed", range(3))
def test_every_trimming_gives_the_tubes_that_building_with_it_gives(agnostic: bool, seed: int) -> None:
    """Three actors that come close, scores that wander: overlapping runs, short runs, gaps."""
    rng = np.random.default_rng(seed)
    detections = []
    wander = np.cumsum(rng.normal(0, 0.08, (90, 3, 2)), axis=0)
    for t in range(90):
        x = np.array([10.0, 12 + abs(t - 45) / 4, 30])
        boxes = np.stack([x, 10 + 0 * x, x + 40, 80 + 0 * x], axis=1) + rng.normal(0, 1, (3, 4))
        there = rng.random(3) < 0.9
        scores = np.clip(0.45 + wander[t] + rng.normal(0, 0.1, (3, 2)), 0, 1)
        detections.append(Detections(t, boxes[there], scores.max(axis=1)[there], scores[there]))
    scored = ScoredVideo("v", ("run", "jump"), tuple(detections), 320, 240, 25.0)
    link = LinkConfig(nms_iou=0.9, class_agnostic=agnostic)
    config = TubeConfig(link, TrimConfig(min_frames=3), SelectConfig(nms_iou=0.3, min_score=0.3))
    trimmings = [UNTRIMMED, *(Trimming(alpha, t) for alpha in (0.0, 0.5, 3.0) for t in (0.3, 0.5, 0.7))]
    truth = VideoAnnotation("v", [Tube("run", np.arange(30), np.tile(np.float32([10, 10, 50, 80]), (30, 1)))])
    runs = trimmed_runs(scored, truth, ("run", "jump"), trimmings, config)
    dropped = 0
    for way, trimming in enumerate(trimmings):
        trim = dataclasses.replace(config.trim, alpha=trimming.alpha, threshold=trimming.threshold)
        built = dataclasses.replace(config, trim=trim).build(scored)
        kept = runs.kept[:, way]
        expected = sorted((("run", "jump").index(tube.label), tube.score) for tube in built)
        assert sorted(zip(runs.label[kept].tolist(), runs.score[kept].tolist())) == expected
        dropped += len(dataclasses.replace(config, trim=trim, select=SelectConfig(1.0, 0.3)).build(scored)) - len(built)
    assert dropped > 0  # the selection had something to do


def test_runs_know_their_overlap_with_the_true_tubes_of_their_class() -> None:
    scored, truth = scored_and_true("v", "loud", [0.9] * 20 + [0.1] * 60, 0, 40)
    runs = trimmed_runs(scored, truth, CLASSES, [UNTRIMMED, Trimming(3, 0.5)], START)
    by_way = {tuple(kept.tolist()): overlap for kept, overlap in zip(runs.kept[runs.run], runs.overlap.tolist())}
    assert by_way == {(True, False): 40 / 80, (False, True): 20 / 40}
    assert runs.truth_label.tolist() == [CLASSES.index("loud")]
