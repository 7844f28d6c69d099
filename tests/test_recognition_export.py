"""Export: pixels in, probabilities out, the same as here; the ONNX part where its packages are installed."""

import importlib.util
import json
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import recognition.export
from detection.export import ScorerOnPixels
from detection.scorer import KIND, LoadedScorer, ScorerConfig
from detection.train_scorer import build_scorer
from recognition.classifier_files import save_classifier
from recognition.classifier_start import build_classifier
from recognition.classify import ClassifyConfig, clip_scores
from recognition.clip_sampling import ClipInput
from recognition.export import (
    PACKAGES,
    ClassifierOnPixels,
    Example,
    ExportError,
    Normalise,
    PoolingOnFeatures,
    export_onnx,
)
from recognition.kernel_head import KernelHead, SketchForm
from recognition.lgd3d import lgd3d_small
from recognition.lgd_classifier import LGDClassifierConfig
from recognition.model_files import ModelFile, save_model
from recognition.preprocessing import Preprocessing, normalise_clips
from recognition.temporal_pooling import TemporalPooling, TemporalPoolingConfig, save_pooling

TOOL = Path(__file__).parents[1] / "tools" / "export_model.py"
SMALL = lgd3d_small(depths=(1, 1, 1, 1), widths=(16, 16, 16, 32), stem_width=8)
CONFIG = LGDClassifierConfig(3, SMALL, sketch_size=64)
CLIP = ClipInput(frames=4, short_side=32, crop=32, test_short_side=32)
needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="onnx, onnxscript and onnxruntime are not installed",
)


def random_clips(number: int, size: int = 32) -> Tensor:
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (number, 4, size, size, 3), dtype=torch.uint8, generator=generator)


def test_normalisation_inside_is_that_of_training() -> None:
    clips = random_clips(2)
    torch.testing.assert_close(Normalise(Preprocessing())(clips), normalise_clips(clips, Preprocessing()))


@pytest.mark.parametrize("head", ["paths", "kernel"])
def test_the_module_gives_the_scores_of_a_clip(head: str) -> None:
    network = build_classifier(replace(CONFIG, head=head)).eval()  # type: ignore[arg-type]
    clips = random_clips(2)
    with torch.no_grad():
        found = ClassifierOnPixels(network, CLIP.preprocessing)(clips)
    expected = clip_scores(network, clips, CLIP, ClassifyConfig(), "cpu")
    torch.testing.assert_close(found, torch.from_numpy(expected))


def test_the_scorer_takes_pixels_and_boxes() -> None:
    config = ScorerConfig(2, backbone=SMALL, clip_frames=4, short_side=32)
    network = build_scorer(config).eval()
    scorer = LoadedScorer(network, ("a", "b"), Preprocessing(), ModelFile(Path(), "", {}, (), {}, {}, {}, "", ""))
    regions = torch.tensor([[1, 2.0, 2, 20, 30], [3, 0.0, 0, 32, 32]])
    with torch.no_grad():
        found = ScorerOnPixels(scorer)(random_clips(1), regions)
        logits, _ = network(normalise_clips(random_clips(1), Preprocessing()), [regions])
    torch.testing.assert_close(found, network.class_probabilities(logits))


def test_a_pooling_takes_features() -> None:
    network = TemporalPooling(TemporalPoolingConfig(3, (6, 4), width=8)).eval()
    features = torch.randn(2, 20, 10, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(PoolingOnFeatures(network)(features), network(features)[0].softmax(dim=1))


def test_without_its_packages_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recognition.export.importlib.util, "find_spec", lambda name: None)
    path = saved(tmp_path)
    code = runpy.run_path(str(TOOL))["main"]([str(path), "--output", str(tmp_path / "x.onnx")])
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: export needs onnx, onnxscript, onnxruntime: pip install -e '.[export]'")
    assert not (tmp_path / "x.onnx").exists()


def test_models_that_are_not_exported_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.safetensors"
    save_model(path, {}, kind="proposals", config={}, class_names=[], preprocessing={}, provenance={})
    main = runpy.run_path(str(TOOL))["main"]
    assert main([str(path), "--output", str(tmp_path / "x.onnx")]) == 2
    assert "models of kind 'proposals' are not exported" in capsys.readouterr().err
    assert main([str(saved(tmp_path)), "--output", str(tmp_path / "x.onnx"), "--size", "12"]) == 2
    assert "expected height and width as in 112x148" in capsys.readouterr().err


def saved(folder: Path) -> Path:
    path = folder / "classifier.safetensors"
    state = build_classifier(CONFIG).state_dict()
    save_classifier(path, state, config=CONFIG, class_names=("a", "b", "c"), clip=CLIP, provenance={})
    return path


@needs_onnx
def test_a_classifier_becomes_a_file_with_its_class_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    main = runpy.run_path(str(TOOL))["main"]
    output = tmp_path / "x.onnx"
    assert main([str(saved(tmp_path)), "--output", str(output), "--size", "32x48"]) == 0, capsys.readouterr().err
    assert "largest difference of a probability" in capsys.readouterr().out
    model = onnx.load(str(output))
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert about["class_names"] == ["a", "b", "c"]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in shape] == [0, 4, 32, 48, 3]  # 0: any number of clips


@needs_onnx
def test_a_scorer_becomes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = ScorerConfig(2, backbone=SMALL, clip_frames=4, short_side=32)
    path = tmp_path / "scorer.safetensors"
    save_model(
        path,
        build_scorer(config).state_dict(),
        kind=KIND,
        config=config.to_dict(),
        class_names=["a", "b"],
        preprocessing=Preprocessing().to_dict(),
        provenance={},
    )
    main = runpy.run_path(str(TOOL))["main"]
    assert main([str(path), "--output", str(tmp_path / "x.onnx")]) == 0, capsys.readouterr().err
    assert (tmp_path / "x.onnx").stat().st_size > 10_000


@needs_onnx
def test_a_pooling_becomes_a_file_for_any_number_of_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    network = TemporalPooling(TemporalPoolingConfig(3, (6, 4), clips=5, width=8))
    path = tmp_path / "pooling.safetensors"
    streams = [{"model": "rgb"}, {"model": "sound"}]
    save_pooling(path, network, ("a", "b", "c"), streams={"streams": streams}, provenance={})
    main = runpy.run_path(str(TOOL))["main"]
    assert main([str(path), "--output", str(tmp_path / "x.onnx")]) == 0, capsys.readouterr().err
    assert "features  (2, 5, 10) float32" in capsys.readouterr().out
    model = onnx.load(str(tmp_path / "x.onnx"))
    about = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert (about["class_names"], about["streams"]) == (["a", "b", "c"], streams)
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [0, 5, 10]
    assert main([str(path), "--output", str(tmp_path / "y.onnx"), "--size", "32x48"]) == 2
    assert "pools features; --size and --frames are for what takes pictures" in capsys.readouterr().err


@needs_onnx
@pytest.mark.parametrize("form", ["sqrt_l2", "l2_sqrt"])
def test_features_of_exactly_zero_stay_numbers(
    form: SketchForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A constant of 1e-8 that was added under the root got lost on the way: 0/0, for a fifth of all clips."""
    head = KernelHead(6, 3, sketch_size=32, form=form).eval()
    maps = torch.rand(2, 6, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    sparse = torch.tensor([[0.0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 2, 0]])
    example = Example({"local": maps, "global": sparse})
    # the root is steep at zero: where one FFT gives 0 and the other 1e-9, logits differ by 1e-4
    monkeypatch.setattr(recognition.export, "TOLERANCE", 1e-2)
    assert export_onnx(head, tmp_path / "x.onnx", example, [], output="logits", about={}) < 1e-2


class Moody(nn.Module):
    """Another answer at every call, as a network that was not put into eval mode would give."""

    calls = 0

    def forward(self, clips: Tensor) -> Tensor:
        self.calls += 1
        return clips.float().mean(dim=(1, 2, 3, 4))[:, None] + self.calls


@needs_onnx
def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    example = Example({"clips": random_clips(2)})
    with pytest.raises(ExportError, match="not written, for its results are"):
        export_onnx(Moody(), tmp_path / "x.onnx", example, [], output="y", about={})
    assert list(tmp_path.iterdir()) == []
