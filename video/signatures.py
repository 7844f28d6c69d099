"""What the bytes of a file say about it, without a decoder: is it cut off, and why is it not a video."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_HEAD_BYTES = 4096
_EBML, _SEGMENT = (
    0x1A45DFA3,
    0x18538067,
)  # Matroska and WebM: the header element and the one that holds all else
_MAX_TOP_LEVEL_BOXES = 10_000  # fragmented recordings have thousands; a crafted file shall not keep us longer

# first bytes -> what the file is and what to do
_NOT_VIDEOS = (
    (
        b"version https://git-lfs",
        "it is a Git LFS pointer, not the video itself; fetch it with 'git lfs pull'",
    ),
    (b"\xff\xd8\xff", "it is a single picture; give the folder that holds the frames"),
    (b"\x89PNG", "it is a single picture; give the folder that holds the frames"),
    (b"BM", "it is a single picture; give the folder that holds the frames"),
    (b"ID3", "it holds sound only"),
    (b"fLaC", "it holds sound only"),
    (b"#EXTM3U", "it is a playlist, and playlists in files are not followed; give the video or the URL"),
    (b"ffconcat", "it is a playlist, and playlists in files are not followed; give the video or the URL"),
    (b"v=0", "it is a description of a stream (SDP); give the URL of the stream"),
    (b"PK\x03\x04", "it is a zip archive; unpack it first"),
    (b"\x1f\x8b", "it is a gzip archive; unpack it first"),
    (b"Rar!", "it is a RAR archive; unpack it first"),
    (b"%PDF", "it is a PDF document"),
)


def announced_bytes(path: Path) -> int | None:
    """The size the container says the file has (AVI, MP4/MOV, MKV/WebM), None where it says nothing.

    A file that is shorter than this was cut off: by an interrupted download, a full disk, a killed recorder.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] == b"RIFF":
            return _riff_end(file, size)
        if head[4:8] == b"ftyp":
            return _iso_end(file, size)
        if head[:4] == _EBML.to_bytes(4, "big"):
            return _matroska_end(file)
    return None


def probable_cause(path: Path, reason: str) -> str:
    """Why ``path`` cannot be opened as a video, in words for its owner; ``reason`` is the decoder's own."""
    size = path.stat().st_size
    if size == 0:
        return "the file is empty"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    for start, meaning in _NOT_VIDEOS:
        if head.startswith(start):
            return meaning
    if head[:4] == b"RIFF" and head[8:12] in (b"WAVE", b"WEBP"):
        return (
            "it holds sound only"
            if head[8:12] == b"WAVE"
            else "it is a single picture; give the folder of frames"
        )
    if not head.strip(b"\0"):
        return "it begins with zeros only; an interrupted copy or download? Fetch it again"
    if head[4:8] == b"ftyp" and "moov" in reason:
        return "its index (moov) is missing: the download or recording was cut off; fetch it again"
    announced = announced_bytes(path)
    if announced is not None and announced > size:
        return f"it is cut off: {size:,} of {announced:,} bytes are there; fetch it again"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page, probably an error page saved by a download; fetch the video again"
    if text.startswith((b"<?xml", b"<mpd")):
        return "it is an XML text (a playlist?), not a video"
    if _is_text(head):
        return "it is a text file"
    return f"not a known video format, or damaged at its beginning ({reason})"


def _is_text(head: bytes) -> bool:
    # a character may be cut at the end of what was read
    printable = head.decode("utf-8", errors="ignore")
    control = sum(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in printable)
    return control == 0 and len(printable.encode()) >= len(head) - 3


def _riff_end(file: BinaryIO, size: int) -> int | None:
    """End of the last RIFF chunk; large AVIs are a row of them. Writers that never came back left 0."""
    end = 0
    while end + 12 <= size:
        file.seek(end)
        kind, length = struct.unpack("<4sI", file.read(8))
        if kind != b"RIFF" or length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
    return end or None


def _iso_end(file: BinaryIO, size: int) -> int | None:
    """End of the last box at the top level of an MP4 or MOV file."""
    end = 0
    for _ in range(_MAX_TOP_LEVEL_BOXES):
        if end + 8 > size:
            break
        file.seek(end)
        length, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if length == 1 and end + 16 <= size:
            length, header = struct.unpack(">Q", file.read(8))[0], 16
        # 0 means "to the end of the file"; other nonsense means that this is no box any more
        if length < header or not kind.isalnum():
            return max(end, size) if length == 0 else (end or None)
        end += length
    return end


def _matroska_end(file: BinaryIO) -> int | None:
    """End of the segment, the one big element after the header; None for live recordings, which leave it open."""
    file.seek(4)
    header = _matroska_number(file)
    if header is None:
        return None
    file.seek(header, 1)
    if file.read(4) != _SEGMENT.to_bytes(4, "big"):
        return None
    length = _matroska_number(file)
    return None if length is None else file.tell() + length


def _matroska_number(file: BinaryIO) -> int | None:
    """A size of variable length: the zeros before its first one-bit tell how many bytes follow; all ones = unknown."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    rest = file.read(more)
    value = int.from_bytes(bytes([first[0] & (0xFF >> (more + 1))]) + rest, "big")
    unknown = (1 << 7 * (more + 1)) - 1
    return None if len(rest) < more or value == unknown else value
