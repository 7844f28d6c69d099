"""The table of a live run, which grows while it is being made and is whole at every moment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from detection.live_tubes import EndedTube
from linking.files import replace_when_whole
from linking.records import VideoAnnotation
from linking.table_json import dumps
from linking.tables import COLUMNS, table_from_annotations


class LiveTable:
    """Writes ``tubes.csv`` tube by tube, each in one piece, and ``tubes.json``, which appears when the run ends.

    ``tubes.csv`` replaces an older one when the first line is written and can be read at any time, also after a run
    that was killed. It has the columns of a tube table and one more, ``seconds``: the time of the frame, for on a
    camera frame / fps is not the time. In ``tubes.json`` tubes have ``start_seconds`` and ``end_seconds``. Nothing is
    kept in memory.

    A block that ends in an error keeps ``tubes.csv`` as far as it came and leaves ``tubes.json`` as it was.
    """

    def __init__(self, folder: Path, video: str, *, width: int, height: int) -> None:
        """``video`` is the name in the table; ``width`` and ``height`` are those of its pictures."""
        self.folder, self.video, self.width, self.height = folder, video, width, height
        self.num_tubes = 0
        self.num_frames: int | None = None
        """Decoded pictures; to be set before the block ends."""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            path = self.folder / "tubes.csv"
            with replace_when_whole(path) as temporary:
                temporary.write_text(",".join((*COLUMNS, "seconds")) + "\n", encoding="utf-8")
            # unbuffered: what is written is in the file, in one piece
            self._csv: IO[bytes] = stack.enter_context(path.open("ab", buffering=0))
            whole = stack.enter_context(replace_when_whole(self.folder / "tubes.json"))
            self._json: IO[str] = stack.enter_context(whole.open("w", encoding="utf-8"))
            name = json.dumps(self.video, ensure_ascii=False)
            self._json.write(f'{{"format":"tubes","version":1,"videos":[\n{{"video":{name},"tubes":[')
            self._stack = stack.pop_all()
        return self

    def add(self, ended: Sequence[EndedTube]) -> None:
        """Write tubes that have ended."""
        for one in ended:
            table = table_from_annotations([VideoAnnotation(self.video, [one.tube])])
            (entry,) = json.loads(dumps(table))["videos"][0]["tubes"]
            entry |= {"start_seconds": round(float(one.seconds[0]), 3), "end_seconds": round(float(one.seconds[-1]), 3)}
            text = table.assign(seconds=one.seconds.round(3)).to_csv(index=False, header=False, lineterminator="\n")
            self._csv.write(text.encode())
            self._json.write(",\n" if self.num_tubes else "\n")
            self._json.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")))
            self.num_tubes += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            facts = {"num_frames": self.num_frames, "width": self.width, "height": self.height}
            known = "".join(f',"{key}":{value}' for key, value in facts.items() if value is not None)
            self._json.write(f"\n]{known}}}\n]}}\n")
        self._stack.__exit__(kind, error, trace)
