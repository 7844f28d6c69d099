"""Which detection claims which ground truth."""

import numpy as np
import pytest

from eval.matching import Pairs, claim


def claimed(
    overlaps: list[list[float]], match: str = "best-free", threshold: float = 0.5, hit: str = ">="
) -> list[int]:
    """The ground truth claimed by each detection; row i of ``overlaps`` is the detection of rank i."""
    table = np.array(overlaps)
    detection, truth = np.nonzero(table)
    pairs = Pairs(detection, truth, table[detection, truth])
    return claim(pairs, np.arange(len(table)), table.shape[1], (threshold,), hit, match)[0].tolist()


def test_a_duplicate_is_false() -> None:
    assert claimed([[0.8], [0.9]]) == [0, -1]


def test_the_best_free_one_is_claimed_although_a_better_one_is_taken() -> None:
    overlaps = [[0.9, 0.6], [0.8, 0.7]]
    assert claimed(overlaps, "best-free") == [0, 1]
    assert claimed(overlaps, "best") == [0, -1]


def test_of_equal_overlaps_the_first_ground_truth_is_claimed() -> None:
    assert claimed([[0.7, 0.7]]) == [0]


def test_displacement_runs_through_a_chain() -> None:
    # 0 takes A; 1 wanted A, takes B; 2 wanted B, takes C; 3 wanted C, finds nothing left
    overlaps = [[0.9, 0, 0], [0.9, 0.8, 0], [0.6, 0.9, 0.7], [0, 0.6, 0.8]]
    assert claimed(overlaps) == [0, 1, 2, -1]


@pytest.mark.parametrize(("hit", "expected"), [(">", -1), (">=", 0)])
def test_an_overlap_equal_to_the_threshold(hit: str, expected: int) -> None:
    assert claimed([[0.5]], hit=hit) == [expected]


def test_every_threshold_is_matched_on_its_own() -> None:
    # at 0.5 both detections pass on A, so the second turns to B; at 0.7 the first no longer passes
    pairs = Pairs(np.array([0, 1, 1]), np.array([0, 0, 1]), np.array([0.6, 0.9, 0.8]))
    rows = claim(pairs, np.arange(2), 2, (0.5, 0.7, 0.95), ">=", "best-free")
    assert rows.tolist() == [[0, 1], [-1, 0], [-1, -1]]


def test_rounds_of_proposals_equal_one_detection_after_the_other() -> None:
    """Against the definition: in order of rank, each takes the best that is free."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        table = rng.choice([0.0, 0.3, 0.55, 0.7, 0.9], (rng.integers(1, 9), rng.integers(1, 6)))
        free, expected = [True] * table.shape[1], []
        for row in table:
            best = max((o if o >= 0.5 and f else 0, -g) for g, (o, f) in enumerate(zip(row, free)))
            expected.append(-best[1] if best[0] else -1)
            if best[0]:
                free[-best[1]] = False
        assert claimed(table.tolist()) == expected
