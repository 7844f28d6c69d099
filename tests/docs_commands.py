"""Commands, Python, links and file names out of the documentation, and checks of them that run nothing.

Shell blocks are given to bash itself, in a folder and with a PATH in which every program only writes down how it was
called; so loops, variables and continued lines mean what they mean to a reader who pastes them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SHELLS = {"sh", "bash", "shell", "console"}
PROGRAMS = (
    *("python", "python3", "python3.12", "pip", "ruff", "mypy", "pytest", "torchrun", "tensorboard", "jupyter"),
    *("make", "git", "curl", "wget", "unzip", "tar", "docker", "ffmpeg", "nvidia-smi", "sudo", "apt-get", "nice"),
    *("ls", "cat", "head", "cp", "mv", "mkdir", "rm", "sha256sum", "open", "xdg-open"),
)
"""What commands in the documentation may call; anything else is a misspelling until it is listed here."""
_FIRST_WORD = re.compile(
    r"(\$ )?([A-Z_]+=\S* )*(\.venv/bin/|python3? |make\b|git |pip |torchrun |for |cd |tools/|[A-Z]+=)"
)
_SPAN = re.compile(r"(?<!`)`([^`]+)`(?!`)")


@dataclass(frozen=True)
class Block:
    """A block of code."""

    language: str
    """What stands behind the fence; "" for none and for indented blocks."""
    line: int
    """Of its first line of code, from 1."""
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)

    @property
    def is_shell(self) -> bool:
        return self.language in SHELLS or (not self.language and bool(_FIRST_WORD.match(self.lines[0])))


@dataclass(frozen=True)
class Command:
    """One call, as the shell makes it."""

    path: Path
    line: int
    words: tuple[str, ...]
    in_sentence: bool = False
    """Between backticks: may be part of a command, so what is only lacking is no trouble."""

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}: {shlex.join(self.words)}"


def pages() -> list[Path]:
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """Fenced and indented blocks of a page, in order."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        if fence := re.match(r" *(```+|~~~+) *([\w-]*)", lines[number]):
            indent = len(lines[number]) - len(lines[number].lstrip())
            end = number + 1
            while end < len(lines) and not lines[end].strip().startswith(fence[1]):
                end += 1
            inside = tuple(line[indent:] for line in lines[number + 1 : end])
            if inside:
                found.append(Block(fence[2].lower(), number + 2, inside))
            number = end + 1
        elif lines[number].startswith("    ") and (number == 0 or not lines[number - 1].strip()):
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            found.append(Block("", number + 1, tuple(line[4:] for line in lines[number:end])))
            number = end
        else:
            number += 1
    return found


def prose(text: str) -> str:
    """The page with its blocks of code made empty lines, so that line numbers stay."""
    lines = text.splitlines()
    for block in blocks(text):
        for number in range(block.line - 1, block.line - 1 + len(block.lines)):
            lines[number] = ""
    return "\n".join("" if re.match(r" *(```|~~~)", line) else line for line in lines)


def spans(text: str) -> Iterator[tuple[int, str]]:
    """(line, text) of what stands between backticks in the prose; line breaks inside become spaces."""
    plain = prose(text)
    for paragraph in re.finditer(r"(?:.+\n?)+", plain):
        for span in _SPAN.finditer(paragraph.group()):
            line = plain.count("\n", 0, paragraph.start() + span.start()) + 1
            yield line, " ".join(span[1].split())


def commands(path: Path, folder: Path) -> list[Command]:
    """Every command of a page: of its shell blocks by bash, run in the empty ``folder``, and between backticks."""
    text = path.read_text(encoding="utf-8")
    found = [*_of_blocks(path, text, folder)]
    for line, span in spans(text):
        if re.match(r"(tools/\w+\.py|(\.venv/bin/)?python3? (-m |tools/|benchmarks/)|make) ?\S", span):
            words = shlex.split(span)
            if words[0] == "make" and not re.fullmatch(r"[\w=./-]+", words[1]):
                continue  # an English sentence
            found.append(
                Command(path, line, tuple(["python", *words] if words[0].startswith("tools/") else words), True)
            )
    return sorted(found, key=lambda command: command.line)


def _of_blocks(path: Path, text: str, folder: Path) -> Iterator[Command]:
    script = [""] * (text.count("\n") + 2)
    for block in blocks(text):
        if block.is_shell:
            for number, line in enumerate(block.lines):
                script[block.line - 1 + number] = line.removeprefix("$ ")
    if not any(script):
        return
    log = folder / "calls"
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in PROGRAMS:
        shim = programs / name
        # fields end with 0x1f, calls with 0x1e; python gives its script a file to write to, as the real one might
        shim.write_text(
            '#!/bin/sh\nprintf \'%s\\037\' "$AT" "${0##*/}" "$@" >> "$CALLS"\nprintf \'\\036\' >> "$CALLS"\n'
        )
        shim.chmod(0o755)
    (folder / "before").write_text("trap 'export AT=$LINENO' DEBUG\ncd() { :; }\nsource() { :; }\nalias .=:\n")
    (folder / "script").write_text("\n".join(script) + "\n")
    done = subprocess.run(
        ["/bin/bash", "-eu", str(folder / "script")],
        cwd=folder, capture_output=True, text=True, check=False,
        env={"PATH": str(programs), "BASH_ENV": str(folder / "before"), "CALLS": str(log), "AT": "0", "HOME": "home"},
    )  # fmt: skip
    if done.returncode or done.stderr:
        raise AssertionError(f"{path.relative_to(ROOT)}: bash cannot run its commands: {done.stderr.strip()}")
    for call in (log.read_text() if log.exists() else "").split("\x1e")[:-1]:
        line, *words = call.split("\x1f")[:-1]
        yield Command(path, int(line), tuple(words))


_LACKING = re.compile(r"the following arguments are required|expected (one|at least one) argument|^give |^name ")


def trouble_with(command: Command) -> str | None:
    """Why a command cannot work, None where nothing is against it; nothing is run."""
    said = _trouble_with_program(command)
    return None if said and command.in_sentence and _LACKING.search(said) else said


def _trouble_with_program(command: Command) -> str | None:
    program, *words = command.words
    program = program.rpartition("/")[2]
    if program == "torchrun":
        return _trouble_with_torchrun(words)
    if program == "make":
        return _trouble_with_make(words)
    if program == "pip":
        return _trouble_with_pip(words)
    if not program.startswith("python") or not words:
        return None
    if words[0] == "-c":
        return _said(lambda: compile(words[1], "-c", "exec"))
    if words[0] == "-m":
        if words[1] == "pip":
            return _trouble_with_pip(words[2:])
        module = ROOT / (words[1].replace(".", "/") + ".py")
        known = words[1] in ("pytest", "venv", "http.server") or module.is_file()
        return None if known else f"there is no module {words[1]}"
    return trouble_with_script(words[0], words[1:])


def trouble_with_script(script: str, words: list[str]) -> str | None:
    """What the parser of a script of ours has against ``words``, and its settings against ``--set``."""
    if not (ROOT / script).is_file():
        return f"there is no {script}"

    def parse() -> None:
        args = arguments(script, words)
        if args is not None and script in SETTINGS and getattr(args, "set", None):
            SETTINGS[script](args)

    return _said(parse)


def _said(step: Callable[[], object]) -> str | None:
    """What ``step`` complains of, by an exception or by argparse's way of leaving."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            step()
    except SystemExit as left:
        return None if left.code in (0, None) else errors.getvalue().strip().rpartition("error: ")[2] or str(left.code)
    except (ValueError, SyntaxError) as error:
        return str(error)
    return None


@cache
def names_of(script: str) -> dict[str, Any]:
    """What a script defines; its main part is not run."""
    folder = str((ROOT / script).parent)
    sys.path.insert(0, folder)  # as Python does for a script
    try:
        return runpy.run_path(str(ROOT / script), run_name="looked_at")
    finally:
        sys.path.remove(folder)


class _ParsedError(Exception):
    """Thrown out of a script when its arguments are parsed."""


def arguments(script: str, words: list[str]) -> argparse.Namespace | None:
    """``words`` as the script's own parser understands them; leaves by SystemExit like the script itself."""
    if "parse_args" in names_of(script):
        return names_of(script)["parse_args"](list(words))
    # A script that parses in main: it is started, and stopped when the parsing is done.
    plain, found = argparse.ArgumentParser.parse_args, []

    def parse_and_stop(parser: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        found.append(plain(parser, args, namespace))
        raise _ParsedError

    before = sys.argv
    sys.argv = [script, *words]
    argparse.ArgumentParser.parse_args = parse_and_stop  # type: ignore[assignment,method-assign]
    try:
        names_of(script)["main"]()
    except _ParsedError:
        return found[0]
    finally:
        sys.argv = before
        argparse.ArgumentParser.parse_args = plain  # type: ignore[method-assign]
    return None


def _settings_of_detection(args: argparse.Namespace) -> None:
    from detection.detect import DetectConfig
    from linking.settings import read_settings, with_settings

    with_settings(DetectConfig(), read_settings(None, args.set))


def _settings_of_linking(args: argparse.Namespace) -> None:
    names_of("tools/link_tubes.py")["resolved_config"](argparse.Namespace(**{**vars(args), "config": None}))


def _settings_of_flow(args: argparse.Namespace) -> None:
    from linking.settings import read_settings, with_settings
    from video.flow import FlowSettings

    with_settings(FlowSettings(), read_settings(None, args.set))


def _settings_of_proposals(args: argparse.Namespace) -> None:
    from detection.detectors import PRESETS
    from detection.train_proposals import ProposalTraining
    from linking.settings import read_settings, with_settings

    with_settings(ProposalTraining(detector=PRESETS[args.preset]()), read_settings(None, args.set))


def _settings_of_scorer(args: argparse.Namespace) -> None:
    from detection.presets import PRESETS
    from linking.settings import read_settings, with_settings

    with_settings(PRESETS[args.preset](), read_settings(None, args.set))


def _settings_of_recognition(args: argparse.Namespace) -> None:
    from linking.settings import read_settings
    from recognition.classifier_presets import PRESETS, second_stage, settled

    settings = read_settings(None, args.set)
    for_second = settings.pop("second", {})
    recipe = settled(PRESETS[args.preset](), settings, num_classes=2)
    if args.kernel or args.long:
        settled(second_stage(recipe, long=args.long), for_second, num_classes=2)


def _settings_of_pooling(args: argparse.Namespace) -> None:
    from linking.settings import read_settings, with_settings
    from recognition.train_pooling import PoolingRecipe

    with_settings(PoolingRecipe(), read_settings(None, args.set))


SETTINGS: dict[str, Callable[[argparse.Namespace], None]] = {
    "tools/detect_video.py": _settings_of_detection,
    "tools/link_tubes.py": _settings_of_linking,
    "tools/extract_flow.py": _settings_of_flow,
    "tools/train_proposals.py": _settings_of_proposals,
    "tools/train_detection.py": _settings_of_scorer,
    "tools/train_recognition.py": _settings_of_recognition,
    "tools/train_temporal_pooling.py": _settings_of_pooling,
}
"""How each tool understands ``--set``."""


@cache
def presets_of(script: str) -> frozenset[str]:
    """Names that ``--preset`` takes where argparse does not know them."""
    if script == "tools/train_proposals.py":
        from detection.detectors import PRESETS as presets
    elif script == "tools/train_detection.py":
        from detection.presets import PRESETS as presets
    elif script == "tools/train_recognition.py":
        from recognition.classifier_presets import PRESETS as presets
    elif script == "tools/link_tubes.py":
        from linking.build import PRESETS as presets
    else:
        return frozenset()
    return frozenset(presets)


def _trouble_with_torchrun(words: list[str]) -> str | None:
    from torch.distributed.run import get_args_parser

    understood: list[argparse.Namespace] = []
    said = _said(lambda: understood.append(get_args_parser().parse_args(words)))
    return said or trouble_with_script(understood[0].training_script, understood[0].training_script_args)


def _trouble_with_make(words: list[str]) -> str | None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    unknown = [word for word in words if "=" not in word and word not in targets]
    return f"the Makefile has no {unknown[0]}" if unknown else None


def _trouble_with_pip(words: list[str]) -> str | None:
    extras = set(
        re.findall(r"^(\w+) =$", (ROOT / "setup.cfg").read_text().partition("extras_require]")[2], re.MULTILINE)
    )
    asked = {name for word in words for group in re.findall(r"^\.\[([\w,]+)\]$", word) for name in group.split(",")}
    return f"setup.cfg has no extra {min(asked - extras)}" if asked - extras else None


@cache
def options() -> frozenset[str]:
    """Every option that some script of ours takes; several share functions that add theirs."""
    folders = ("tools", "benchmarks", "docs", "detection", "recognition", "video", "eval", "linking")
    scripts = [script for folder in folders for script in (ROOT / folder).glob("*.py")]
    found = {name for script in scripts for name in re.findall(r'"(--[a-z][a-z0-9-]*)"', script.read_text("utf-8"))}
    return frozenset(found | {"--help"})


def slug(heading: str) -> str:
    """The name GitHub gives to a heading for links."""
    plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def dead_links(path: Path) -> list[str]:
    """Links and pictures of a page that lead nowhere in this checkout; addresses on the net are not asked."""
    text = path.read_text(encoding="utf-8")
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name) if name else path
        if not file.exists():
            dead.append(target)
        elif anchor and file.suffix == ".md":
            headings = re.findall(r"^#+ +(.+)$", prose(file.read_text(encoding="utf-8")), re.MULTILINE)
            if anchor not in {slug(heading) for heading in headings}:
                dead.append(target)
    return dead


def missing_files(path: Path) -> list[str]:
    """Source files named between backticks, ``linking/trim.py`` or with ``::test_name``, that are not there."""
    missing = []
    for _, span in spans(path.read_text(encoding="utf-8")):
        for name, _, test in re.findall(r"\b((?:\w+/)+[\w.-]+\.(?:py|md|cfg|css|js|toml)\b)(::(\w+))?", span):
            top = name.partition("/")[0]
            if top not in (
                "linking",
                "video",
                "eval",
                "recognition",
                "detection",
                "tools",
                "tests",
                "benchmarks",
                "docs",
            ):
                continue
            file = ROOT / name
            if not file.is_file() or (test and f"def {test}(" not in file.read_text(encoding="utf-8")):
                missing.append(name + (f"::{test}" if test else ""))
    return missing
