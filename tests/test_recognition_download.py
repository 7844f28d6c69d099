"""Fetching over real sockets from a server of our own."""

import hashlib
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from recognition.download import DownloadError, download, without_secrets
from tests.file_server import FileServer, serving

CONTENT = bytes(range(256)) * 40  # 10240 bytes


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving(CONTENT) as running:
        yield running


def fetch(server: FileServer, path: Path, sha256: str | None = None) -> None:
    download(server.url(), path, server.sha256 if sha256 is None else sha256, patience=0.01, timeout=5)


def test_a_file_is_fetched_whole_and_nothing_else_is_left(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(server, tmp_path / "new" / "folder" / "w.bin")
    assert (tmp_path / "new" / "folder" / "w.bin").read_bytes() == CONTENT
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["w.bin"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "fetching w.bin (0.0 MB)\n"


def test_a_cut_connection_goes_on_where_it_was(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [3000, 4000]
    fetch(server, tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert server.asked == ["", "bytes=3000-", "bytes=7000-"]


def test_a_server_without_ranges_sends_all_of_it_again(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [3000]
    fetch(server, tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert server.asked == ["", "bytes=3000-"]


def test_a_connection_that_stays_broken_keeps_what_came_for_the_next_call(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [3000, 0, 0]
    with pytest.raises(DownloadError, match=r"connection ended after 0.0 of 0.0 MB.*run again to go on"):
        fetch(server, tmp_path / "w.bin")
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == [("w.bin.part", 3000)]
    server.asked.clear()
    fetch(server, tmp_path / "w.bin")
    assert server.asked == ["bytes=3000-"]
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert not (tmp_path / "w.bin.part").exists()


def test_all_of_it_may_have_come_before_the_process_was_killed(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "w.bin.part").write_bytes(CONTENT)
    fetch(server, tmp_path / "w.bin")
    assert server.asked == []
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("beginning", [b"another file", b"longer than the file" * 1000])
def test_the_beginning_of_another_file_is_thrown_away(server: FileServer, tmp_path: Path, beginning: bytes) -> None:
    (tmp_path / "w.bin.part").write_bytes(beginning)
    fetch(server, tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_a_wrong_checksum_leaves_nothing(server: FileServer, tmp_path: Path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    with pytest.raises(DownloadError, match=f"its SHA-256 is {server.sha256}, not {other}"):
        fetch(server, tmp_path / "w.bin", other)
    assert list(tmp_path.iterdir()) == []


def test_the_beginning_of_a_checksum_will_do(server: FileServer, tmp_path: Path) -> None:
    fetch(server, tmp_path / "w.bin", server.sha256[:8])
    assert (tmp_path / "w.bin").is_file()


def test_a_server_that_says_no_is_not_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.says = [404, 404]
    with pytest.raises(DownloadError, match=r"w\.bin: the server says 404 Not Found"):
        fetch(server, tmp_path / "w.bin")
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_busy_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.says = [503, 429]
    fetch(server, tmp_path / "w.bin")
    assert len(server.asked) == 3


def test_redirections_are_followed_but_not_to_where_others_could_listen(server: FileServer, tmp_path: Path) -> None:
    server.redirect_to = server.url("moved")
    fetch(server, tmp_path / "w.bin")
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    server.redirect_to = "http://example.org/w.bin"
    with pytest.raises(DownloadError, match=r"http://example\.org/w\.bin: only https"):
        fetch(server, tmp_path / "again.bin")
    assert not (tmp_path / "again.bin").exists()


def test_nobody_listens(tmp_path: Path) -> None:
    with serving(b"") as server:
        url = server.url()
    with pytest.raises(DownloadError, match=r"cannot be fetched \(.*refused\)$"):
        download(url, tmp_path / "w.bin", "00", patience=0.01)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/w.bin", "ftp://example.org/w.bin", "file:///etc/passwd"])
def test_only_https_is_fetched(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="only https"):
        download(url, tmp_path / "w.bin", "00")


def test_two_at_a_time_fetch_once(server: FileServer, tmp_path: Path) -> None:
    threads = [threading.Thread(target=fetch, args=(server, tmp_path / "w.bin")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked == [""]
    assert [p.name for p in tmp_path.iterdir()] == ["w.bin"]


def test_passwords_and_tokens_are_not_shown() -> None:
    assert without_secrets("https://me:pass@host:8/a/w.bin?token=x#sha256=0") == "https://host:8/a/w.bin"
    assert not re.search("pass|token", without_secrets("https://me:pass@host/w?token=x"))
