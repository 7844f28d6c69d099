"""Names on both sides, and how unknown ones could be meant."""

import pandas as pd
import pytest

from eval.inputs import detected_in_table, matching_names, nearest_hint, respelled


@pytest.mark.parametrize(
    ("unknown", "known", "said"),
    [
        (["a.avi", "b.avi"], ["a", "b"], "'a.avi' and 'a' agree without suffix (2 of 2 names do)"),
        (["v_1"], ["Run/v_1"], "'v_1' and 'Run/v_1' agree without folder (1 of 1 names do)"),
        (["x/v_1.mp4"], ["Run/v_1"], "agree without folder and suffix"),
        (["Golf_Swing"], ["GolfSwing"], "agree without regard to capitals, spaces, - and _"),
        (["c"], ["a", "b"], ""),
        (["a.avi", "q.avi", "r.avi"], ["a", "b"], ""),  # less than half
        (["v_1"], ["Run/v_1", "Jump/v_1"], ""),  # either could be meant
        ([], ["a"], ""),
    ],
)
def test_another_spelling_of_unknown_names_is_found(unknown: list[str], known: list[str], said: str) -> None:
    assert said in matching_names(unknown, known)
    assert bool(matching_names(unknown, known)) == bool(said)


def test_only_names_that_can_mean_one_video_alone_are_respelled() -> None:
    assert respelled(["x/a.avi", "x/b.avi"], ["a", "b", "c"])[1] == {"x/a.avi": "a", "x/b.avi": "b"}
    assert respelled(["x/a.avi", "y/a.avi"], ["a"])[1] == {}
    assert respelled(["a"], ["x/a", "y/a"])[1] == {}


def test_the_nearest_name_is_a_hint() -> None:
    assert nearest_hint("runing", ["jump", "running"]) == ", nearest 'running'"
    assert nearest_hint("anything", []) == ""


def test_a_table_counts_boxes_by_label_and_unlabelled_ones_not_at_all() -> None:
    table = pd.DataFrame({"video": ["b", "a", "b"], "label": ["run", "", "run"]})
    detected = detected_in_table(table)
    assert sorted(detected.videos) == ["a", "b"]
    assert dict(detected.labels) == {"run": 2}
