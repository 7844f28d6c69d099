"""Changing frozen dataclass configs from TOML files and ``key=value`` words; an unknown key is an error."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

Config = TypeVar("Config")


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it and lists what is known."""


def read_settings(path: str | Path | None, assignments: Iterable[str] = ()) -> dict[str, Any]:
    """Settings of a TOML file, then of ``key=value`` words, which win; nested keys are dotted (``a.b=3``)."""
    settings: dict[str, Any] = {}
    if path is not None:
        try:
            settings = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path}: not valid TOML: {error}") from error
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise SettingsError(f"expected key=value, got {assignment!r}")
        *parents, leaf = key.split(".")
        table = settings
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise SettingsError(f"{key!r}: {parent!r} is a value, not a group of settings")
        table[leaf] = _parse(text)
    return settings


def with_settings(config: Config, settings: Mapping[str, Any], *, prefix: str = "") -> Config:
    """A copy of the dataclass ``config`` with ``settings`` applied; nested dataclasses take nested mappings.

    Raises:
        SettingsError: an unknown key, a value of the wrong type, or a value the config itself refuses.
    """
    assert dataclasses.is_dataclass(config)
    assert not isinstance(config, type)
    types = typing.get_type_hints(type(config))
    changes: dict[str, Any] = {}
    for key, value in settings.items():
        if key not in types:
            known = ", ".join(f"{prefix}{name}" for name in types)
            raise SettingsError(f"unknown setting {prefix}{key}; known are {known}")
        current = getattr(config, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise SettingsError(f"{prefix}{key} is a group of settings; set {prefix}{key}.NAME=value")
            changes[key] = with_settings(current, value, prefix=f"{prefix}{key}.")
        else:
            changes[key] = _convert(value, types[key], f"{prefix}{key}")
    try:
        return dataclasses.replace(config, **changes)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{prefix.rstrip('.') or 'settings'}: {error}") from error


def changed_settings(config: Any, default: Any) -> dict[str, Any]:
    """The settings, for ``with_settings``, in which ``config`` differs from ``default``, which is of the same kind."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, other = getattr(config, field.name), getattr(default, field.name)
        if dataclasses.is_dataclass(value):
            if nested := changed_settings(value, other):
                changes[field.name] = nested
        elif value != other:
            changes[field.name] = value
    return changes


def as_toml(settings: Mapping[str, Any]) -> str:
    """TOML text from which ``read_settings`` gives ``settings`` back (tuples as lists, None as the word none)."""
    return "\n".join(_toml_lines(settings, ())) + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in own.items()]
    if path and (lines or not table):
        lines.insert(0, f"[{'.'.join(map(_toml_key, path))}]")
    for key, value in table.items():
        if isinstance(value, Mapping):
            lines += ([""] if lines else []) + _toml_lines(value, (*path, key))
    return lines


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml_value, value))}]"
    # the escapes of JSON are those of TOML, which asks for one more
    return json.dumps("none" if value is None else str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _parse(text: str) -> Any:
    """A word of the command line as TOML reads it; what TOML does not understand is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _convert(value: Any, wanted: Any, name: str) -> Any:
    """``value`` as the annotation ``wanted`` asks for, ints widened to floats and lists to tuples."""
    origin, arguments = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is typing.Literal:
        if value not in arguments:
            raise SettingsError(f"{name} must be one of {', '.join(map(str, arguments))}, got {value!r}")
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(value)
    if arguments and origin is not tuple:  # a union, for example float | None
        if value in (None, "none", "None") and type(None) in arguments:
            return None
        alternatives = [argument for argument in arguments if argument is not type(None)]
        return _convert(value, alternatives[0], name) if len(alternatives) == 1 else value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(wanted, type) and (not isinstance(value, wanted) or (wanted is int and isinstance(value, bool))):
        raise SettingsError(f"{name} must be of type {wanted.__name__}, got {value!r}")
    return value
