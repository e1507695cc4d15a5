"""A file's bytes to lines, and its lines to text: encodings, line breaks, and files that are no text at all."""

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from connectors.ims.inboxes.inbox import File
from connectors.ims.rows import CsvRows

#: A fact may have 1,000,000 bytes (`schemas/codec.py`), a dead letter 1 MiB with its headers: this leaves room for
#: ours.
MAX_LINE_BYTES = 990_000
#: How many lines a quoted cell of a CSV file may run over: beyond that its quote was never closed.
MAX_ROW_LINES = 100
#: So much of the beginning tells how lines end.
SAMPLE_BYTES = 64 * 1024
#: So much of it, and this part of NUL bytes there, tells that it is no text in an encoding of single bytes.
_NUL_SAMPLE_BYTES = 1024
_NUL_PART = 8
_CHUNK_BYTES = 1024 * 1024
#: The first bytes of what is no text (each format's own description; `file(1)` has the same).
_SIGNATURES = {
    b"\x1f\x8b": "a gzip file",
    b"PK\x03\x04": "a ZIP file, as .xlsx and .ods are",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip file",
    b"Rar!\x1a\x07": "a RAR file",
    b"%PDF-": "a PDF",
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": "an old Office document, as .xls is",
    b"\xff\xfe\x00\x00": "UTF-32 text",
    b"\x00\x00\xfe\xff": "UTF-32 text",
}


@dataclass(frozen=True, slots=True)
class FileLine:
    """A line or row: its bytes without the line break, where it is, and whether the end of it was cut off."""

    text: bytes
    start: int
    end: int
    first: int
    last: int
    cut: bool


@dataclass(frozen=True, slots=True)
class Encoding:
    """How a file's bytes are lines, and lines are text.

    Attributes:
        codec: Of Python.
        bom: What a file may begin with and what is no part of its first line.
        unit: Bytes of a line break.
        newline: It.
        carriage: What may stand before it.
        others: Whether text in it that is valid UTF-8 was meant as UTF-8: all bytes are characters of it, so that
            reading alone does not tell.
    """

    codec: str
    bom: bytes
    unit: int = 1
    newline: bytes = b"\n"
    carriage: bytes = b"\r"
    others: bool = False

    @classmethod
    def of(cls, name: str, beginning: bytes) -> "Encoding":
        """The encoding that the file's mark names; without a mark the mapping's, where utf-16 is -le."""
        if beginning.startswith(codecs.BOM_UTF8):
            return cls("utf-8", codecs.BOM_UTF8)
        is_big = beginning.startswith(codecs.BOM_UTF16_BE) or name == "utf-16-be"
        if beginning.startswith(codecs.BOM_UTF16_LE) or (name.startswith("utf-16") and not is_big):
            return cls("utf-16-le", codecs.BOM_UTF16_LE, 2, b"\n\0", b"\r\0")
        if is_big:
            return cls("utf-16-be", codecs.BOM_UTF16_BE, 2, b"\0\n", b"\0\r")
        return cls(name, codecs.BOM_UTF8, others=_has_only_single_bytes(name))

    def bare(self, raw: bytes) -> bytes:
        """A line without its line break."""
        return raw.removesuffix(self.newline).removesuffix(self.carriage)

    def is_other(self, raw: bytes) -> bool:
        """Whether bytes are UTF-8 and, by chance, text of this encoding as well."""
        if not self.others or raw.isascii():
            return False
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return True


class LineScanner:
    """A file's lines, from any offset on.

    Attributes:
        problem: Why it is no text at all; None: it may be.
        encoding: Of its text.
    """

    def __init__(self, file: File, encoding: str) -> None:
        self._file = file
        file.handle.seek(0)
        sample = file.handle.read(SAMPLE_BYTES)
        self.encoding = Encoding.of(encoding, sample)
        self.problem = _problem_of(sample, self.encoding)
        self._handle = file.handle
        if self.encoding.unit == 1 and b"\n" not in sample and b"\r" in sample[:-1]:
            self._handle = cast(BinaryIO, io.BufferedReader(_CarriageReturns(file.handle)))

    def bytes_of(self, line: FileLine) -> bytes:
        """A line without the file's mark."""
        return line.text.removeprefix(self.encoding.bom) if line.start == 0 else line.text

    def some_text(self, line: FileLine) -> str:
        """As much of a line as can be read: enough to tell what kind of line it is."""
        return self.bytes_of(line).decode(self.encoding.codec, errors="replace")

    def lines(self, at: int, number: int) -> Iterator[FileLine]:
        """Lines from an offset and behind a line, up to the size that the file had when it was opened."""
        while at < self._file.size:
            line = self._line(at, number + 1)
            at, number = line.end, line.last
            yield line

    def rows(self, at: int, number: int, rows: CsvRows, is_skipped: Callable[[FileLine], bool]) -> Iterator[FileLine]:
        """The same, with the lines of one row as one."""
        while at < self._file.size:
            line = self._line(at, number + 1)
            # A quote looks the same among the bytes of every encoding that we take, so most lines need no second look.
            if rows.quote and rows.quote in line.text and not line.cut and not is_skipped(line):
                line = self._row(line, rows) if rows.is_open(self.some_text(line)) else line
            at, number = line.end, line.last
            yield line

    def read(self, start: int, end: int) -> bytes:
        """The bytes of a line or row that is known, without the line break."""
        self._file.handle.seek(start)
        return self.encoding.bare(self._file.handle.read(end - start))

    def _line(self, start: int, number: int) -> FileLine:
        handle, unit, newline = self._handle, self.encoding.unit, self.encoding.newline
        handle.seek(start)
        if unit == 1 and (raw := handle.readline(MAX_LINE_BYTES)).endswith(b"\n"):
            return FileLine(self.encoding.bare(raw), start, start + len(raw), number, number, cut=False)
        handle.seek(start)
        kept = tail = b""
        length = 0
        while piece := handle.readline(_CHUNK_BYTES):
            if newline == b"\n\0" and piece.endswith(b"\n") and (length + len(piece)) % 2:
                piece += handle.read(1)  # the other half of the line break, or of another character
            length += len(piece)
            kept += piece[: max(0, MAX_LINE_BYTES + 2 * unit - len(kept))]
            tail = (tail + piece)[-unit:]
            if tail == newline and length % unit == 0:
                break
        is_whole = len(kept) == length
        text = self.encoding.bare(kept) if is_whole else kept
        is_cut = not is_whole or len(text) > MAX_LINE_BYTES
        end = start + length if length else self._file.size
        return FileLine(text[:MAX_LINE_BYTES], start, end, number, number, is_cut)

    def _row(self, first: FileLine, rows: CsvRows) -> FileLine:
        """The row that begins with a line whose last cell is open; the line alone if it is never closed properly."""
        last = first
        for _ in range(MAX_ROW_LINES):
            if last.end >= self._file.size:
                break
            last = self._line(last.end, last.last + 1)
            if last.cut or last.end - first.start > MAX_LINE_BYTES:
                break
            row = FileLine(self.read(first.start, last.end), first.start, last.end, first.first, last.last, cut=False)
            text = self.some_text(row)
            if not rows.is_open(text):
                # Another row's quote has closed the cell: rows must not vanish into one another.
                return row if rows.is_row(text) else first
        return first


class _CarriageReturns(io.RawIOBase):
    """A file whose lines end with CR alone, as spreadsheets on old Macs write them, with LF in its place."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._at = 0  # the file itself is read elsewhere as well, and moves on

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # typeshed's Buffer is not for 3.11
        self._handle.seek(self._at)
        data = self._handle.read(len(buffer))
        buffer[: len(data)] = data.replace(b"\r", b"\n")
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = self._at if whence == io.SEEK_CUR else 0
        self._at = self._handle.seek(start + offset, io.SEEK_END if whence == io.SEEK_END else io.SEEK_SET)
        return self._at

    def tell(self) -> int:
        return self._at


def _problem_of(sample: bytes, encoding: Encoding) -> str | None:
    kind = next((kind for signature, kind in _SIGNATURES.items() if sample.startswith(signature)), None)
    if kind is not None:
        return f"the file is {kind}, not text that we read; write it as plain text under this name"
    start = sample[:_NUL_SAMPLE_BYTES]
    if encoding.unit == 1 and start.count(0) * _NUL_PART > len(start):
        return (
            f"the file is not {encoding.codec} (it has NUL bytes, as UTF-16 has); fix the file, or the "
            "mapping's encoding"
        )
    return None


def _has_only_single_bytes(codec: str) -> bool:
    """Whether every byte is a character, or none, in an encoding."""
    if codec == "utf-8":
        return False
    high = bytes(range(0x80, 0x100))
    return len(high.decode(codec, errors="replace")) == len(high)
