"""The file of a fitted trimming: settings that tools take with ``--config``, and in comments how they were made."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from eval.fit_trimming import MARGIN, TrimFit
from linking.build import TubeConfig
from linking.settings import as_toml, changed_settings


def trimming_file(fit: TrimFit, config: TubeConfig, made_from: Mapping[str, str]) -> str:
    """TOML text: all settings of the trimming, and those of linking that are not the default ones.

    ``config``: what the fit was made with; ``made_from``: inputs, hashes and versions by name, for the comment.
    """
    fitted = dataclasses.replace(config, trim=fit.config)
    settings: dict[str, Any] = changed_settings(fitted, TubeConfig())
    settings["trim"] = dataclasses.asdict(fit.config)
    about = {
        **made_from,
        "fitted on": f"{fit.videos} videos of {fit.sources} sources",
        "objective": f"AP per class, protocol saha, mean over IoU {', '.join(f'{iou:g}' for iou in fit.ious)}",
        "rule": f"values other than the default must win {100 * MARGIN:g} points of AP on sources they were not chosen "
        f"on, {fit.folds} folds",
        "held out": "AP of videos trimmed with what the same rule chooses without their fold",
    }
    width = max(map(len, about)) + 2
    lines = [
        "Trimming fitted to the videos named here, by tools/link_tubes.py --fit-trimming; use it with --config.",
        "These must be training videos: fitted to the videos of a test, it makes the test worthless.",
        "",
        *(f"{name + ':':{width}}{text}" for name, text in about.items()),
        "",
        *table_text(fit).splitlines(),
    ]
    comment = "\n".join(f"# {_one_line(line)}".rstrip() for line in lines)
    return f"{comment}\n\n{as_toml(settings)}"


def table_text(fit: TrimFit) -> str:
    """A line a class, AP in percent."""
    table = fit.table()
    number = dict.fromkeys(("default", "fitted", "held out"), "{:.1f}".format)
    general = dict.fromkeys(("alpha", "threshold"), "{:g}".format)
    return table.to_string(formatters={**number, **general}, na_rep="-", justify="right")


def _one_line(text: str) -> str:
    """``text`` without what would end a comment or is forbidden in one."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
