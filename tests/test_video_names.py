"""Names of videos become paths; what leads out of a folder is refused."""

import pytest

from video.names import is_video_name


@pytest.mark.parametrize("name", ["a", "wave/Goal_1_@_2 (ü)", "OhNOES!__those_fukin_knots!.x", "a/b/c", "..a"])
def test_names_of_real_kinds(name: str) -> None:
    assert is_video_name(name)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", "a\\b", "a\nb", "a\x00", "\ud800", "x" * 513, 7]
)
def test_what_is_no_name(name: object) -> None:
    assert not is_video_name(name)
