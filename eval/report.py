"""A page about an evaluation: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from eval.breakdown import Breakdown
from eval.curves import as_svg, error_figure, interval_figure, precision_recall, precision_recall_figure
from eval.judge import Judgement, protocols_of, summary_table
from eval.protocols import describe
from eval.results import MapResult
from eval.video_map import TubeVerdicts

_MAX_CURVES = 60
"""Panels of precision and recall: more take seconds to draw and a page to scroll."""


@dataclass(frozen=True, eq=False)
class ReportParts:
    """What the page shows; parts that are None or empty are left out."""

    title: str
    judgements: Sequence[Judgement]
    """By protocol; the first is the one that the details are about."""
    provenance: Mapping[str, Any]
    iou: float = 0.5
    """The overlap that the details are about."""
    verdicts: tuple[MapResult, TubeVerdicts] | None = None
    intervals: pd.DataFrame | None = None
    breakdown: Breakdown | None = None
    ceilings: pd.DataFrame | None = None
    tracking: Mapping[str, pd.Series] = field(default_factory=dict)
    diagnosis: str = ""
    warnings: Sequence[str] = ()
    """What was said besides the warnings of the judgements."""


def html_report(parts: ReportParts) -> str:
    """The page as text. All names from the data are escaped; there is no script in it."""
    sections = [
        ("mAP in percent", _table(summary_table(parts.judgements), 1, last=("spread",))),
        ("Per class", _per_class(parts)),
        (f"Precision and recall at IoU {parts.iou:g}", _curves(parts)),
        (f"Where the points are lost at IoU {parts.iou:g}", _errors(parts)),
        ("How good it could be", "" if parts.ceilings is None else _table(100 * parts.ceilings, 1)),
        ("Tracking", _table(pd.DataFrame(dict(parts.tracking)).T, 3) if parts.tracking else ""),
        ("Videos that went worst", _videos(parts)),
        ("Diagnosis", f"<pre class=lines>{escape(parts.diagnosis)}</pre>" if parts.diagnosis else ""),
        ("Protocols in words", _protocols(parts.judgements)),
        ("Provenance", f"<pre>{escape(json.dumps(parts.provenance, indent=1))}</pre>"),
    ]
    said = [*(text for judgement in parts.judgements for text in judgement.warnings), *parts.warnings]
    warnings = "".join(f"<p class=warning>{escape(text)}</p>" for text in dict.fromkeys(said))
    body = "\n".join(f"<h2>{escape(heading)}</h2>\n{content}" for heading, content in sections if content)
    title = escape(parts.title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{_STYLE}</style>\n'
        f"<h1>{title}</h1>\n{warnings}\n{body}\n</html>\n"
    )


def worst_videos(result: MapResult, verdicts: TubeVerdicts, iou: float) -> pd.DataFrame:
    """A row per video: true tubes, found, missed, false (detections that claim nothing); the worst first."""
    claimed = verdicts.claimed[result.ious.values.index(iou)]
    truth, found = verdicts.ground_truth, verdicts.detections
    videos = len(verdicts.video_names)
    hits = np.bincount(found.video[claimed >= 0], minlength=videos)
    table = pd.DataFrame(
        {
            "true": np.bincount(truth.video, minlength=videos),
            "found": hits,
            "missed": np.bincount(truth.video, minlength=videos) - hits,
            "false": np.bincount(found.video[claimed < 0], minlength=videos),
        },
        index=pd.Index(verdicts.video_names, name="video"),
    )
    return table.sort_values(["missed", "false"], ascending=False, kind="stable")


def _per_class(parts: ReportParts) -> str:
    first = parts.judgements[0]
    pieces = []
    for kind, result in (("Tubes", first.video), ("Boxes", first.frame)):
        if result is not None:
            table = result.table()
            table[list(result.ious.columns)] *= 100
            table = table.rename(columns={"ground_truth": "true", "detections": "detected"})
            pieces.append(f"<h3>{kind}, protocol {escape(result.protocol.name)}</h3>{_table(table, 1, last=('mean',))}")
    column = f"{parts.iou:g}"
    if parts.intervals is not None and column in parts.intervals.columns.get_level_values(0):
        pieces.append(f"<h3>With 95 % confidence over videos, IoU {column}</h3>")
        pieces.append(_figure(interval_figure(parts.intervals[column])))
    return "\n".join(pieces)


def _curves(parts: ReportParts) -> str:
    if parts.verdicts is None:
        return ""
    result, verdicts = parts.verdicts
    ap = dict(zip(result.class_names, result.ap_by_threshold[:, result.ious.values.index(parts.iou)]))
    curves = precision_recall(result, verdicts, parts.iou)
    commonest = np.argsort(-result.num_ground_truth, kind="stable")[:_MAX_CURVES]
    shown = {result.class_names[c]: curves[result.class_names[c]] for c in sorted(commonest.tolist())}
    remark = f"<p>The {_MAX_CURVES} classes with the most tubes.</p>" if len(shown) < len(curves) else ""
    return remark + _figure(precision_recall_figure(shown, ap))


def _errors(parts: ReportParts) -> str:
    if parts.breakdown is None:
        return ""
    figure = _figure(error_figure(parts.breakdown.points))
    return f"{figure}\n<details><summary>Numbers of tubes</summary>{_table(parts.breakdown.counts, 0)}</details>"


def _videos(parts: ReportParts) -> str:
    return "" if parts.verdicts is None else _table(worst_videos(*parts.verdicts, parts.iou).head(20), 0)


def _protocols(judgements: Sequence[Judgement]) -> str:
    pieces = []
    for judgement in judgements:
        for kind, protocol in zip(("video-mAP", "frame-mAP"), protocols_of(judgement.name)):
            if protocol is not None:
                lines = "".join(f"<li>{escape(line)}" for line in describe(protocol))
                pieces.append(f"<h3>{escape(judgement.name)}, {kind}</h3><ul>{lines}</ul>")
    return f"<details><summary>Every choice</summary>{''.join(pieces)}</details>"


def _figure(figure: Figure) -> str:
    return f"<div class=wide>{as_svg(figure)}</div>"


def _table(table: pd.DataFrame, digits: int, last: Collection[str] = ()) -> str:
    """``last``: names of the last row that sum up those above it."""
    head = "".join(f"<th>{escape(str(name))}" for name in (table.index.name or "", *table.columns))
    rows = []
    for number, (name, values) in enumerate(zip(table.index, table.itertuples(index=False)), 1):
        cells = "".join(f"<td>{_number(value, digits)}" for value in values)
        kind = " class=sum" if number == len(table) and name in last else ""
        rows.append(f"<tr{kind}><th>{escape(str(name))}{cells}")
    return f"<div class=wide><table><tr>{head}\n" + "\n".join(rows) + "</table></div>"


def _number(value: Any, digits: int) -> str:
    if not np.isfinite(value):
        return "-"
    return f"{value:.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.{digits}f}"


_STYLE = """
:root { color-scheme: light dark; --back: #fff; --fore: #222; --faint: #ddd; --line: #888; --box: #f5f5f5 }
:root { --warn: #fff4d6 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
 color: var(--fore); background: var(--back) }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.2rem } h3 { font-size: 1rem }
.wide { overflow-x: auto } .wide svg { max-width: 100%; min-width: 32rem; height: auto }
table { border-collapse: collapse; font-size: 13px }
th, td { padding: 2px 10px; text-align: right; border-bottom: 1px solid var(--faint); white-space: nowrap }
th { font-weight: 500 } tr:first-child th { border-bottom: 2px solid var(--line); font-weight: 600 }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--back) }
.sum > * { font-weight: 600 }
pre { background: var(--box); padding: 1rem; overflow-x: auto; font-size: 12px } .lines { white-space: pre-wrap }
.warning { background: var(--warn); padding: .4rem .8rem; border-left: 4px solid #e69f00; overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) {
 :root { --back: #16181b; --fore: #ddd; --faint: #33373c; --line: #777; --box: #202327; --warn: #3a3018 }
 .wide svg { filter: invert(.91) hue-rotate(180deg) }
}
"""
