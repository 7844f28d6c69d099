"""tools/convert_detectron2.py from the command line."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np

from detection.proposals import ProposalConfig, open_proposer
from recognition.model_files import file_sha256
from tests.detectron2_checkpoints import checkpoint, picture

ROOT = Path(__file__).parents[1]


def convert(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "tools" / "convert_detectron2.py", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_region_proposal_network_becomes_a_file_for_detect_video(tmp_path: Path) -> None:
    zoo = {"model": checkpoint(pyramid=False, classes=0), "__author__": "Detectron2 Model Zoo"}
    (tmp_path / "rpn.pkl").write_bytes(pickle.dumps(zoo, protocol=4))
    output = tmp_path / "rpn.safetensors"
    run = convert(tmp_path / "rpn.pkl", "--output", output, "--proposals", 50, "--short-side", 64)
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert (said["body"], said["features"], said["trained_short_side"]) == ("resnet50", "c4", 64)
    assert said["sha256"] == file_sha256(tmp_path / "rpn.pkl")
    assert "CC BY-SA 3.0" in said["licence"]
    (found,) = open_proposer(output, config=ProposalConfig(mode="objectness")).propose([picture(96, 128)], [3])
    assert (found.frame, len(found)) == (3, 10)


def test_what_is_no_checkpoint_ends_in_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "page.pkl").write_bytes(pickle.dumps({"model": {"weight": np.zeros(3)}}))
    run = convert(tmp_path / "page.pkl", "--output", tmp_path / "out.safetensors")
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path / 'page.pkl'}: not a ResNet detector of detectron2")
    assert [path.name for path in tmp_path.iterdir()] == ["page.pkl"]
