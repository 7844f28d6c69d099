"""Weights from anywhere: a file, an https address with its checksum, a file of the Hugging Face hub, torchvision.

    runs/scorer.safetensors
    https://example.org/scorer.safetensors#sha256=9f86d081...   (64 digits)
    hf://owner/repository/scorer.safetensors@revision           (needs huggingface_hub)

Nothing is fetched unless the user said so (:class:`Fetch`); what was fetched once lies in the cache: beside
torchvision's weights (``torch.hub.get_dir()/checkpoints``, moved by TORCH_HOME), files of the hub in its own.
"""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from recognition.download import DownloadError, check_scheme, download, without_secrets

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models import WeightsEnum

OFFLINE_VARIABLES = ("LGD_OFFLINE", "HF_HUB_OFFLINE")
"""Set to 1, on, yes or true they do what --offline does."""


@dataclass(frozen=True)
class Fetch:
    """What may be done to get a file that is not here."""

    download: bool = False
    """The user asked for it (--download)."""
    offline: bool = False
    """Use only what is here, whatever else is said (--offline)."""

    @property
    def forbidden_by(self) -> str | None:
        """What keeps us from the network; None where it may be used."""
        if self.offline:
            return "--offline"
        for name in OFFLINE_VARIABLES:
            if os.environ.get(name, "").lower() in ("1", "on", "yes", "true"):
                return f"{name}={os.environ[name]}"
        return None if self.download else "no --download"

    def check(self, what: str, place: Path | None = None) -> None:
        """DownloadError unless ``what``, which is not here, may be fetched; ``place`` is where it would lie."""
        if (reason := self.forbidden_by) is None:
            return
        if reason == "no --download":
            raise DownloadError(f"{what}: is not here; add --download to fetch it")
        raise DownloadError(
            f"{what}: is not here and {reason} forbids fetching it" + (f"; put {place}" if place else "")
        )


CACHE_ONLY = Fetch()
"""Nothing is fetched."""
ASKED_FOR = Fetch(download=True)
"""For callers that name what they want."""


@dataclass(frozen=True)
class Weights:
    """A file of weights that lies on this machine."""

    path: Path
    source: str
    """Where it comes from, for messages and records; of a local file its path."""


def add_fetch_options(parser: argparse.ArgumentParser) -> None:
    """--download and --offline, see :func:`fetch_of`."""
    parser.add_argument("--download", action="store_true", help="fetch weights that are not here; else nothing ever is")
    parser.add_argument("--offline", action="store_true", help="use only weights that are here, also with --download")


def fetch_of(args: argparse.Namespace) -> Fetch:
    """The choice made by the options of :func:`add_fetch_options`."""
    return Fetch(download=args.download, offline=args.offline)


def locate_weights(word: str | os.PathLike[str], fetch: Fetch = CACHE_ONLY) -> Weights:
    """The file that a word of the command line names, fetched if need be.

    A fetched file is checked against its checksum each time it is used. Raises DownloadError, one line, for a word
    that names nothing we can fetch, for a file that is not here and must not be fetched, and where fetching fails.
    The file of a path need not exist: whoever reads it says so.
    """
    word = str(word)
    scheme, separator, _ = word.partition("://")
    if not separator:
        return Weights(Path(word), word)
    if scheme in ("https", "http"):
        return _of_address(word, fetch)
    if scheme == "hf":
        return _of_hub(word, fetch)
    raise DownloadError(f"{word[:100]}: weights are a file, https://...#sha256=..., or hf://owner/repository/file")


def cache_folder() -> Path:
    """Where fetched weights lie: the folder that torch and torchvision use."""
    import torch.hub

    return Path(torch.hub.get_dir()) / "checkpoints"


def published_file(weights: WeightsEnum, fetch: Fetch) -> Path:
    """The file of weights that torchvision publishes, fetched if need be; DownloadError where it cannot be had.

    torchvision ends its file names with the first digits of their SHA-256, by which a download is checked.
    """
    name = PurePosixPath(urlsplit(weights.url).path).name
    path = cache_folder() / name
    if not path.is_file():
        fetch.check(f"torchvision's {weights} ({name})", path)
        digits = re.fullmatch(r".*-([0-9a-f]{8,64})\.\w+", name)
        if digits is None:
            raise DownloadError(f"{weights.url}: has no checksum in its name; put a file you trust to {path}")
        download(weights.url, path, digits.group(1))
    return path


def published_state(weights: WeightsEnum, fetch: Fetch = ASKED_FOR) -> dict[str, Tensor]:
    """The tensors of weights that torchvision publishes, read without running code from the file.

    Whoever calls this without ``fetch`` has named the weights, which is as good as asking for them. Raises
    DownloadError where the file cannot be had or read.
    """
    path = published_file(weights, fetch)
    try:
        # torchvision's own way to its cache; weights_only is not its default
        return dict(weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True))
    except Exception:  # bytes that are no such file make torch.load raise almost anything
        raise DownloadError(f"{path}: is damaged or no file of torchvision; delete it and fetch it again") from None


def _of_address(word: str, fetch: Fetch) -> Weights:
    url, _, fragment = word.partition("#")
    source = without_secrets(url)
    check_scheme(url)
    key, _, digits = fragment.partition("=")
    digits = digits.lower()
    if key != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise DownloadError(
            f"{source}: an address needs the file's checksum behind it: #sha256= and 64 hexadecimal digits, as its "
            "publisher or sha256sum gives them"
        )
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name:
        raise DownloadError(f"{source}: names no file")
    from recognition.model_files import file_sha256

    # as torch's own names; by the checksum, for every second address ends in the same "model.safetensors"
    path = cache_folder() / f"{Path(name).stem[:100]}-{digits[:16]}{Path(name).suffix}"
    if not path.is_file():
        fetch.check(source, path)
        download(url, path, digits)
    elif file_sha256(path) != digits:
        raise DownloadError(f"{path}: is not the file that was fetched once; delete it and fetch it again")
    return Weights(path, source)


def _of_hub(word: str, fetch: Fetch) -> Weights:
    repository, file, revision = _hub_name(word)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise DownloadError(f"{word[:100]}: needs huggingface_hub; run pip install huggingface_hub") from None
    forbidden = fetch.forbidden_by
    try:
        path = Path(hf_hub_download(repository, file, revision=revision, local_files_only=forbidden is not None))
    except (OSError, ValueError) as error:  # its errors are one or the other, the missing entry of its cache too
        if forbidden is not None:
            fetch.check(word[:150])
        cause = " ".join(str(error).split())[:120]
        raise DownloadError(f"{word[:120]}: the hub does not give it ({cause})") from None
    # .../snapshots/COMMIT/file: what was meant by a branch, for the record
    commit = path.parts[path.parts.index("snapshots") + 1] if "snapshots" in path.parts else revision
    return Weights(path, f"hf://{repository}/{file}" + (f"@{commit}" if commit else ""))


def _hub_name(word: str) -> tuple[str, str, str | None]:
    """Repository, file and revision of ``hf://owner/repository/file@revision`` or ``hf://owner/repository@revision/file``."""
    owner, _, rest = word.removeprefix("hf://").partition("/")
    repository, _, file = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not revision:
        file, _, revision = file.partition("@")
    if not (owner and repository and file):
        raise DownloadError(
            f"{word[:100]}: expected hf://owner/repository/file, or hf://owner/repository/file@revision"
        )
    return f"{owner}/{repository}", file, revision or None
