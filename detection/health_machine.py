"""The machine as the operating system tells of it: processor, memory, limits of a container, disk, screen, cameras.

Standard library only. Sizes are GB of 10^9 bytes. ``system`` is the root of the file system; tests give another.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from detection.health import Finding

SLASH = Path("/")
LOW_MEMORY = 2e9
"""Bytes: detection with the bundled weights takes about 0.7 GB, that of a ResNet-101 about 3."""
LOW_DISK = 1e9
"""Bytes: an hour of 720p with its tubes drawn in takes about half of that."""


def machine_findings(output: Path, system: Path = SLASH) -> list[Finding]:
    """Processor, memory, container, and room for results in ``output``."""
    return [*_processor(system), *_memory(system), *_output(output), *_screen(system)]


def _processor(system: Path) -> list[Finding]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    detail = f"{processor_name(system)}, {os.cpu_count()} threads, {usable} for this process"
    findings = [Finding("machine", "processor", "note", detail)]
    if (share := cpu_limit(system)) is not None:
        findings.append(Finding("machine", "container", "note", f"limited to the time of {share:g} processors"))
    if threads := os.environ.get("OMP_NUM_THREADS"):
        findings.append(Finding("machine", "OMP_NUM_THREADS", "note", threads))
    return findings


def processor_name(system: Path = SLASH) -> str:
    """What the processor calls itself."""
    for line in _text(system / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Hardware", "Model"):
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory(system: Path) -> list[Finding]:
    facts = {
        line.partition(":")[0]: int(line.split()[1]) * 1024
        for line in _text(system / "proc/meminfo").splitlines()
        if len(line.split()) == 3
    }
    total, free = facts.get("MemTotal"), facts.get("MemAvailable")
    if total is None or free is None:
        return [Finding("machine", "memory", "note", "the operating system does not tell")]
    detail = f"{total / 1e9:.1f} GB, {free / 1e9:.1f} GB free"
    limit, used = memory_limit(system)
    if limit is not None and limit < total:
        free = min(free, limit - used)
        detail += f"; the container may use {limit / 1e9:.1f} GB and uses {used / 1e9:.1f} GB"
    if free < LOW_MEMORY:
        advice = "detection with the bundled weights may just fit; close other programs or raise the limit"
        return [Finding("machine", "memory", "note", detail, advice)]
    return [Finding("machine", "memory", "ok", detail)]


def memory_limit(system: Path = SLASH) -> tuple[int | None, int]:
    """(most bytes this process's control group may use or None, bytes it uses), versions 2 and 1 of cgroups."""
    for folder in _control_groups(system, "memory"):
        for limit_file, usage_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit = _text(folder / limit_file).strip()
            # version 1 says "no limit" with a number near 2^63
            if limit.isdecimal() and int(limit) < 2**60:
                usage = _text(folder / usage_file).strip()
                return int(limit), int(usage) if usage.isdecimal() else 0
    return None, 0


def cpu_limit(system: Path = SLASH) -> float | None:
    """Processors whose whole time the control group may use, None without a limit."""
    for folder in _control_groups(system, "cpu"):
        words = _text(folder / "cpu.max").split() or [
            _text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()
        ]  # fmt: skip
        if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
            return int(words[0]) / int(words[1])
    return None


def _control_groups(system: Path, controller: str) -> list[Path]:
    """Folders that may state a limit: the process's own group, then all above it."""
    folders: list[Path] = []
    for line in _text(system / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        base = system / "sys/fs/cgroup"
        if number != "0":
            if controller not in controllers.split(","):
                continue
            base = base / controller
        own = base / group.strip("/")
        folders += [own, *(parent for parent in own.parents if parent == base or base in parent.parents)]
    return [*folders, system / "sys/fs/cgroup", system / "sys/fs/cgroup" / controller]


def _output(output: Path) -> list[Finding]:
    """Whether results can be written, without writing any."""
    folder = next((folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists()), SLASH)
    name = "output folder"
    if not folder.is_dir():
        return [Finding("machine", name, "broken", f"{folder} is a file", "choose another folder with --output")]
    if not os.access(folder, os.W_OK):
        return [Finding("machine", name, "broken", f"{folder} may not be written to", "choose another with --output")]
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:.1f} GB free for {output}"
    if free < LOW_DISK:
        return [Finding("machine", name, "broken", detail, "make room, or choose another folder with --output")]
    return [Finding("machine", name, "ok", detail)]


def _screen(system: Path) -> list[Finding]:
    has_screen = not sys.platform.startswith("linux") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    screen = "there is one" if has_screen else "none: live pictures are shown on a page in the browser"
    if sys.platform.startswith("linux"):
        devices = sorted(path.name for path in (system / "dev").glob("video[0-9]*"))
        readable = [name for name in devices if os.access(system / "dev" / name, os.R_OK)]
        cameras = ", ".join(name if name in readable else f"{name} (may not be read)" for name in devices) or "none"
    else:
        cameras = "read on Linux only; elsewhere give the URL of a stream"
    return [
        Finding("machine", "screen", "note", screen, needed=False),
        Finding("machine", "cameras", "note", cameras, needed=False),
    ]


def _text(path: Path) -> str:
    """The content of a small file, "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
