"""Connectors' files, a piece at a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from lab.feed.feed import FeedEntry


class FeedWriter:
    """Writes connectors' files, a piece at a time.

    `write(until)` writes what happened before `until` and is not written yet, at most `lines` lines a file, each as
    `name.part` and then renamed (contract section 3), one connector after the other.
    """

    def __init__(self, entries: Mapping[str, Sequence[FeedEntry]], folder: Path, *, lines: int = 2_000) -> None:
        self._folder = folder
        self._lines = lines
        self._entries = entries
        self._next = dict.fromkeys(entries, 0)
        self._files = 0

    @property
    def left(self) -> int:
        """Lines that are not written yet."""
        return sum(len(entries) - self._next[name] for name, entries in self._entries.items())

    def write(self, until: datetime | None = None) -> int:
        """Write what happened before `until` (None: everything that is left); the number of lines written."""
        written = 0
        for name, entries in self._entries.items():
            start = end = self._next[name]
            while end < len(entries) and (until is None or entries[end].at < until):
                end += 1
            for at in range(start, end, self._lines):
                self._file(name, entries[at : min(at + self._lines, end)])
            self._next[name] = end
            written += end - start
        return written

    def _file(self, name: str, entries: Sequence[FeedEntry]) -> None:
        self._files += 1
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{self._files:06}.jsonl.part"
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(entry.line + "\n" for entry in entries)
        part.rename(part.with_suffix(""))


def written_files(folder: Path) -> dict[str, list[Path]]:
    """The files a `FeedWriter` has put there, by connector, in order.

    Also those that the connector has moved to `done`.
    """
    return {
        name: sorted(
            (*(folder / name).glob("*.jsonl"), *(folder / name / "done").glob("*.jsonl")), key=lambda path: path.name
        )
        for name in sorted(each.name for each in folder.iterdir() if each.is_dir())
    }
