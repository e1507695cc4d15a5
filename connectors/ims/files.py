"""A file's records, one by one, from any place on: lines of JSON, rows of CSV, records of a JSON document."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from connectors.base.errors import FatalError
from connectors.base.source import Item, RefusedRecord
from connectors.ims.documents import Document
from connectors.ims.inboxes.inbox import File, Memory
from connectors.ims.records import MAX_IDENTITY_CHARS, LineError, parse, validate
from connectors.ims.rows import Rows
from connectors.ims.settings import CsvSettings, ImsSettings, JsonSettings, mapping_of
from connectors.ims.translate import translate

#: A fact may have 1,000,000 bytes (`schemas/codec.py`), a letter 1 MiB with its headers: this leaves room for our own.
MAX_LINE_BYTES = 990_000
#: How many lines a quoted cell of a CSV file may run over: beyond that its quote was never closed.
MAX_ROW_LINES = 100
_CHUNK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
_OTHER_IDENTITIES = ("shipment_id", "refund_id")
_TOO_LONG = f"the line has more than {MAX_LINE_BYTES} bytes, of which the letter has the first; split the event"


@dataclass(frozen=True, slots=True)
class Place:
    """A record of a file; the cursor of this source.

    Attributes:
        file: Name in the inbox.
        digest: SHA-256 of its content, hexadecimal: the same name with other content is another file.
        line: The last line (of a document: record), from 1, that is acknowledged.
        offset: Bytes up to the end of that line; of a document all of them, once its last record is.
        memory: What the inbox wants to be told again, see `Inbox.remember`.
    """

    file: str
    digest: str
    line: int = 0
    offset: int = 0
    memory: Memory = ()

    def to_text(self) -> str:
        found: dict[str, object] = {
            "file": self.file,
            "digest": self.digest,
            "line": self.line,
            "offset": self.offset,
        }
        if self.memory:
            found["memory"] = self.memory
        return json.dumps(found, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> "Place":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        try:
            found = json.loads(text)
            memory = tuple(str(each) for each in found.get("memory", ()))
            return cls(str(found["file"]), str(found["digest"]), int(found["line"]), int(found["offset"]), memory)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FatalError(
                "the cursor is not one of an ims connector; give the connector a new name, or its old kind"
            ) from error


@dataclass(frozen=True, slots=True)
class Taken:
    """One step through a file.

    Attributes:
        item: None: an empty line, a comment, the header.
        number: The line it begins at, or the number of the record, from 1; 0: the document as a whole.
        size: Its bytes.
    """

    item: Item | None
    number: int
    size: int


class Reader(Protocol):
    """One file while it is read.

    Lifecycle: `items` as often as one likes, left at any item; `close` once. `place` is behind the last item taken.
    """

    file: File
    place: Place

    @property
    def is_read(self) -> bool: ...

    def items(self, observed_at: datetime) -> Iterator[Taken]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose events they are."""

    source: str
    company: str


def open_reader(file: File, place: Place | None, memory: Memory, settings: ImsSettings, origin: Origin) -> Reader:
    """Go on in a file at a place that must be of the same content, else at its beginning.

    Raises:
        OSError: It cannot be read.
    """
    at = place if place is not None and (place.file, place.digest) == (file.name, file.digest) else None
    at = at or Place(file.name, file.digest, memory=memory)
    mapping = mapping_of(file.name, settings)
    if isinstance(mapping, JsonSettings):
        return DocumentReader(file, at, mapping, origin)
    return LineReader(file, at, mapping if isinstance(mapping, CsvSettings) else None, origin)


def _refused(
    error: LineError, value: bytes, place: Place, number: int, *, event_type: str | None = None
) -> RefusedRecord:
    names = ("event_id", "order_id", "sku", *_OTHER_IDENTITIES)
    ids = {name: _short(error.fields.get(name)) for name in names}
    other = next((ids[name] for name in _OTHER_IDENTITIES if ids[name]), None)
    return RefusedRecord(
        event_type=error.event_type or event_type,
        reason=error.reason,
        error=str(error),
        value=value,
        origin=place.file,
        digest=place.digest,
        number=number,
        event_id=ids["event_id"] or other,
        order_id=ids["order_id"],
        sku=ids["sku"],
    )


def _short(value: object) -> str | None:
    """An identity for people to find the letter by; nothing that only might be one."""
    if isinstance(value, str) and 0 < len(value) <= MAX_IDENTITY_CHARS and value.isprintable():
        return str(value)
    return None


# ---- documents


class DocumentReader:
    """See `Reader`. A document is read whole, and bounded; one that cannot be read is one refused record."""

    def __init__(self, file: File, place: Place, mapping: JsonSettings, origin: Origin) -> None:
        self.file, self.place = file, place
        self._mapping, self._origin = mapping, origin
        self._document: Document | None = None

    @property
    def is_read(self) -> bool:
        return self.place.offset >= self.file.size

    def close(self) -> None:
        self.file.close()

    def items(self, observed_at: datetime) -> Iterator[Taken]:
        if self._document is None:
            self.file.handle.seek(0)
            body = self.file.handle.read(min(self.file.size, self._mapping.max_bytes + 1))
            try:
                self._document = self._read(body)
            except LineError as error:
                self.place = replace(self.place, offset=self.file.size)
                yield Taken(_refused(error, body[:MAX_LINE_BYTES], self.place, 0), 0, len(body))
                return
        document = self._document
        last = len(document.records)
        size = self.file.size // max(1, last)
        for number in range(self.place.line + 1, last + 1):
            item = self._item(document, document.records[number - 1], number, observed_at)
            self.place = replace(self.place, line=number, offset=self.file.size if number == last else 0)
            yield Taken(item, number, size)
        if not last:
            self.place = replace(self.place, offset=self.file.size)

    def _read(self, body: bytes) -> Document:
        limit = self._mapping.max_bytes
        if len(body) > limit:
            raise LineError(
                "invalid_event",
                f"the document has more than {limit} bytes, of which the letter has the first; "
                "split it at the source, or raise max_bytes",
                self._mapping.event,
            )
        return Document(body, self._mapping)

    def _item(self, document: Document, record: object, number: int, observed_at: datetime) -> Item:
        event = self._mapping.event
        try:
            fields = document.fields(record)
            if len(json.dumps(fields, default=str)) > MAX_LINE_BYTES:
                raise LineError(  # noqa: TRY301 -- one way out
                    "invalid_event",
                    f"the record has more than {MAX_LINE_BYTES} bytes, of which the letter has the first; split the event",
                    event,
                    fields,
                )
            checked = validate(event, fields, observed_at)
        except LineError as error:
            value = document.bytes_of(record)[:MAX_LINE_BYTES]
            return _refused(error, value, self.place, number, event_type=event)
        return translate(checked, self._origin.source, self._origin.company, observed_at)


# ---- lines and rows


@dataclass(frozen=True, slots=True)
class _Line:
    """A line or row: its bytes without the line break, where it stands, and whether the end of it was cut off."""

    text: bytes
    start: int
    end: int
    first: int
    last: int
    cut: bool


@dataclass(frozen=True, slots=True)
class _Encoding:
    """How a file's bytes are lines, and lines are text.

    Attributes:
        codec: Of Python.
        bom: What a file may begin with and what is no part of its first line.
        unit: Bytes of a line break.
        newline: It.
        carriage: What may stand before it.
    """

    codec: str
    bom: bytes
    unit: int = 1
    newline: bytes = b"\n"
    carriage: bytes = b"\r"

    @classmethod
    def of(cls, name: str, beginning: bytes) -> "_Encoding":
        """The encoding of a mapping; for `utf-16` the file's first bytes decide, and without a mark it is -le."""
        if not name.startswith("utf-16"):
            return cls(name, _BOM)
        is_big = name == "utf-16-be" or (name == "utf-16" and beginning.startswith(b"\xfe\xff"))
        if is_big:
            return cls("utf-16-be", b"\xfe\xff", 2, b"\0\n", b"\0\r")
        return cls("utf-16-le", b"\xff\xfe", 2, b"\n\0", b"\r\0")

    def bare(self, raw: bytes) -> bytes:
        """A line without its line break."""
        return raw.removesuffix(self.newline).removesuffix(self.carriage)


class LineReader:
    """See `Reader`. Without a mapping lines are JSON, in UTF-8."""

    def __init__(self, file: File, place: Place, mapping: CsvSettings | None, origin: Origin) -> None:
        self.file, self.place = file, place
        self._handle = file.handle
        self._origin = origin
        self._rows = Rows(mapping) if mapping is not None else None
        self._handle.seek(0)
        self._encoding = _Encoding.of(mapping.encoding if mapping is not None else "utf-8", self._handle.read(2))
        if self._rows is not None and self._rows.header is None and place.offset > 0:
            # The names of the columns stand at the beginning, wherever we go on.
            for line in self._lines(0, 0):
                if line.end > place.offset or self._is_header(line, self._rows):
                    break

    @property
    def is_read(self) -> bool:
        return self.place.offset >= self.file.size

    def close(self) -> None:
        self.file.close()

    def items(self, observed_at: datetime) -> Iterator[Taken]:
        for line in self._lines(self.place.offset, self.place.line):
            item = self._row_item(line, self._rows, observed_at) if self._rows else self._item(line, observed_at)
            at = self.place
            self.place = Place(at.file, at.digest, line.last, line.end, at.memory)
            yield Taken(item, line.first, line.end - line.start)

    def _item(self, line: _Line, observed_at: datetime) -> Item | None:
        text = line.text.removeprefix(_BOM) if line.start == 0 else line.text
        if not text.strip():
            return None
        try:
            if line.cut:
                raise LineError("unreadable", _TOO_LONG)  # noqa: TRY301 -- one way out
            record = validate(*parse(text), observed_at)
        except LineError as error:
            return _refused(error, line.text, self.place, line.first)
        return translate(record, self._origin.source, self._origin.company, observed_at)

    def _row_item(self, line: _Line, rows: Rows, observed_at: datetime) -> Item | None:
        try:
            if not line.text or self._is_skipped(line, rows) or (rows.header is None and self._is_header(line, rows)):
                return None
            if line.cut:
                raise LineError("invalid_event", _TOO_LONG, rows.event)  # noqa: TRY301 -- one way out
            text = self._text(line, rows)
            if not text.strip():
                return None
            record = validate(rows.event, rows.fields(text), observed_at)
        except LineError as error:
            return _refused(error, line.text, self.place, line.first)
        return translate(record, self._origin.source, self._origin.company, observed_at)

    def _text(self, line: _Line, rows: Rows) -> str:
        raw = line.text.removeprefix(self._encoding.bom) if line.start == 0 else line.text
        try:
            text = raw.decode(self._encoding.codec)
        except UnicodeDecodeError:
            raise LineError(
                "invalid_event", f"the row is not {self._encoding.codec}; mend the file, or the mapping", rows.event
            ) from None
        if self._encoding.codec != "utf-8" and len(text.encode(errors="surrogatepass")) > MAX_LINE_BYTES:
            raise LineError("invalid_event", _TOO_LONG, rows.event)
        return text

    def _some_text(self, line: _Line) -> str:
        """As much of a line as can be read: enough to tell what kind of line it is."""
        raw = line.text.removeprefix(self._encoding.bom) if line.start == 0 else line.text
        return raw.decode(self._encoding.codec, errors="replace")

    def _is_skipped(self, line: _Line, rows: Rows) -> bool:
        return rows.skips and rows.is_skipped(line.first, self._some_text(line))

    def _is_header(self, line: _Line, rows: Rows) -> bool:
        return not self._is_skipped(line, rows) and rows.take_header(self._some_text(line))

    def _lines(self, at: int, number: int) -> Iterator[_Line]:
        """Lines (of a CSV file: rows) from an offset and behind a line, up to the size the file had when opened."""
        while at < self.file.size:
            line = self._line(at, number + 1)
            rows = self._rows
            # A quote looks the same among the bytes of every encoding that we take, so most lines need no second look.
            if (
                rows is not None
                and rows.quote
                and rows.quote in line.text
                and not line.cut
                and not self._is_skipped(line, rows)
            ):
                line = self._row(line, rows) if rows.is_open(self._some_text(line)) else line
            at, number = line.end, line.last
            yield line

    def _line(self, start: int, number: int) -> _Line:
        handle, unit, newline = self._handle, self._encoding.unit, self._encoding.newline
        handle.seek(start)
        if unit == 1 and (raw := handle.readline(MAX_LINE_BYTES)).endswith(b"\n"):
            return _Line(self._encoding.bare(raw), start, start + len(raw), number, number, cut=False)
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
        text = self._encoding.bare(kept) if is_whole else kept
        is_cut = not is_whole or len(text) > MAX_LINE_BYTES
        end = start + length if length else self.file.size
        return _Line(text[:MAX_LINE_BYTES], start, end, number, number, is_cut)

    def _row(self, first: _Line, rows: Rows) -> _Line:
        """The row that begins with a line whose last cell is open; the line alone if it is never closed properly."""
        last = first
        for _ in range(MAX_ROW_LINES):
            if last.end >= self.file.size:
                break
            last = self._line(last.end, last.last + 1)
            if last.cut or last.end - first.start > MAX_LINE_BYTES:
                break
            self._handle.seek(first.start)
            raw = self._encoding.bare(self._handle.read(last.end - first.start))
            row = _Line(raw, first.start, last.end, first.first, last.last, cut=False)
            text = self._some_text(row)
            if not rows.is_open(text):
                # Another row's quote has closed the cell: rows must not vanish into one another.
                return row if rows.is_row(text) else first
        return first
