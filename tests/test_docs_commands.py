"""The documentation is true: commands are understood by their tools, those that are quick are run, examples give
what is printed below them, links and named files exist.

Every page is covered by itself. ``RAN`` names the commands that are really run, with the inputs they need made by
``MAKERS``; trainings, cameras, downloads and data sets are parsed only. In-process, because importing torch once for
each command would take longer than the commands.
"""

import contextlib
import io
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detection.health import OPTIONAL
from eval.class_scores import ClassScores
from eval.class_scores import write_scores as write_class_scores
from linking.tables import read_tubes, write_tubes
from tests.docs_commands import (
    ROOT,
    Block,
    Command,
    arguments,
    blocks,
    commands,
    dead_links,
    missing_files,
    names_of,
    options,
    pages,
    presets_of,
    spans,
    trouble_with,
    trouble_with_script,
)
from tests.test_floors import imported_packages
from video.frames import open_video
from video.writing import VideoWriter

PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

RAN = [
    ("README.md", "tools/detect_video.py my.mp4"),
    ("README.md", "tools/detect_video.py my.mp4 --streams rgb"),
    ("README.md", "tools/detect_video.py my.mp4 --proposals boxes.csv"),
    ("README.md", "tools/link_tubes.py outputs/my.scores.npz --output tubes.csv --set link.max_gap=20"),
    ("README.md", "tools/visualize_tubelets.py tubes.csv --video my.mp4 --output pictures --report report.html"),
    ("README.md", "tools/evaluate_tubes.py --ground-truth truth.csv --detections tubes.csv"),
    ("README.md", "tools/convert_annotations.py job.xml --output tubes.csv"),
    ("README.md", "tools/link_tubes.py scores/ --fit-trimming truth.csv --output trim.toml"),
    ("README.md", "tools/link_tubes.py rgb/ --fuse-with flow/ --output tubes.csv"),
    ("docs/training.md", "tools/link_tubes.py results/test --config trim.toml --output tubes.csv"),
    (
        "docs/recognition.md",
        "tools/fuse_scores.py val/rgb.npz val/flow.npz --fit likelihood --save-weights weights.json",
    ),
    ("docs/recognition.md", "tools/fuse_scores.py test/rgb.npz test/flow.npz --weights weights.json --output both.npz"),
    ("docs/recognition.md", "tools/evaluate_recognition.py --scores both.npz --against test/rgb.npz"),
    ("docs/visualizing.md", "tools/make_puppets.py --demo outputs/demo.mp4 --truth outputs/truth.csv"),
    (
        "docs/visualizing.md",
        "tools/visualize_tubelets.py outputs/demo/tubes.csv --video assets/demo.mp4 --score-threshold 0.2 "
        "--only plot --format pdf --output outputs/figures",
    ),
]
"""Page and command, in the order in which they are run."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Command]]:
    """The commands of every page."""
    return {name: commands(page, tmp_path_factory.mktemp("shell")) for name, page in zip(NAMES, PAGES)}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_is_understood_by_its_tool(found: dict[str, list[Command]], name: str) -> None:
    troubles = {str(command): trouble for command in found[name] if (trouble := trouble_with(command))}
    assert troubles == {}


@pytest.mark.parametrize("name", NAMES)
def test_every_tool_named_in_a_block_was_seen_as_a_command(found: dict[str, list[Command]], name: str) -> None:
    """Otherwise a block that looks like something else would go unchecked."""
    seen = {word for command in found[name] for word in command.words}
    for block in blocks((ROOT / name).read_text()):
        if block.language not in ("python", "text", "toml", "json") and re.search(
            r"(tools|benchmarks)/\w+\.py", block.text
        ):
            assert block.is_shell, f"{name}:{block.line}: mark it as sh, or as text if it is none"
            scripts = set(re.findall(r"(?:tools|benchmarks)/\w+\.py", re.sub(r"#.*", "", block.text)))
            assert scripts <= seen


@pytest.mark.parametrize("name", NAMES)
def test_links_and_named_files_exist(name: str) -> None:
    assert dead_links(ROOT / name) == []
    assert missing_files(ROOT / name) == []


@pytest.mark.parametrize("name", NAMES)
def test_options_named_in_the_text_are_options_of_some_tool(name: str) -> None:
    named = {span: re.match(r"--[a-z0-9-]+", span) for _, span in spans((ROOT / name).read_text())}
    unknown = [span for span, option in named.items() if option and option.group() not in options()]
    assert unknown == []


@pytest.mark.parametrize("name", NAMES)
def test_presets_named_in_commands_exist(found: dict[str, list[Command]], name: str) -> None:
    for command in found[name]:
        script = next((word for word in command.words if word.startswith("tools/")), "")
        if presets_of(script) and "--preset" in command.words:
            assert command.words[command.words.index("--preset") + 1] in presets_of(script), str(command)


@pytest.mark.parametrize("name", NAMES)
def test_blocks_of_data_can_be_read(name: str) -> None:
    for block in blocks((ROOT / name).read_text()):
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)


def test_the_faq_answers_each_of_the_25_groups_of_questions_once() -> None:
    numbers = re.findall(r"^\*\*(\d+)\. ", (ROOT / "docs" / "faq.md").read_text(), re.MULTILINE)
    assert sorted(map(int, numbers)) == list(range(1, 26))


def test_changelog_links_exist() -> None:
    assert dead_links(ROOT / "CHANGELOG.md") == []


# --- the checks themselves


@pytest.mark.parametrize(
    ("line", "trouble"),
    [
        ("tools/detect_video.py my.mp4 --streams rgb", None),
        ("tools/detect_video.py my.mp4 --stream-names rgb", "unrecognized arguments: --stream-names rgb"),
        ("tools/detect_video.py", "give videos or --dataset"),
        ("tools/detect_video.py a.mp4 --max-frames many", "invalid int value"),
        ("tools/detect_video.py --dataset d --part middle", "invalid choice: 'middle'"),
        ("tools/detect_video.py my.mp4 --set link.max_gab=20", "unknown setting link.max_gab"),
        ("tools/link_tubes.py a.npz --output t.csv --set link.max_gap=20", None),
        ("tools/link_tubes.py a.npz --output t.csv --set link.max_gap=long", "max_gap"),
        ("tools/convert_annotations.py job.xml", "required: --output"),
        ("tools/convert_anotations.py job.xml --output t.csv", "there is no tools/convert_anotations.py"),
        ("benchmarks/bench_detect.py --no-such-option", "unrecognized arguments"),
    ],
)
def test_a_renamed_option_or_setting_is_found(line: str, trouble: str | None) -> None:
    script, *words = shlex.split(line)
    said = trouble_with_script(script, words)
    if trouble is None:
        assert said is None
    else:
        assert said is not None
        assert trouble in said


PAGE = """Text with `tools/doctor.py --quick` and `make demo`, which `make` runs.

    W="--quick --json"   # a comment
    for S in 1 2; do
      .venv/bin/python tools/doctor.py $W --output runs/$S \\
          --help
    done

```sh
$ python -m pip install -e '.[nonsense]'
```

    result -> no command
"""


def test_commands_are_what_bash_makes_of_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    (tmp_path / "shell").mkdir()
    seen = commands(page, tmp_path / "shell")
    doctor = ("python", "tools/doctor.py", "--quick", "--json", "--output")
    assert [(command.line, command.words) for command in seen] == [
        (1, ("python", "tools/doctor.py", "--quick")),
        (1, ("make", "demo")),
        (5, (*doctor, "runs/1", "--help")),
        (5, (*doctor, "runs/2", "--help")),
        (10, ("python", "-m", "pip", "install", "-e", ".[nonsense]")),
    ]
    assert [trouble_with(command) for command in seen[:4]] == [None] * 4
    assert trouble_with(seen[4]) == "setup.cfg has no extra nonsense"
    assert trouble_with(Command(page, 1, ("make", "demonstration"))) == "the Makefile has no demonstration"
    torchrun = Command(page, 1, ("torchrun", "--nproc-per-node", "8", "tools/doctor.py", "--slow"))
    assert "--slow" in str(trouble_with(torchrun))


def test_a_block_that_bash_cannot_run_is_an_error(tmp_path: Path) -> None:
    for number, line in enumerate(("pyhton tools/doctor.py", "for S in 1 2; do python x", "python $UNSET")):
        page = tmp_path / f"{number}.md"
        page.write_text(f"```sh\n{line}\n```\n")
        (tmp_path / str(number)).mkdir()
        page_of_ours = ROOT / page.name  # errors name pages by their place in the checkout
        with pytest.raises(AssertionError, match="bash cannot run its commands"):
            commands(_Moved(page, page_of_ours), tmp_path / str(number))  # type: ignore[arg-type]


class _Moved:
    """A page with the content of one file and the name of another."""

    def __init__(self, file: Path, name: Path) -> None:
        self.read_text, self.relative_to = file.read_text, name.relative_to


# --- what is run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands are run, one after the other; holds ``my.mp4``, the demo's first frames at half their size."""
    folder = tmp_path_factory.mktemp("work")
    with (
        open_video(ROOT / "assets" / "demo.mp4") as demo,
        VideoWriter(folder / "my.mp4", width=160, height=120, fps=demo.fps) as writer,
    ):
        for _, frame in zip(range(17), demo):
            writer.write(np.asarray(Image.fromarray(frame).resize((160, 120))))
    for name in ("docs", "assets"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def run(folder: Path, line: str) -> str:
    """Run one of our scripts as in ``folder``; its output. Fails unless it ends with 0."""
    script, *words = shlex.split(line)
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = names_of(script)["main"](words)
    assert code == 0, errors.getvalue()
    return out.getvalue()


def _truth(folder: Path) -> None:
    table = read_tubes(folder / "outputs" / "tubes.csv")
    write_tubes(table.assign(score=np.float32(np.nan), tube_score=np.nan), folder / "truth.csv")


def _scores(target: str) -> Callable[[Path], None]:
    def copy(folder: Path) -> None:
        (folder / target).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "outputs" / "my.scores.npz", folder / target)

    return copy


def _class_scores(target: str, seed: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / target).parent.mkdir(exist_ok=True)
        values = np.random.default_rng(seed).dirichlet([1, 1], size=6).astype(np.float32)
        names = tuple(f"video{number}" for number in range(6))
        write_class_scores(folder / target, ClassScores(("run", "sit"), names, ("sit", "run") * 3, values))

    return write


def _boxes(folder: Path) -> None:
    shutil.copy(folder / "outputs" / "tubes.csv", folder / "boxes.csv")


def _demo(folder: Path) -> None:
    shutil.copytree(ROOT / "docs" / "examples" / "demo", folder / "outputs" / "demo")


def _job(folder: Path) -> None:
    run(folder, "tools/convert_annotations.py truth.csv --output job.xml")


MAKERS: dict[str, Callable[[Path], None]] = {
    "boxes.csv": _boxes,
    "truth.csv": _truth,
    "job.xml": _job,
    "outputs/demo/tubes.csv": _demo,
    "scores/": _scores("scores"),
    "rgb/": _scores("rgb"),
    "flow/": _scores("flow"),
    "results/test": _scores("results/test"),
    "val/rgb.npz": _class_scores("val/rgb.npz", 1),
    "val/flow.npz": _class_scores("val/flow.npz", 2),
    "test/rgb.npz": _class_scores("test/rgb.npz", 3),
    "test/flow.npz": _class_scores("test/flow.npz", 4),
}
"""Inputs that a reader would have, by the name under which commands use them."""


@pytest.mark.parametrize(("name", "line"), RAN, ids=[line for _, line in RAN])
def test_quick_commands_work(folder: Path, found: dict[str, list[Command]], name: str, line: str) -> None:
    """One after the other, as a reader would."""
    script, *words = shlex.split(line)
    assert any(command.words[1:] == (script, *words) for command in found[name]), f"{name} no longer says: {line}"
    for word in words:
        if word in MAKERS and not (folder / word).exists():
            MAKERS[word](folder)
    run(folder, line)
    output = getattr(arguments(script, words), "output", None)
    if output is not None:
        assert (folder / output).exists()


def test_make_demo_is_the_detection_it_says(tmp_path: Path) -> None:
    recipe = re.search(r"^demo:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe is not None
    _, script, *words = recipe[1].replace("$(DEMO_OUTPUT)", str(tmp_path)).split()
    assert trouble_with_script(script, words) is None
    assert (ROOT / words[0]).is_file()


# --- Python examples


def python_blocks(name: str) -> list[tuple[Block, str | None]]:
    """Python blocks of a page, each with the block of text that follows it directly, which is its output."""
    page = ROOT / name
    found = blocks(page.read_text())
    lines = page.read_text().splitlines()
    pairs: list[tuple[Block, str | None]] = []
    for block, after in zip(found, [*found[1:], None]):
        if block.language == "python":
            end = block.line + len(block.lines)  # line of the closing fence
            follows = (
                after is not None and after.language == "text" and not "".join(lines[end : after.line - 2]).strip()
            )
            pairs.append((block, after.text if after is not None and follows else None))
    return pairs


NOT_HERE = {package.module for package in OPTIONAL if find_spec(package.module) is None}
"""Optional packages that are not installed; examples that import them are compiled only."""


def names_for(name: str, folder: Path) -> dict[str, object]:
    """What the examples of a page take for granted."""
    if name == "docs/evaluation.md":
        from linking.tables import annotations_from_table

        tubes = annotations_from_table(read_tubes(ROOT / "docs" / "examples" / "demo" / "tubes.csv"))
        return {"ground_truth": tubes, "detections": tubes}
    if name == "docs/formats.md":
        (folder / "outputs").mkdir(exist_ok=True)
        if not (folder / "outputs" / "tubes.csv").exists():
            shutil.copy(ROOT / "docs" / "examples" / "demo" / "tubes.csv", folder / "outputs")
        if not (folder / "flow" / "my.flow.zip").exists():
            run(folder, "tools/extract_flow.py my.mp4 --output flow")
    return {}


@pytest.mark.parametrize("name", [name for name in NAMES if python_blocks(name)])
def test_python_examples_give_what_is_printed_below_them(folder: Path, name: str) -> None:
    known: dict[str, object] = {"__name__": "example", **names_for(name, folder)}
    with contextlib.chdir(folder), pd.option_context("display.width", 80):
        for block, expected in python_blocks(name):
            code = compile("\n" * (block.line - 1) + block.text, str(ROOT / name), "exec")
            if imported_packages(block.text) & NOT_HERE:
                continue
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(code, known)
            if expected is not None:
                assert out.getvalue() == expected
