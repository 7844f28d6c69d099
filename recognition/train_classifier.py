"""Training of video classifiers: one loop for every network that gives a tuple of logits, resumable at every step.

LGD (CVPR 2019) section 5.2: SGD, learning rate 0.01, a tenth after every 20 epochs, stop after 50, batches of 64 clips
(LGD-3D) or 128 triples (LGD-2D). The clips, their augmentation and the dropout masks of a step follow from the seed and
the number of the step, so a run that was interrupted, or is shared by several processes, sees what any other would.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from linking.files import replace_when_whole
from recognition.class_clips import MicroBatches, TrainingClips, collate
from recognition.clip_views import ClipAugment
from recognition.ema import MovingAverage
from recognition.optimise import build_optimizer, cosine_rate, set_rate, stepped_rate
from recognition.processes import Processes
from recognition.training_state import flat_settings, load_training_state, save_training_state

_CHECK_EVERY = 50
"""Steps between two looks at the loss on a GPU, each of which waits for the GPU."""


@dataclass(frozen=True)
class ClassifierTraining:
    """How a classifier is trained; the defaults are LGD-3D's of the paper."""

    epochs: float = 50
    """May end within an epoch: 12.5 for the 128-frame stage."""
    batch: int = 64
    """Clips of one step of the optimizer, over all processes."""
    accumulate: int = 1
    """Parts in which each process works through its share of a batch, one after the other, to save memory."""
    clips_per_video: int = 1
    """Clips an epoch takes from each video."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    head_rate: float = 1.0
    """Learning rate of the last layers, ``network.head`` or ``network.classifier``, as a multiple of the rest's."""
    schedule: Literal["steps", "cosine"] = "steps"
    step_epochs: float = 20
    """"steps": epochs after which the learning rate falls by ``step_factor``."""
    step_factor: float = 0.1
    warmup_epochs: float = 0
    """Linear from zero."""
    momentum: float = 0.9
    """Of SGD; not in the paper, but in the authors' public code, as are Nesterov's form and the weight decay."""
    nesterov: bool = True
    weight_decay: float = 1e-4
    """On matrices and kernels; biases and batch norms have none."""
    label_smoothing: float = 0.0
    gradient_norm: float = 40.0
    """Larger gradients are scaled down to this norm, as in the authors' later code."""
    ema: float = 0.0
    """Decay a step of a moving average of the weights, which then is the result; 0 keeps none."""
    precision: Literal["fp32", "bf16"] = "bf16"
    """bf16 is autocast: weights, batch norm and losses stay float32."""
    sync_batch_norm: bool = False
    """Batch norm by the clips of all processes instead of each one's own; on CUDA, for few clips a process."""
    validate_every: float = 0
    """Epochs between two validations on the way; 0 validates at the end only."""
    seed: int = 0
    augment: ClipAugment = field(default_factory=ClipAugment)

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "clips_per_video"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("epochs", "learning_rate", "step_epochs", "gradient_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be 0 or more and below 1, got {self.ema}")

    def rate(self, epoch: float) -> float:
        """Learning rate at an epoch (also a part of one) as a share of its peak."""
        if self.schedule == "cosine":
            return cosine_rate(epoch, self.warmup_epochs, self.epochs)
        return stepped_rate(epoch, self.warmup_epochs, self.step_epochs, self.step_factor)


@dataclass(frozen=True)
class Run:
    """What may differ between two runs that give the same weights."""

    output: Path
    """Folder for ``state.pt`` and ``log.jsonl``, a line an epoch."""
    processes: Processes = field(default_factory=Processes)
    resume: bool = False
    """Go on from ``output/state.pt``; on a CPU the weights are bit for bit those of a run never interrupted."""
    workers: int = 0
    """Processes that prepare clips; 0 prepares them in this one."""
    save_minutes: float = 10.0
    """The state is saved after every epoch, and within one when this much time has passed."""
    max_minutes: float | None = None
    """Stop after the step in which this time has passed; the schedule does not change."""
    on_step: Callable[[int, int], None] | None = None
    """Called by the first process with the number of steps done and of all."""
    on_epoch: Callable[[dict[str, Any]], None] | None = None
    """Called by the first process with each line of the log."""
    validate: Callable[[nn.Module], Mapping[str, float]] | None = None
    """Called by the first process after every ``validate_every`` epochs; its numbers join the line of the log."""


def classification_loss(logits: tuple[Tensor, ...], labels: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The cross entropies of all heads, each the mean over the batch, added up: Eq. 6 for the two paths of LGD."""
    losses = [F.cross_entropy(member.float(), labels, label_smoothing=label_smoothing) for member in logits]
    return torch.stack(losses).sum()


def train_classifier(
    network: nn.Module, clips: TrainingClips, config: ClassifierTraining, run: Run, *, about: Mapping[str, Any]
) -> bool:
    """Train ``network`` in place; return whether all epochs were done, and leave it in eval mode.

    The network gets the moving average of its weights at last, if there is one.

    Args:
        network: clips (B, C, T, H, W) to a tuple of logits, the first of which predicts.
        clips: to train on.
        config: of the training.
        run: where it is kept and how it is run.
        about: settings of the network and the data, plain values; a state of others is not resumed.

    Raises:
        ValueError: the batch cannot be cut into equal parts, or the state is of another training.
        FloatingPointError: the loss is no longer finite.
    """
    if config.sync_batch_norm and run.processes.count > 1:
        if not run.processes.device.startswith("cuda"):
            raise ValueError("sync_batch_norm is for CUDA; on CPUs each process normalises by its own clips")
        nn.SyncBatchNorm.convert_sync_batchnorm(network)
    network.to(run.processes.device)
    loop = _Loop(network, clips, config, run, {**flat_settings(asdict(config)), **flat_settings(about)})
    if run.resume:
        loop.load()
    loop.go()
    if loop.average is not None:
        network.load_state_dict(loop.average.state)
    network.eval()
    return loop.step == loop.end


class _Loop:
    """The steps of one run, and what changes in them."""

    def __init__(
        self, network: nn.Module, clips: TrainingClips, config: ClassifierTraining, run: Run, settings: dict[str, Any]
    ) -> None:
        self.network, self.clips, self.config, self.run, self.settings = network, clips, config, run, settings
        self.device = run.processes.device
        self.kind = torch.device(self.device).type
        self.step = 0
        self.log: list[dict[str, Any]] = []
        self.totals = torch.zeros(3, dtype=torch.float64, device=self.device)
        """Sum of the losses, correct clips, clips: of this process since the epoch began."""
        self.since, self.waiting, self.timed = time.monotonic(), 0.0, 0
        """When the clock was started, seconds since that went by without a batch, clips of this process since."""
        self.steps_per_epoch = self.batches(0).steps_per_epoch
        self.end = max(1, round(config.epochs * self.steps_per_epoch))
        head = getattr(network, "head", getattr(network, "classifier", None))
        self.optimizer = build_optimizer(
            network,
            config.optimizer,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            momentum=config.momentum,
            nesterov=config.nesterov,
            head=list(head.parameters()) if isinstance(head, nn.Module) else [],
            head_rate=config.head_rate,
        )
        self.average = MovingAverage(network, config.ema) if config.ema else None

    def batches(self, end: int) -> MicroBatches:
        """Those of this process from the present step on."""
        return MicroBatches(
            len(self.clips),
            batch=self.config.batch,
            seed=self.config.seed,
            first=self.step,
            end=end,
            rank=self.run.processes.rank,
            processes=self.run.processes.count,
            accumulate=self.config.accumulate,
        )

    def go(self) -> None:
        """Step until the end or until the time is up, and save on the way."""
        run, processes = self.run, self.run.processes
        model: nn.Module = self.network.train()
        if processes.count > 1:
            # Statistics of batch norm stay those of each process; the first one's are saved.
            model = DistributedDataParallel(self.network, broadcast_buffers=False)
            # of 1x1 kernels, for which the orders of memory are the same but by name
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
        loader = DataLoader(
            self.clips,
            batch_sampler=self.batches(self.end),
            collate_fn=collate,
            num_workers=run.workers,
            pin_memory=self.kind == "cuda",
            # a generator of its own: the loader must not draw from the one that dropout draws from
            generator=torch.Generator(),
        )
        batches = iter(loader)
        started = saved = self.since = time.monotonic()
        while self.step < self.end:
            self.do_step(model, batches)
            if run.on_step is not None and processes.is_first:
                run.on_step(self.step, self.end)
            ends_epoch = self.step % self.steps_per_epoch == 0 or self.step == self.end
            if not ends_epoch and not self.is_checked():
                continue
            self.check()
            now = time.monotonic()
            late = run.max_minutes is not None and now - started >= run.max_minutes * 60
            stops, saves = processes.agreed(late, now - saved >= run.save_minutes * 60)
            if ends_epoch:
                self.end_epoch((now - started) / 60)
            if ends_epoch or stops or saves:
                self.save()
                saved = now
            if stops:
                break

    def is_checked(self) -> bool:
        """Whether the loss and the clock are looked at after this step; always where that costs nothing."""
        return (self.kind == "cpu" and self.run.processes.count == 1) or self.step % _CHECK_EVERY == 0

    def do_step(self, model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
        """One step of the optimizer, on one batch in ``accumulate`` parts."""
        config = self.config
        set_rate(self.optimizer, config.rate(self.step / self.steps_per_epoch))
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(config.accumulate):
            asked = time.monotonic()
            pixels, labels = next(batches)
            self.waiting += time.monotonic() - asked
            # Dropout masks follow from the step and the part of the batch, not from what was drawn before.
            place = self.run.processes.rank * config.accumulate + part
            torch.manual_seed(int(np.random.SeedSequence((config.seed, self.step, place)).generate_state(1)[0]))
            is_last = part == config.accumulate - 1
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not is_last else nullcontext():
                loss, correct = self.loss(model, pixels, labels)
                (loss / config.accumulate).backward()
            count = len(labels)
            self.timed += count
            self.totals += torch.stack([loss.detach().double() * count, correct.double(), correct.new_tensor(count)])
        nn.utils.clip_grad_norm_(self.network.parameters(), config.gradient_norm)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.network, self.step)
        self.step += 1

    def loss(self, model: nn.Module, pixels: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of some clips, and how many of them the first head names right."""
        pixels, labels = (tensor.to(self.device, non_blocking=True) for tensor in (pixels, labels))
        clips = self.clips.network_input(pixels, self.device)
        with torch.autocast(self.kind, torch.bfloat16, enabled=self.config.precision == "bf16"):
            logits = model(clips)
        return classification_loss(logits, labels, self.config.label_smoothing), (logits[0].argmax(1) == labels).sum()

    def check(self) -> None:
        if not torch.isfinite(self.totals[0]):
            rate = self.config.learning_rate
            raise FloatingPointError(f"the loss is no longer finite at step {self.step}; lower learning_rate ({rate})")

    def end_epoch(self, minutes: float) -> None:
        """A line of the log, and validation where it is due."""
        config, run = self.config, self.run
        loss, correct, count = run.processes.summed(self.totals).tolist()
        seconds = time.monotonic() - self.since
        epoch = self.step / self.steps_per_epoch
        if run.processes.is_first:
            line: dict[str, Any] = {
                "epoch": int(epoch) if epoch.is_integer() else round(epoch, 3),
                "step": self.step,
                "loss": loss / count,
                "top1": correct / count,
                "learning_rate": config.learning_rate * config.rate((self.step - 1) / self.steps_per_epoch),
                "clips_per_second": round(self.timed * run.processes.count / seconds, 2),
                "waiting": round(self.waiting / seconds, 4),
                "minutes": round(minutes, 2),
            }
            is_due = config.validate_every and (self.step == self.end or epoch % config.validate_every == 0)
            if run.validate is not None and is_due:
                line |= self.validated(run.validate)
            self.log.append(line)
            with replace_when_whole(run.output / "log.jsonl") as temporary:
                temporary.write_text("".join(json.dumps(entry) + "\n" for entry in self.log))
            if run.on_epoch is not None:
                run.on_epoch(line)
        self.totals.zero_()
        self.since, self.waiting, self.timed = time.monotonic(), 0.0, 0

    def validated(self, validate: Callable[[nn.Module], Mapping[str, float]]) -> Mapping[str, float]:
        """What ``validate`` says of the weights that would be the result now."""
        kept = {name: value.clone() for name, value in self.network.state_dict().items()} if self.average else None
        if self.average is not None:
            self.network.load_state_dict(self.average.state)
        found = validate(self.network.eval())
        if kept is not None:
            self.network.load_state_dict(kept)
        self.network.train()
        return found

    def save(self) -> None:
        totals = self.run.processes.summed(self.totals)
        if not self.run.processes.is_first:
            return
        save_training_state(
            self.run.output / "state.pt",
            {
                "settings": self.settings,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "average": None if self.average is None else self.average.state,
                "step": self.step,
                "totals": totals.tolist(),
                "log": self.log,
            },
        )

    def load(self) -> None:
        state = load_training_state(self.run.output / "state.pt", settings=self.settings)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average is not None:
            self.average.load(state["average"])
        self.step, self.log = state["step"], state["log"]
        if self.run.processes.is_first:
            self.totals.copy_(torch.tensor(state["totals"], dtype=torch.float64))
