"""Training of classifiers: it learns, goes on bit for bit after any end, and does not mind the number of processes."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recognition.classifier_start import build_classifier
from recognition.ema import MovingAverage
from recognition.lgd3d import lgd3d_small
from recognition.lgd_classifier import LGDClassifierConfig
from recognition.processes import Processes
from recognition.train_classifier import ClassifierTraining, Run, classification_loss, train_classifier
from recognition.training_state import TrainingStateError
from tests.squares import square_videos
from tests.tiny_classifier import TRAINING, TinyClassifier, tiny_clips, tiny_network
from video.class_datasets import ClassDataset, open_classes

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("squares")
    square_videos(folder)
    return folder


@pytest.fixture(scope="module")
def dataset(folder: Path) -> ClassDataset:
    return open_classes(folder)


def train(
    dataset: ClassDataset,
    output: Path,
    config: ClassifierTraining = TRAINING,
    network: TinyClassifier | None = None,
    **run: Any,
) -> TinyClassifier:
    network = network or tiny_network()
    clips = tiny_clips(dataset, seed=config.seed)
    clips.clips_per_video = config.clips_per_video
    assert train_classifier(network, clips, config, Run(output, **run), about={"data": dataset.name})
    return network


def log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def assert_same_bits(one: nn.Module, other: nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values()):
        assert torch.equal(a, b), name


def test_the_loss_is_the_sum_over_the_heads() -> None:
    labels = torch.tensor([0, 1])
    even, sure = torch.zeros(2, 2), torch.tensor([[50.0, -50], [-50, 50]])
    ln2 = torch.log(torch.tensor(2.0))
    assert classification_loss((even, sure), labels) == pytest.approx(ln2)
    assert classification_loss((even, even, even), labels) == pytest.approx(3 * ln2)


def test_it_learns_and_writes_a_line_an_epoch(dataset: ClassDataset, tmp_path: Path) -> None:
    config = replace(TRAINING, epochs=8, clips_per_video=16)
    lines: list[dict[str, Any]] = []
    network = train(dataset, tmp_path, config, tiny_network(dropout=0.0), on_epoch=lines.append)
    assert not network.training
    assert lines == log(tmp_path)
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    assert lines[-1]["step"] == 8 * 32  # 128 clips an epoch, 4 a step
    assert lines[-1]["loss"] < 0.5 * lines[0]["loss"]
    assert lines[-1]["top1"] > 0.8
    assert all(line["clips_per_second"] > 0 and 0 <= line["waiting"] <= 1 for line in lines)


def test_accumulated_parts_are_one_batch(dataset: ClassDataset, tmp_path: Path) -> None:
    """Without batch norm and dropout the gradient of a batch is the mean of the gradients of its parts."""
    whole, parts = (tiny_network(norm=False, dropout=0.0) for _ in range(2))
    train(dataset, tmp_path / "whole", TRAINING, whole)
    train(dataset, tmp_path / "parts", replace(TRAINING, accumulate=2), parts)
    for a, b in zip(whole.parameters(), parts.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert [line["loss"] for line in log(tmp_path / "whole")] == pytest.approx(
        [line["loss"] for line in log(tmp_path / "parts")], rel=1e-5
    )


class Stop(Exception):
    pass


@pytest.mark.parametrize("last_step", [1, 3, 6], ids=["first step", "within an epoch", "end of an epoch"])
def test_a_run_that_was_stopped_ends_with_the_same_bits(dataset: ClassDataset, tmp_path: Path, last_step: int) -> None:
    config = replace(TRAINING, epochs=3.5, clips_per_video=1, batch=4, ema=0.9, precision="bf16")
    straight = train(dataset, tmp_path / "straight", config)

    def stop(step: int, end: int) -> None:
        assert end == 7  # 2 steps an epoch
        if step == last_step + 1:
            raise Stop

    with pytest.raises(Stop):
        train(dataset, tmp_path / "stopped", config, on_step=stop, save_minutes=0)
    resumed = train(dataset, tmp_path / "stopped", config, tiny_network(seed=99), resume=True)
    assert_same_bits(straight, resumed)
    told, expected = log(tmp_path / "stopped"), log(tmp_path / "straight")
    assert [(line["epoch"], line["loss"]) for line in told] == [(line["epoch"], line["loss"]) for line in expected]
    assert [line["epoch"] for line in told] == [1, 2, 3, 3.5]


KILLED = """
import json, os, random, signal, sys, time
from pathlib import Path
import torch
from recognition.train_classifier import Run, train_classifier
from tests.tiny_classifier import tiny_clips
from tests.test_recognition_train_classifier import INTERRUPTED, lgd_network
from video.class_datasets import open_classes

data, output, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
clips = tiny_clips(open_classes(data))
clips.clips_per_video = INTERRUPTED.clips_per_video
moments, state, resumed = random.Random(seed), output / "state.pt", []

def version():
    return state.stat().st_mtime_ns if state.exists() else 0

for kills in range(7):
    before = version()
    child = os.fork()
    if child == 0:
        run = Run(output, resume=before > 0, save_minutes=1e-9)
        train_classifier(lgd_network(), clips, INTERRUPTED, run, about={"data": "squares"})
        os._exit(0)
    if kills < 6:
        # at any moment behind the first state that it saved: in a step, or while it writes
        while version() == before and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            time.sleep(0.001)
        time.sleep(moments.uniform(0, 0.15))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        break
    resumed.append(torch.load(state, weights_only=True)["step"])
print(json.dumps([resumed, os.WEXITSTATUS(status)]))
"""
INTERRUPTED = replace(TRAINING, epochs=5, clips_per_video=8, ema=0.9)


def lgd_network() -> nn.Module:
    """LGD-3D with the kernel head and dropout, narrow."""
    backbone = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8)
    return build_classifier(LGDClassifierConfig(2, backbone, head="kernel", sketch_size=64))


def test_killed_at_random_moments_it_ends_with_the_same_bits(
    folder: Path, dataset: ClassDataset, tmp_path: Path
) -> None:
    straight = lgd_network()
    clips = tiny_clips(dataset)
    clips.clips_per_video = INTERRUPTED.clips_per_video
    assert train_classifier(straight, clips, INTERRUPTED, Run(tmp_path / "straight"), about={"data": "squares"})
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "killed"), "5"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps, status = json.loads(done.stdout)
    assert status == 0
    between = {step for step in steps if 0 < step < 80}
    assert len(between) >= 3, f"killed with {steps} of 80 steps saved"
    ends = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("killed", "straight")]
    assert [end["step"] for end in ends] == [80, 80]
    assert_same_values(*ends)
    for name, value in straight.state_dict().items():
        assert torch.equal(value, ends[0]["average"][name]), name


def assert_same_values(one: Any, other: Any) -> None:
    """Of two saved states: weights, their average, the optimizer's moments; less what the clock says."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"clips_per_second", "waiting", "minutes"}:
            assert_same_values(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other):
            assert_same_values(a, b)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_a_time_limit_stops_and_the_rest_follows(dataset: ClassDataset, tmp_path: Path) -> None:
    network, clips = tiny_network(), tiny_clips(dataset)
    run = Run(tmp_path, max_minutes=0)
    assert train_classifier(network, clips, TRAINING, run, about={}) is False
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 1
    again = tiny_network()
    assert train_classifier(again, clips, TRAINING, Run(tmp_path, resume=True), about={})
    straight = tiny_network()
    train_classifier(straight, tiny_clips(dataset), TRAINING, Run(tmp_path / "straight"), about={})
    assert_same_bits(again, straight)


def test_worker_processes_change_nothing(dataset: ClassDataset, tmp_path: Path) -> None:
    config = replace(TRAINING, epochs=2)
    one = train(dataset, tmp_path / "one", config)
    two = train(dataset, tmp_path / "two", config, workers=2)
    assert_same_bits(one, two)


def test_the_result_is_the_moving_average_and_validation_sees_it(dataset: ClassDataset, tmp_path: Path) -> None:
    config = replace(TRAINING, epochs=2, ema=0.5, validate_every=1)
    seen: list[Tensor] = []

    def validate(network: nn.Module) -> dict[str, float]:
        assert not network.training
        seen.append(network.state_dict()["conv.weight"].clone())
        return {"val_top1": 0.25}

    network = train(dataset, tmp_path, config, validate=validate)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert torch.equal(network.conv.weight, state["average"]["conv.weight"])
    assert torch.equal(network.conv.weight, seen[-1])
    assert not torch.equal(network.conv.weight, state["network"]["conv.weight"])
    assert [line["val_top1"] for line in log(tmp_path)] == [0.25, 0.25]
    unwatched = train(dataset, tmp_path / "unwatched", replace(config, validate_every=0))
    assert_same_bits(network, unwatched)  # looking does not disturb


def test_a_moving_average_forgets_its_start_and_copies_whole_numbers() -> None:
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, 0.9)
    network.running_mean += 1  # type: ignore[operator]
    network.num_batches_tracked += 5  # type: ignore[operator]
    average.update(network, step=0)
    assert average.state["running_mean"].item() == pytest.approx(0.9)  # decay 1/10 at first
    assert average.state["num_batches_tracked"].item() == 5
    average.update(network, step=10_000)
    assert average.state["running_mean"].item() == pytest.approx(0.9 * 0.9 + 0.1)


def test_what_cannot_be_trained_is_told(dataset: ClassDataset, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"no longer finite at step \d+; lower learning_rate"):
        train(dataset, tmp_path, replace(TRAINING, learning_rate=1e30, optimizer="sgd", gradient_norm=1e30))
    train(dataset, tmp_path, replace(TRAINING, epochs=1))
    with pytest.raises(TrainingStateError, match=r"batch was 4, now 8"):
        train(dataset, tmp_path, replace(TRAINING, epochs=1, batch=8), resume=True)
    with pytest.raises(ValueError, match="sync_batch_norm is for CUDA"):
        train(dataset, tmp_path, replace(TRAINING, sync_batch_norm=True), processes=Processes(0, 2))
    with pytest.raises(ValueError, match="batch must be 1 or more"):
        replace(TRAINING, batch=0)
    with pytest.raises(ValueError, match="epochs must be above 0"):
        replace(TRAINING, epochs=0)
