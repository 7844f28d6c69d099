"""Frozen config dataclasses as plain values for JSON headers, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

Config = TypeVar("Config")


def to_plain_values(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, tuples as lists; a config inside a config becomes a dict."""
    return _plain(dataclasses.asdict(config))


def from_plain_values(config_class: type[Config], values: Mapping[str, Any]) -> Config:
    """The way back; ValueError for a key the class does not have, or for one missing that has no default."""
    fields = dataclasses.fields(config_class)  # type: ignore[arg-type]
    unknown = sorted(set(values) - {f.name for f in fields})
    if unknown:
        known = ", ".join(f.name for f in fields)
        raise ValueError(f"unknown option {unknown[0]!r}; {config_class.__name__} has {known}")
    missing = [
        f.name
        for f in fields
        if f.name not in values and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ValueError(f"option {missing[0]!r} of {config_class.__name__} is missing")
    return config_class(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
