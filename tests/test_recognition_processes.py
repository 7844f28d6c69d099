"""Training shared by two processes, told of each other as torchrun does it, against one process: the same losses."""

import json
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recognition.processes import Processes, join_processes
from recognition.train_classifier import Run, train_classifier
from tests.squares import square_videos
from tests.tiny_classifier import TRAINING, tiny_clips, tiny_network
from video.class_datasets import open_classes


def train_together(folder: Path, rank: int, port: int) -> None:
    """One of two processes; trains a network without and one with batch norm and dropout."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = join_processes("cpu")
    clips = tiny_clips(open_classes(folder / "data"))
    for norm in (False, True):
        network = tiny_network(norm=norm, dropout=0.3 if norm else 0.0)
        train_classifier(network, clips, TRAINING, Run(folder / f"norm{int(norm)}", processes), about={})
    processes.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def curve(output: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (output / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two networks trained by two processes, 2 clips of each step's 4 a process."""
    folder = tmp_path_factory.mktemp("two")
    square_videos(folder / "data")
    port = free_port()
    fork = multiprocessing.get_context("fork")
    members = [fork.Process(target=train_together, args=(folder, rank, port)) for rank in (0, 1)]
    for member in members:
        member.start()
    for member in members:
        member.join(timeout=100)
        member.kill()
    assert [member.exitcode for member in members] == [0, 0]
    return folder


def test_two_processes_give_the_loss_curve_of_one_with_the_doubled_batch(folder: Path, tmp_path: Path) -> None:
    network = tiny_network(norm=False, dropout=0.0)
    train_classifier(network, tiny_clips(open_classes(folder / "data")), TRAINING, Run(tmp_path), about={})
    # rounding only: sums of gradients in another order
    expected = curve(tmp_path)
    assert len(expected) == 5
    assert curve(folder / "norm0") == pytest.approx(expected, rel=1e-4)
    state = torch.load(folder / "norm0" / "state.pt", weights_only=True)["network"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=1e-3, atol=1e-4)


def test_with_batch_norm_they_are_one_process_that_takes_the_batch_in_two_parts(folder: Path, tmp_path: Path) -> None:
    """Each process normalises by the statistics of its own clips, and drops the features that the part would drop."""
    config = replace(TRAINING, accumulate=2)
    train_classifier(tiny_network(), tiny_clips(open_classes(folder / "data")), config, Run(tmp_path), about={})
    assert curve(folder / "norm1") == pytest.approx(curve(tmp_path), rel=1e-4)


def test_a_process_alone_agrees_with_itself() -> None:
    alone = Processes()
    assert alone.is_first
    assert alone.agreed(True, False) == [True, False]
    assert alone.summed(torch.tensor(2.0)) == 2
    alone.close()


def test_without_torchrun_there_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join_processes("cpu") == Processes(0, 1, "cpu")
