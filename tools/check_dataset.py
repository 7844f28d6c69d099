"""Check a dataset of one's own before training on it: what is wrong with it, where, and what to do; what is in it.

    python tools/check_dataset.py my.toml
    python tools/check_dataset.py data/kitchen --preview preview.html
    python tools/check_dataset.py my.toml --deep --json > findings.json

A dataset is a folder of videos with annotation of any format beside it (a tube table, an export of CVAT, ...),
described by a small .toml (docs/own-data.md), or a folder of J-HMDB or UCF101-24.

reads   the annotation, and of every video the first frame and the packets; with --deep every frame
writes  nothing, or the page of --preview: boxes of every class drawn into pictures, distributions, all findings
prints  findings with file and line and what to do, then numbers: videos, tubes by class, sizes, lengths

Exit code: 0 where nothing or only warnings were found, 1 for errors, 2 where there is no dataset to check.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="a .toml that describes one, or a folder")
    parser.add_argument(
        "--deep", action="store_true", help="decode every frame: exact lengths, damage, all copies of videos"
    )
    parser.add_argument("--preview", type=Path, metavar="FILE.html", help="write a page to look at the annotation")
    parser.add_argument("--thumbnails", type=int, default=6, metavar="N", help="pictures of a class (default 6)")
    parser.add_argument("--all", action="store_true", help="print every finding, not three of a kind")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args(argv)
    if args.preview is not None and args.preview.suffix.lower() not in (".html", ".htm"):
        parser.error("--preview is a page: give it the suffix .html")
    if not 0 <= args.thumbnails <= 100:
        parser.error("--thumbnails must be 0 to 100")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    try:
        return run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from video.dataset_checks import check_dataset
    from video.dataset_findings import MAX_KEPT, counted_as, report_text
    from video.dataset_statistics import statistics_text

    with tqdm(unit="video", file=sys.stderr, disable=None, leave=False) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        checked = check_dataset(args.dataset, deep=args.deep, progress=show)
    errors, warnings = checked.findings.number("error"), checked.findings.number("warning")
    if args.preview is not None:
        from detection.dataset_page import write_dataset_page

        write_dataset_page(args.preview, checked, thumbnails=args.thumbnails)
    if args.json:
        print(json.dumps(checked.as_json(), indent=1))
        return 1 if errors else 0
    if errors or warnings:
        print(report_text(checked.findings, shown=MAX_KEPT if args.all else 3), end="\n\n")
    print(statistics_text(checked.statistics))
    verdict = f"{counted_as(errors, 'error')}, {counted_as(warnings, 'warning')}"
    print(f"\n{checked.description.name}: {verdict if errors or warnings else 'nothing found to correct'}")
    if args.preview is not None:
        print(f"preview: {args.preview}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
