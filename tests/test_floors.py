"""The floors of the design: higher packages import lower ones, never the other way (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAY_IMPORT = {
    "linking": set(),
    "video": {"linking"},
    "eval": {"linking"},
    "recognition": {"video", "eval", "linking"},
    # detection produces tubes and does not know how they are judged
    "detection": {"recognition", "video", "linking"},
    "tools": {"detection", "recognition", "video", "eval", "linking"},
}
NO_TORCH = {"linking", "eval"}


def imported_packages(source: str) -> set[str]:
    """Top-level names of every import in the text, also those inside functions."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def climbing_imports(package: str, source: str) -> set[str]:
    names = imported_packages(source)
    upward = names & (set(MAY_IMPORT) - MAY_IMPORT[package] - {package})
    if package in NO_TORCH:
        upward |= names & {"torch", "torchvision"}
    return upward


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_no_module_imports_a_higher_floor(package: str) -> None:
    offenders = {
        str(path.relative_to(ROOT)): climbing
        for path in sorted((ROOT / package).rglob("*.py"))
        if (climbing := climbing_imports(package, path.read_text()))
    }
    assert offenders == {}


def test_the_check_itself_finds_a_climbing_import() -> None:
    assert climbing_imports("linking", "def f():\n    from eval.video_map import video_map") == {"eval"}
    assert climbing_imports("eval", "import torch.nn as nn") == {"torch"}
    assert climbing_imports("tools", "import torch\nfrom detection import pipeline") == set()


def test_tools_is_a_folder_of_scripts_and_hides_no_package() -> None:
    tools = ROOT / "tools"
    assert not (tools / "__init__.py").exists()
    assert {path.stem for path in tools.glob("*.py")}.isdisjoint(MAY_IMPORT)
