from itertools import combinations

import numpy as np
import pytest

from linking.colours import PALETTE, VERDICTS, text_colour, tube_colour

# Viénot, Brettel and Mollon 1999: what remains of a colour (linear RGB) for eyes without red or green cones
WITHOUT_RED = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
WITHOUT_GREEN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


def seen(colour: tuple[int, int, int], eyes: np.ndarray) -> np.ndarray:
    return 255 * np.clip(eyes @ (np.array(colour) / 255) ** 2.2, 0, 1) ** (1 / 2.2)


def test_a_tube_keeps_its_colour_and_neighbours_differ() -> None:
    assert [tube_colour(k) for k in range(10)] == list(PALETTE)
    assert tube_colour(10) == tube_colour(0)


@pytest.mark.parametrize(
    "eyes", [np.eye(3), WITHOUT_RED, WITHOUT_GREEN], ids=["all cones", "no red", "no green"]
)
def test_the_first_colours_differ_for_all_kinds_of_colour_vision(eyes: np.ndarray) -> None:
    for a, b in combinations(PALETTE[:7], 2):
        assert np.linalg.norm(seen(a, eyes) - seen(b, eyes)) > 25, (a, b)


@pytest.mark.parametrize("eyes", [np.eye(3), WITHOUT_RED, WITHOUT_GREEN], ids=["all cones", "no red", "no green"])
def test_verdicts_differ_for_all_kinds_of_colour_vision(eyes: np.ndarray) -> None:
    for a, b in combinations(VERDICTS, 2):
        assert np.linalg.norm(seen(VERDICTS[a], eyes) - seen(VERDICTS[b], eyes)) > 25, (a, b)


@pytest.mark.parametrize("colour", [*PALETTE, *VERDICTS.values(), (0, 0, 0), (255, 255, 255)])
def test_letters_stand_out_from_their_plate(colour: tuple[int, int, int]) -> None:
    def luminance(
        value: tuple[int, int, int],
    ) -> float:  # WCAG 2 relative luminance, with its gamma simplified
        return float(np.dot([0.2126, 0.7152, 0.0722], (np.array(value) / 255) ** 2.2))

    light, dark = sorted((luminance(colour), luminance(text_colour(colour))), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5, "the contrast that WCAG asks for text"
