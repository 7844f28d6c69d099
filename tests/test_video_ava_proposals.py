"""Person boxes by key frame: the pickles that go with AVA."""

from pathlib import Path

import numpy as np
import pytest

from video.ava_proposals import ProposalError, is_ava_proposals, parse_ava_proposals

ROWS = np.float64([[0.25, 0.5, 0.75, 1.0, 0.9], [0, 0, 0.5, 0.5, 0.8]])
HERE = Path("a.pkl")


def test_boxes_stay_fractions_unless_a_size_is_given() -> None:
    data = {"a,b,0902": ROWS, "c,0903": ROWS[:1, :4], "c,0904": ROWS[:0]}
    assert is_ava_proposals(data)
    table = parse_ava_proposals(data, HERE)
    assert table["video"].tolist() == ["a,b", "a,b", "c"], "the last comma counts"
    assert table["frame"].tolist() == [902, 902, 903]
    assert table[["x1", "y1", "x2", "y2"]].to_numpy()[0].tolist() == [0.25, 0.5, 0.75, 1.0]
    assert table["score"].tolist() == pytest.approx([0.9, 0.8, 1])
    assert table["tube"].isna().all()
    assert (table["label"] == "").all()
    pixels = parse_ava_proposals(data, HERE, size=(400, 200))
    assert pixels[["x1", "y1", "x2", "y2"]].to_numpy()[0].tolist() == [100, 100, 300, 200]
    assert pixels.attrs["videos"]["c"] == {"width": 400, "height": 200}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({"a": ROWS}, "no proposals"),
        ({}, "no proposals"),
        ({"a,1": ROWS, "b": ROWS}, "'b': expected a video"),
        ({"a,1": ROWS, "../b,1": ROWS}, "expected a video"),
        ({"a,1": ROWS, "a,-1": ROWS}, "expected a video"),
        ({"a,1": ROWS[0]}, "rows of x1"),
        ({"a,1": ROWS * 100}, "fractions"),
        ({"a,1": ROWS * [1, 1, 1, 1, np.nan]}, "score"),
        ({"a,1": ROWS * [1, 1, np.nan, 1, 1]}, "fractions"),
        ({"a,1": ROWS[:, [2, 1, 0, 3, 4]]}, "box 0 has no area"),
    ],
)
def test_other_data_is_refused(data: dict, text: str) -> None:
    with pytest.raises(ProposalError, match=text) as caught:
        parse_ava_proposals(data, HERE)
    assert str(caught.value).startswith("a.pkl: ")


def test_no_boxes_at_all() -> None:
    assert len(parse_ava_proposals({"a,1": ROWS[:0]}, HERE)) == 0
