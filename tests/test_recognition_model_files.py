"""Model files: what goes in comes out, and what is not such a file is refused in one line."""

import hashlib
import json
import math

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from recognition.lgd3d import LGD3D, LGD3DConfig
from recognition.model_files import ModelFileError, file_sha256, load_model, load_state_, save_model
from recognition.preprocessing import Preprocessing

CONFIG = LGD3DConfig((1, 1, 1, 1), (16, 16, 16, 16), 8)


def save(path, state=None, **changes):
    fields = {
        "kind": "backbone",
        "config": {"width": 3},
        "class_names": ["run", "走る"],
        "preprocessing": Preprocessing().to_dict(),
        "provenance": {"seed": 0, "data": ["a", "b"]},
    }
    save_model(path, {"w": torch.tensor([1.5, -2.0])} if state is None else state, **{**fields, **changes})
    return path


def test_a_network_is_rebuilt_from_its_file_alone(tmp_path):
    net = LGD3D(CONFIG)
    net(torch.randn(2, 3, 4, 16, 16))  # batch norms count and average
    net.to(memory_format=torch.channels_last)
    path = save(tmp_path / "new" / "net.safetensors", net.state_dict(), config=CONFIG.to_dict())
    model = load_model(path, "backbone")
    again = LGD3D(LGD3DConfig.from_dict(model.config))
    load_state_(again, model)
    assert again.config == CONFIG
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values()))
    assert again.stem.bn.num_batches_tracked == 1


def test_the_header_comes_back(tmp_path):
    path = save(tmp_path / "m.safetensors")
    model = load_model(path, "backbone")
    assert model.path == path
    assert (model.kind, model.config, model.class_names) == ("backbone", {"width": 3}, ("run", "走る"))
    assert Preprocessing.from_dict(model.preprocessing) == Preprocessing()
    assert model.provenance == {"seed": 0, "data": ["a", "b"]}
    assert model.written_by.startswith("lgd-action-detection ")
    assert model.sha256 == file_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_half_precision_files_are_half_as_large_and_load_as_float32(tmp_path):
    weights = torch.randn(10_000)
    state = {"w": weights, "count": torch.tensor(70_000)}
    full, half = (save(tmp_path / f"{s}.safetensors", state, store=s) for s in ("float32", "float16"))
    assert half.stat().st_size < full.stat().st_size / 2 + 1000
    loaded = load_model(half, "backbone").state
    assert loaded["w"].dtype == torch.float32
    assert torch.equal(loaded["w"], weights.half().float())
    assert loaded["count"] == 70_000, "a counter is no weight"


def test_the_same_model_gives_the_same_bytes(tmp_path):
    hashes = {file_sha256(save(tmp_path / f"{i}.safetensors")) for i in range(4)}
    assert len(hashes) == 1


def test_views_and_shared_tensors_are_saved(tmp_path):
    weight = torch.arange(12.0).reshape(3, 4)
    state = load_model(
        save(tmp_path / "m.safetensors", {"a": weight.T, "b": weight, "c": weight[1:]}), "backbone"
    ).state
    assert torch.equal(state["a"], weight.T)
    assert torch.equal(state["c"], weight[1:])


# ---- refusals when writing ----


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": {"w": torch.tensor([0.0, math.nan])}}, "'w' are not finite in float32; not written"),
        ({"state": {"w": torch.tensor([1e6])}, "store": "float16"}, "not finite in float16; not written"),
        ({"provenance": {"when": object()}}, "header values must be plain JSON"),
        ({"config": {"x": math.inf}}, "header values must be plain JSON"),
    ],
)
def test_what_could_not_be_loaded_is_not_written(changes, message, tmp_path):
    path = save(tmp_path / "m.safetensors")
    before = path.read_bytes()
    with pytest.raises(ModelFileError, match=message):
        save(path, **changes)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = save(tmp_path / "m.safetensors")
    before = path.read_bytes()

    def interrupt(state, filename, metadata):
        filename.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("recognition.model_files.save_file", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]


# ---- refusals when reading ----


def header(**changes):
    fields = {"format_version": 1, "kind": "backbone", "written_by": "x", "config": {}, "class_names": []}
    return {"lgd": json.dumps({**fields, "preprocessing": {}, "provenance": {}, **changes})}


def without(key):
    fields = json.loads(header()["lgd"])
    del fields[key]
    return {"lgd": json.dumps(fields)}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        pytest.param(None, "no model header; it was not written by this program", id="foreign"),
        pytest.param({"format": "pt"}, "no model header", id="foreign with metadata"),
        pytest.param({"lgd": "{"}, "the model header is not JSON", id="not json"),
        pytest.param({"lgd": "[1]"}, "the model header must be a JSON object", id="not an object"),
        pytest.param(without("format_version"), "the header has no 'format_version'", id="no version"),
        pytest.param(without("kind"), "the header has no 'kind'", id="no kind"),
        pytest.param(
            header(format_version=2), "format version 2, this program reads up to 1: update", id="newer"
        ),
        pytest.param(header(format_version="1"), "format version '1'", id="version in text"),
        pytest.param(
            header(kind="proposals"), "of kind 'proposals', 'backbone' is needed here", id="other kind"
        ),
        pytest.param(without("config"), "the header's 'config' is missing or not a dict", id="no config"),
        pytest.param(
            header(class_names="run"), "the header's 'class_names' is missing or not a list", id="names"
        ),
    ],
)
def test_headers_that_do_not_fit_are_refused(metadata, message, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": torch.ones(2)}, path, metadata=metadata)
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path, "backbone")
    assert str(caught.value).startswith(str(path))


def test_a_header_that_fits_is_not_refused(tmp_path):
    save_file({"w": torch.ones(2)}, tmp_path / "m.safetensors", metadata=header())
    assert load_model(tmp_path / "m.safetensors", "backbone").state["w"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(lambda data: b"", "the file is empty; copy or download it again", id="empty"),
        pytest.param(lambda data: data[:-1], "not a whole .safetensors file", id="last byte missing"),
        pytest.param(lambda data: data[:50], "not a whole .safetensors file", id="cut in the header"),
        pytest.param(lambda data: data[:3], "not a whole .safetensors file", id="three bytes"),
        pytest.param(lambda data: b"#!/bin/sh\necho hello\n", "not a whole .safetensors file", id="text"),
        pytest.param(
            lambda data: b"\xff" * 8 + data[8:], "not a whole .safetensors file", id="absurd length"
        ),
        pytest.param(lambda data: b"PK\x03\x04" + data, "not a whole .safetensors file", id="zip"),
    ],
)
def test_damaged_files_are_refused_in_one_line(damage, message, tmp_path):
    path = save(tmp_path / "m.safetensors")
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(path, "backbone")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


def test_absent_files_and_folders_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="no such model file"):
        load_model(tmp_path / "absent.safetensors", "backbone")
    with pytest.raises(ModelFileError, match="is a folder"):
        load_model(tmp_path, "backbone")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    save_file(
        {"a": torch.ones(1), "b": torch.tensor([-math.inf])}, tmp_path / "m.safetensors", metadata=header()
    )
    with pytest.raises(ModelFileError, match="'b' are not finite: the file is damaged"):
        load_model(tmp_path / "m.safetensors", "backbone")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda s: s.pop("weight"), r"1 missing \(weight\)", id="missing"),
        pytest.param(lambda s: s.update(x=s["bias"]), r"1 unexpected \(x\)", id="unexpected"),
        pytest.param(
            lambda s: s.update(weight=torch.ones(2, 5)),
            r"1 of another shape \(weight is \(2, 5\) and must be \(2, 4\)\)",
            id="shape",
        ),
        pytest.param(
            lambda s: (s.clear(), s.update({f"k{i}": torch.ones(1) for i in range(9)})),
            r"2 missing \(weight, \.\.\.\); 9 unexpected \(k0, \.\.\.\)",
            id="all",
        ),
    ],
)
def test_weights_of_another_network_are_named_and_change_nothing(change, message, tmp_path):
    net = nn.Linear(4, 2)
    state = dict(net.state_dict())
    change(state)
    model = load_model(save(tmp_path / "m.safetensors", state), "backbone")
    before = net.weight.detach().clone()
    with pytest.raises(ModelFileError, match=message):
        load_state_(net, model)
    assert torch.equal(net.weight, before)
