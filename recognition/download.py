"""Fetching one large file: it goes on where it was cut off, is checked by its SHA-256, and appears whole or not at all.

Standard library only. What has come so far lies beside the file as ``NAME.part``; the next call, of this process or
another, asks the server for the rest of it. Two processes that want the same file take turns.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit, urlunsplit

from tqdm import tqdm

try:
    import fcntl
except ImportError:  # Windows: two processes must not fetch one file at a time
    fcntl = None  # type: ignore[assignment]

_BLOCK = 1 << 18
_LOCAL = ("localhost", "127.0.0.1", "::1")
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(ValueError):
    """A file that cannot be had; the text is one line with the address, the cause and what to do."""


def download(url: str, path: Path, sha256: str, *, patience: float = 1.0, timeout: float = 30.0) -> None:
    """Fetch ``url`` to ``path``, unless another process did so meanwhile.

    Args:
        url: https, or http on this machine; redirections to anything else are refused.
        sha256: hexadecimal digest of the file, or the beginning of it.
        patience: seconds before the second try; three in a row that bring nothing are the last.
        timeout: seconds without an answer after which a try is given up.

    Raises:
        DownloadError: the server says no, the connection breaks for good, or the checksum is another. After a broken
            connection ``NAME.part`` stays, for the next call.
    """
    check_scheme(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + ".part")) as partial:
        if path.is_file():
            return
        is_old = partial.seek(0, os.SEEK_END) > 0
        if not (is_old and _digest(partial).startswith(sha256)):
            _receive_all(url, partial, patience, timeout)
            if is_old and not _digest(partial).startswith(sha256):
                partial.truncate(0)  # what lay there was the beginning of something else
                _receive_all(url, partial, patience, timeout)
        found = _digest(partial)
        if not found.startswith(sha256):
            Path(partial.name).unlink()
            raise DownloadError(
                f"{without_secrets(url)}: its SHA-256 is {found}, not {sha256}: the file was changed, or the checksum "
                "is for another one"
            )
        os.fsync(partial.fileno())
        Path(partial.name).replace(path)


def without_secrets(url: str) -> str:
    """The address without password, query and fragment, for messages and records."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def check_scheme(url: str) -> None:
    """DownloadError unless nobody on the way can read or change what is fetched."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise DownloadError(f"{without_secrets(url)}: only https addresses are fetched (http on this machine alone)")


def _receive_all(url: str, partial: IO[bytes], patience: float, timeout: float) -> None:
    """Go on with ``partial`` until the server says that this is all."""
    tries = 0
    while True:
        before = partial.seek(0, os.SEEK_END)
        try:
            _receive(url, partial, timeout)
            return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and before:  # there is no byte behind those that lie here
                partial.truncate(0)
            elif error.code not in _WORTH_ANOTHER_TRY:
                raise DownloadError(f"{without_secrets(url)}: the server says {error.code} {error.reason}") from None
            cause = f"the server says {error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            cause = " ".join(str(getattr(error, "reason", error)).split())[:120] or type(error).__name__
        come = partial.seek(0, os.SEEK_END)
        tries = 1 if come > before else tries + 1
        if tries == 3:
            kept = f"; {come / 1e6:.1f} MB are kept, run again to go on" if come else ""
            raise DownloadError(f"{without_secrets(url)}: cannot be fetched ({cause}){kept}")
        time.sleep(patience * tries)


def _receive(url: str, partial: IO[bytes], timeout: float) -> None:
    """One answer of the server, appended to ``partial`` if it is the rest, else in its place."""
    start = partial.seek(0, os.SEEK_END)
    headers = {"User-Agent": "lgd-action-detection", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_SafeRedirects)
    with opener.open(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
        is_rest = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not is_rest:
            partial.truncate(0)
            start = partial.seek(0)
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        name = Path(urlsplit(url).path).name
        size = "" if total is None else f" ({total / 1e6:.1f} MB)"
        print(f"{'fetching the rest of' if start else 'fetching'} {name}{size}", file=sys.stderr, flush=True)
        with tqdm(
            total=total, initial=start, unit="B", unit_scale=True, desc=name, file=sys.stderr, disable=None
        ) as bar:
            while block := answer.read(_BLOCK):
                partial.write(block)
                bar.update(len(block))
        partial.flush()
    if total is not None and partial.tell() < total:
        raise ConnectionError(f"the connection ended after {partial.tell() / 1e6:.1f} of {total / 1e6:.1f} MB")


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """``path`` opened for reading and appending, by one process at a time; an empty one is removed at the end."""
    while True:
        file = path.open("ab+")
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            break
        file.close()  # the one before us renamed or removed it while we waited
    with file:
        try:
            yield file
        finally:
            if path.exists() and path.stat().st_size == 0:
                path.unlink()


def _digest(file: IO[bytes]) -> str:
    file.flush()
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
