import argparse
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torchvision.models import get_model_weights
from torchvision.models.video import R3D_18_Weights, S3D_Weights, s3d

from recognition.download import DownloadError
from recognition.weights_location import (
    Fetch,
    add_fetch_options,
    cache_folder,
    fetch_of,
    locate_weights,
    published_file,
    published_state,
)
from tests.file_server import FileServer, serving

CONTENT = b"weights of a network"
ASKED = Fetch(download=True)


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of torch, empty."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("no_proxy", "*")
    for name in ("LGD_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "torch"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


def test_a_path_is_a_path_and_needs_no_permission() -> None:
    found = locate_weights("runs/scorer.safetensors")
    assert (found.path, found.source) == (Path("runs/scorer.safetensors"), "runs/scorer.safetensors")
    assert locate_weights(Path("a/b")).path == Path("a/b")


def test_an_address_is_fetched_once_into_the_folder_of_torch(server: FileServer, torch_home: Path) -> None:
    word = f"{server.url('scorer.safetensors')}?token=secret#sha256={server.sha256}"
    found = locate_weights(word, ASKED)
    assert found.path == torch_home / "hub" / "checkpoints" / f"scorer-{server.sha256[:16]}.safetensors"
    assert found.path.read_bytes() == CONTENT
    assert found.source == server.url("scorer.safetensors")
    assert locate_weights(word) == found  # neither permission nor network is needed now
    assert len(server.asked) == 1


def test_two_addresses_that_end_alike_are_two_files(server: FileServer) -> None:
    first = locate_weights(f"{server.url('a/w.pth')}#sha256={server.sha256}", ASKED).path
    server.content = b"others"
    second = locate_weights(f"{server.url('b/w.pth')}#sha256={server.sha256}", ASKED).path
    assert (first.read_bytes(), second.read_bytes()) == (CONTENT, b"others")


def test_a_fetched_file_that_was_changed_is_refused(server: FileServer) -> None:
    word = f"{server.url()}#sha256={server.sha256}"
    path = locate_weights(word, ASKED).path
    path.write_bytes(CONTENT.upper())
    with pytest.raises(DownloadError, match="is not the file that was fetched once; delete it"):
        locate_weights(word, ASKED)


@pytest.mark.parametrize(
    ("fetch", "variable", "told"),
    [
        (Fetch(), None, "is not here; add --download to fetch it"),
        (Fetch(download=True, offline=True), None, "--offline forbids fetching it; put "),
        (Fetch(download=True), "LGD_OFFLINE", "LGD_OFFLINE=1 forbids"),
        (Fetch(download=True), "HF_HUB_OFFLINE", "HF_HUB_OFFLINE=1 forbids"),
    ],
)
def test_nothing_is_fetched_unasked_or_offline(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, fetch: Fetch, variable: str | None, told: str
) -> None:
    if variable:
        monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match=told) as caught:
        locate_weights(f"{server.url()}#sha256={server.sha256}", fetch)
    assert len(str(caught.value)) < 300
    with pytest.raises(DownloadError, match=told):
        published_file(R3D_18_Weights.KINETICS400_V1, fetch)
    assert server.asked == []
    assert not cache_folder().exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("https://example.org/w.bin", "needs the file's checksum behind it: #sha256="),
        ("https://example.org/w.bin#sha256=1234", "64 hexadecimal digits"),
        ("https://example.org/w.bin#md5=" + "0" * 64, "#sha256="),
        ("https://example.org/#sha256=" + "0" * 64, "names no file"),
        ("http://example.org/w.bin#sha256=" + "0" * 64, "only https"),
        ("s3://bucket/w.bin", "weights are a file, https://"),
        ("hf://owner", "expected hf://owner/repository/file"),
        ("hf://owner/repository", "expected hf://owner/repository/file"),
    ],
)
def test_a_word_that_names_nothing_we_could_fetch_is_one_line(word: str, told: str) -> None:
    with pytest.raises(DownloadError, match=told) as caught:
        locate_weights(word, ASKED)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_the_options_say_what_is_allowed() -> None:
    parser = argparse.ArgumentParser()
    add_fetch_options(parser)
    assert fetch_of(parser.parse_args([])) == Fetch(download=False, offline=False)
    assert fetch_of(parser.parse_args(["--download", "--offline"])).forbidden_by == "--offline"
    assert fetch_of(parser.parse_args(["--download"])).forbidden_by is None


# ---- the hub, by the one function of huggingface_hub that is used


class Hub:
    """What was asked of ``hf_hub_download``; it has one file, at commit c0ffee."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.asked, self.cached = folder, [], False

    def hf_hub_download(self, repo_id: str, filename: str, *, revision: str | None, local_files_only: bool) -> str:
        self.asked.append((repo_id, filename, revision, local_files_only))
        if local_files_only and not self.cached:
            raise FileNotFoundError("Cannot find the requested files\nin the disk cache")
        if revision == "gone":
            raise OSError("404 Client Error:\n\nRevision Not Found")
        path = self.folder / "models--me--nets" / "snapshots" / "c0ffee" / filename
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
        return str(path)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(tmp_path / "hub")
    module = types.ModuleType("huggingface_hub")
    module.hf_hub_download = hub.hf_hub_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    return hub


@pytest.mark.parametrize(
    ("word", "asked"),
    [
        ("hf://me/nets/w.safetensors", ("me/nets", "w.safetensors", None)),
        ("hf://me/nets/w.safetensors@v1", ("me/nets", "w.safetensors", "v1")),
        ("hf://me/nets/deep/w.safetensors@refs/pr/1", ("me/nets", "deep/w.safetensors", "refs/pr/1")),
        ("hf://me/nets@v1/deep/w.safetensors", ("me/nets", "deep/w.safetensors", "v1")),
    ],
)
def test_a_file_of_the_hub_is_recorded_with_its_commit(hub: Hub, word: str, asked: tuple[object, ...]) -> None:
    found = locate_weights(word, ASKED)
    assert hub.asked == [(*asked, False)]
    assert found.path.read_bytes() == CONTENT
    assert found.source == f"hf://me/nets/{asked[1]}@c0ffee"


def test_the_hub_is_not_asked_without_permission_but_its_cache_is(hub: Hub) -> None:
    with pytest.raises(DownloadError, match="is not here; add --download"):
        locate_weights("hf://me/nets/w.safetensors")
    hub.cached = True
    assert locate_weights("hf://me/nets/w.safetensors").path.is_file()
    assert [asked[-1] for asked in hub.asked] == [True, True]


def test_what_the_hub_does_not_give_is_one_line(hub: Hub) -> None:
    with pytest.raises(
        DownloadError, match=r"the hub does not give it \(404 Client Error: Revision Not Found"
    ) as caught:
        locate_weights("hf://me/nets/w.safetensors@gone", ASKED)
    assert "\n" not in str(caught.value)


def test_without_huggingface_hub_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match="needs huggingface_hub; run pip install huggingface_hub"):
        locate_weights("hf://me/nets/w.safetensors", ASKED)


# ---- what torchvision publishes


def test_torchvisions_cache_is_used_by_its_own_names(torch_home: Path) -> None:
    """Random values under the right names: torchvision checks the digits in a file's name on download only."""
    folder = torch_home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in s3d().state_dict().items()}
    given = {name: torch.rand(shape) for name, shape in shapes.items()}
    torch.save(given, folder / "s3d-d76dad2f.pth")
    found = published_state(S3D_Weights.KINETICS400_V1, Fetch())
    assert list(found) == list(given)
    torch.testing.assert_close(found["classifier.1.weight"], given["classifier.1.weight"], rtol=0, atol=0)


def test_a_damaged_file_of_torchvision_is_one_line(torch_home: Path) -> None:
    folder = torch_home / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "r3d_18-b3b3357e.pth").write_bytes(b"half of a file")
    with pytest.raises(DownloadError, match=r"r3d_18-b3b3357e\.pth: is damaged or no file of torchvision"):
        published_state(R3D_18_Weights.KINETICS400_V1)


def test_every_file_of_torchvision_that_we_name_has_its_checksum_in_its_name() -> None:
    names = ["r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b"]
    names += ["fasterrcnn_resnet50_fpn", "fasterrcnn_resnet50_fpn_v2", "fasterrcnn_mobilenet_v3_large_fpn"]
    for name in names:
        for weights in get_model_weights(name):
            with pytest.raises(DownloadError, match="is not here; add --download"):
                published_file(weights, Fetch())
            assert weights.url.rpartition("-")[2].removesuffix(".pth").isalnum()
