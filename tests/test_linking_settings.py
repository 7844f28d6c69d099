import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from linking.settings import SettingsError, as_toml, changed_settings, read_settings, with_settings


@dataclass(frozen=True)
class Inner:
    depth: int = 2
    widths: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    rate: float = 0.1
    mode: Literal["mean", "own"] = "mean"
    limit: float | None = None
    flip: bool = True
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


def test_words_of_the_command_line_win_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("rate = 1\nmode = 'own'\n[inner]\ndepth = 5\n")
    settings = read_settings(path, ["rate=2", "inner.widths=[4, 8]", "limit=0.5"])
    assert with_settings(Outer(), settings) == Outer(2.0, "own", 0.5, True, Inner(5, (4, 8)))


def test_none_and_plain_words_need_no_quotes() -> None:
    changed = with_settings(Outer(limit=1.0), read_settings(None, ["limit=none", "mode=own", "flip=false"]))
    assert changed == Outer(limit=None, mode="own", flip=False)


def test_settings_from_a_record_in_json_are_taken_back() -> None:
    for config in (Outer(), Outer(0.5, "own", 0.25, False, Inner(3, (4,)))):
        assert with_settings(Outer(limit=9.0), json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["speed=1"], "unknown setting speed; known are rate, mode, limit, flip, inner"),
        (["inner.size=1"], "unknown setting inner.size; known are inner.depth, inner.widths"),
        (["inner=3"], "inner is a group of settings"),
        (["mode=median"], "mode must be one of mean, own, got 'median'"),
        (["inner.depth=1.5"], "inner.depth must be of type int, got 1.5"),
        (["inner.depth=true"], "inner.depth must be of type int, got True"),
        (["rate=-1"], "rate must be positive, got -1.0"),
        (["rate"], "expected key=value, got 'rate'"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(words: list[str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        with_settings(Outer(), read_settings(None, words))
    assert message in str(refused.value)


def test_a_file_that_is_missing_or_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"gone\.toml: cannot be read"):
        read_settings(tmp_path / "gone.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(SettingsError, match=r"bad\.toml: not valid TOML"):
        read_settings(tmp_path / "bad.toml")


def test_what_differs_from_the_default_is_written_and_read_again(tmp_path: Path) -> None:
    config = Outer(rate=1e-7, mode="own", limit=0.5, inner=Inner(widths=(4, 8)))
    changes = changed_settings(config, Outer())
    assert changes == {"rate": 1e-7, "mode": "own", "limit": 0.5, "inner": {"widths": (4, 8)}}
    path = tmp_path / "my.toml"
    path.write_text(as_toml(changes), encoding="utf-8")
    assert with_settings(Outer(), read_settings(path)) == config
    assert changed_settings(Outer(), Outer()) == {}
    path.write_text(as_toml(changed_settings(Outer(), config)), encoding="utf-8")  # back again, None included
    assert with_settings(config, read_settings(path)) == Outer()


def test_any_text_and_number_survives_toml(tmp_path: Path) -> None:
    awkward = ["a.b", "", 'quote " and \\', "line\nbreak", "\x00\x7f\u2028", "Grüße 🤸", "plain-key_1"]
    settings = {
        "group": {"empty": {}, "labels": {text: number for number, text in enumerate(awkward)}},
        "texts": awkward,
        "numbers": [float("inf"), 1e300, -0.5, 10**14, True],
    }
    path = tmp_path / "my.toml"
    path.write_text(as_toml(settings), encoding="utf-8")
    assert read_settings(path) == settings
