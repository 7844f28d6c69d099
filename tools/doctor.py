"""What works on this machine: versions, devices, codecs, bundled weights, and a short test of the whole way.

    python tools/doctor.py
    python tools/doctor.py --quick --output results
    python tools/doctor.py --json > doctor.json

prints  a line for each thing: ok, missing (with the command that installs it) or broken (with what to do). Made to be
        pasted into a bug report: without paths of home folders and without the name of the user.
exit    0 if everything that is needed works, 1 if not; optional things never count
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

# Works also where the program is not installed, which it then reports; what is installed comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs"), help="where results shall go (default outputs)")
    parser.add_argument("--quick", action="store_true", help="without the test of the networks (some seconds)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_args(argv)
    from detection import health, health_machine

    if sys.stderr.isatty():
        print("looking around, some seconds ...", file=sys.stderr)
    steps = [f"import:{package.module}" for package in (*health.NEEDED, *health.OPTIONAL)]
    steps += ["device", "codecs", "bundled files"] + ([] if args.quick else ["self-test"])
    found = [*health.program_findings(), *health_machine.machine_findings(args.output), *health.probe(steps)]
    found = [health.without_names(finding) for finding in found]
    trouble = [finding for finding in found if finding.is_trouble]
    if args.json:
        print(json.dumps({"works": not trouble, "findings": [asdict(finding) for finding in found]}, indent=1))
        return 1 if trouble else 0
    section = None
    for finding in found:
        if finding.section != section:
            section = finding.section
            print(f"{section}")
        status = "" if finding.status == "note" else finding.status
        print(f"  {status:<8} {finding.name:<28} {finding.detail}".rstrip())
        if finding.advice:
            print(f"  {'':<8} {'':<28} -> {finding.advice}")
    print()
    if trouble:
        print(f"does not work: {', '.join(finding.name for finding in trouble)}")
        return 1
    print("everything that is needed works" + (" (the networks were not tried)" if args.quick else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
