"""Overlap thresholds and ranges."""

import numpy as np
import pytest

from eval.errors import EvaluationError
from eval.thresholds import parse_ious


def test_a_number_and_its_text_are_one_column() -> None:
    assert parse_ious([0.5]).columns == parse_ious(["0.5"]).columns == parse_ious(["0.50"]).columns == {"0.5": (0,)}


def test_a_range_has_steps_of_5_percent_and_shares_thresholds_with_single_columns() -> None:
    ious = parse_ious(["0.5", "0.75", "0.5:0.95"])
    assert ious.values == (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
    assert ious.columns == {"0.5": (0,), "0.75": (5,), "0.5:0.95": tuple(range(10))}


def test_a_range_may_name_its_step() -> None:
    ious = parse_ious(["0.1:0.9:0.1"])
    assert ious.values == (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    assert list(ious.columns) == ["0.1:0.9:0.1"]


def test_a_range_column_is_the_mean_over_its_thresholds() -> None:
    ious = parse_ious(["0.5:0.6", "0.6"])
    values = np.array([[0.9, 0.6, 0.3]])  # at 0.5, 0.55, 0.6
    np.testing.assert_allclose(ious.reduce(values), [[(0.9 + 0.6 + 0.3) / 3, 0.3]])


@pytest.mark.parametrize("bad", ["half", "0", "-0.5", "1.5", "0.5:", "0.9:0.5", "0.1:0.2:0.3:0.4", "nan"])
def test_what_is_no_threshold_is_refused(bad: str) -> None:
    with pytest.raises(EvaluationError, match="IoU"):
        parse_ious([bad])


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(EvaluationError, match="no IoU threshold"):
        parse_ious([])
