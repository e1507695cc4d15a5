"""Reads an inbox folder, file by file and line by line, and can go on after any line."""

import asyncio
import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path
from zoneinfo import ZoneInfo

import structlog
from pydantic import BaseModel

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RetriableError
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.ims.records import MAX_IDENTITY_CHARS, RECORDS, LineError, parse, validate
from connectors.ims.settings import CsvSettings, ImsSettings, inner_record, is_list
from connectors.ims.translate import translate

log = structlog.get_logger(__name__)

#: A batch is one send and one cursor record. 500 lines keep the broker's round trips (a few ms each) below a tenth of
#: the work. The bytes bound what is in memory, and also the record of a level: even if all lines are of one place,
#: their pending deltas (in base64) stay below 1 MiB.
BATCH_LINES = 500
BATCH_BYTES = 512 * 1024
#: A fact may have 1,000,000 bytes (`schemas/codec.py`), a letter 1 MiB with its headers: this leaves room for our own.
MAX_LINE_BYTES = 990_000
#: How many lines a quoted cell of a CSV file may run over: beyond that its quote was never closed.
MAX_ROW_LINES = 100
_CHUNK_BYTES = 1024 * 1024
_BOM = b"\xef\xbb\xbf"
DONE = "done"

#: Tells a file that has been replaced or written to from one that has not, without reading it.
_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; the cursor of this source.

    Attributes:
        file: Name in the inbox.
        digest: SHA-256 of its content, hexadecimal: the same name with other content is another file.
        line: The last line (from 1) that is acknowledged.
        offset: Bytes up to the end of that line.
    """

    file: str
    digest: str
    line: int = 0
    offset: int = 0

    def to_text(self) -> str:
        return json.dumps(
            {"file": self.file, "digest": self.digest, "line": self.line, "offset": self.offset}, separators=(",", ":")
        )

    @classmethod
    def from_text(cls, text: str) -> "Place":
        """Read what `to_text` wrote.

        Raises:
            FatalError: It is something else.
        """
        try:
            found = json.loads(text)
            return cls(str(found["file"]), str(found["digest"]), int(found["line"]), int(found["offset"]))
        except (ValueError, TypeError, KeyError) as error:
            raise FatalError(
                "the cursor is not one of an ims connector; give the connector a new name, or its old kind"
            ) from error


def unread_files(settings: ImsSettings) -> list[str]:
    """The names of the files in the inbox that are not read to their end, in the order in which they are read."""
    try:
        with os.scandir(settings.inbox) as entries:
            return sorted(entry.name for entry in entries if _is_ours(entry.name, settings) and entry.is_file())
    except FileNotFoundError:
        return []


def _is_ours(name: str, settings: ImsSettings) -> bool:
    return name.endswith(".jsonl") or _mapping_of(name, settings) is not None


def _mapping_of(name: str, settings: ImsSettings) -> CsvSettings | None:
    if not name.endswith(".csv"):
        return None
    return next((mapping for mapping in settings.csv.values() if fnmatchcase(name, mapping.files)), None)


class ImsSource:
    """An inbox folder as a `Source`.

    A file is moved to `inbox/done/` by the first read whose cursor says that all of it is acknowledged.
    """

    def __init__(self, name: str, settings: ImsSettings, clock: Clock) -> None:
        self.name = name
        self.company = settings.company
        self._settings = settings
        self._clock = clock
        self._open: _OpenFile | None = None
        self._digests: dict[Path, tuple[_Stamp, str]] = {}
        self._odd: set[str] = set()

    async def read(self, cursor: str | None) -> Batch:
        place = Place.from_text(cursor) if cursor is not None else None
        try:
            return await asyncio.to_thread(self._read, cursor, place)
        except OSError as error:
            self._let_go()
            what = f"{self.name}: {error.filename or self._settings.inbox} cannot be read: {error.strerror or error}"
            raise RetriableError(f"{what}; mend its rights, or the disk") from error

    async def close(self) -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _read(self, cursor: str | None, place: Place | None) -> Batch:
        if self._open is None or self._open.place != place:
            self._let_go()
            self._open = self._reopen(place)
        if self._open is not None and self._open.is_read:
            self._finish(self._open)
        if self._open is None:
            self._open = self._next()
        if self._open is None:
            return Batch((), cursor, idle=True)
        observed_at = self._clock.now()
        items: list[Item] = []
        size = 0
        for item, length in self._open.items(observed_at):
            size += length
            if item is not None:
                items.append(item)
            if len(items) >= BATCH_LINES or size >= BATCH_BYTES:
                break
        return Batch(tuple(items), self._open.place.to_text())

    def _reopen(self, place: Place | None) -> "_OpenFile | None":
        """The file that the cursor names, at its place, if it still is what it was."""
        if place is None:
            return None
        path = self._settings.inbox / place.file
        if not path.is_file():
            return None
        opened = self._open_file(path, place)
        if opened.place == place:
            return opened
        opened.close()
        return None

    def _next(self) -> "_OpenFile | None":
        """The next file that has not been read; those that have been and came back are moved out of the way."""
        self._settings.inbox.mkdir(parents=True, exist_ok=True)
        self._tell_odd()
        for name in unread_files(self._settings):
            opened = self._open_file(self._settings.inbox / name, None)
            if opened.is_read or self._was_read(opened):
                self._finish(opened)
                continue
            return opened
        return None

    def _open_file(self, path: Path, place: Place | None) -> "_OpenFile":
        """Open a file at a place that must be of the same content, else at its beginning."""
        handle = path.open("rb")
        try:
            stamp = _stamp(os.fstat(handle.fileno()))
            digest = self._digest(path, handle, stamp)
            at = place if place is not None and place.digest == digest else Place(path.name, digest)
            return _OpenFile(self, path, handle, stamp, at, _mapping_of(path.name, self._settings))
        except BaseException:
            handle.close()
            raise

    def _digest(self, path: Path, handle: BufferedReader, stamp: _Stamp) -> str:
        known = self._digests.get(path)
        if known is None or known[0] != stamp:
            handle.seek(0)
            known = (stamp, hashlib.file_digest(handle, "sha256").hexdigest())
            self._digests[path] = known
        return known[1]

    def _was_read(self, opened: "_OpenFile") -> bool:
        """Whether `done/` has a file of this name and content."""
        return any(
            path.is_file() and path.stat().st_size == opened.size and self._digest_of(path) == opened.place.digest
            for path in self._done_names(opened.place)
        )

    def _digest_of(self, path: Path) -> str:
        with path.open("rb") as handle:
            return self._digest(path, handle, _stamp(os.fstat(handle.fileno())))

    def _done_names(self, place: Place) -> tuple[Path, Path]:
        """The file's own name, and the one it takes where that is taken by another content."""
        done = self._settings.inbox / DONE
        return done / place.file, done / f"{place.file}.{place.digest[:12]}"

    def _finish(self, opened: "_OpenFile") -> None:
        """Move a file that is read to `done/`, unless it has become another one meanwhile."""
        opened.close()
        self._open = None
        try:
            changed = _stamp(opened.path.stat()) != opened.stamp
        except FileNotFoundError:
            return
        if changed:
            log.warning("file_changed", connector=self.name, file=opened.place.file)
            return
        (self._settings.inbox / DONE).mkdir(exist_ok=True)
        first, second = self._done_names(opened.place)
        target = first if not first.exists() else second
        number = 2
        while target.exists():
            target = second.with_name(f"{second.name}.{number}")
            number += 1
        opened.path.rename(target)
        self._digests.pop(opened.path, None)
        log.info(
            "file_done", connector=self.name, file=opened.place.file, lines=opened.place.line, moved_to=target.name
        )

    def _tell_odd(self) -> None:
        """Say once which files nobody will read."""
        with os.scandir(self._settings.inbox) as entries:
            odd = {
                entry.name
                for entry in entries
                if not entry.name.startswith(".")
                and not entry.name.endswith(".part")
                and entry.is_file()
                and not _is_ours(entry.name, self._settings)
            }
        for name in sorted(odd - self._odd):
            log.warning("file_not_read", connector=self.name, file=name, remedy="name it *.jsonl, or add a csv mapping")
        self._odd = odd


class _OpenFile:
    """One file while it is read. `place` is behind the last item that was taken."""

    def __init__(
        self,
        source: ImsSource,
        path: Path,
        handle: BufferedReader,
        stamp: _Stamp,
        place: Place,
        mapping: CsvSettings | None,
    ) -> None:
        self.path = path
        self.stamp = stamp
        self.size = stamp[1]
        self.place = place
        self._source = source
        self._handle = handle
        self._rows = _Rows(mapping) if mapping is not None else None
        if self._rows is not None and place.offset > 0:
            # The names of the columns stand at the beginning, wherever we go on.
            for line in self._lines(0, 0):
                if line.end > place.offset or self._rows.take_header(line):
                    break

    @property
    def is_read(self) -> bool:
        return self.place.offset >= self.size

    def close(self) -> None:
        self._handle.close()

    def items(self, observed_at: datetime) -> Iterator[tuple[Item | None, int]]:
        """What the lines are, one by one, and their bytes; None: an empty line, or the header."""
        for line in self._lines(self.place.offset, self.place.line):
            is_header = self._rows is not None and self._rows.header is None and self._rows.take_header(line)
            item = self._item(line, observed_at) if not is_header else None
            self.place = Place(self.place.file, self.place.digest, line.last, line.end)
            yield item, line.end - line.start

    def _item(self, line: "_Line", observed_at: datetime) -> Item | None:
        text = _without_bom(line)
        if not text.strip():
            return None
        event_type = self._rows.event if self._rows is not None else None
        try:
            if line.cut:
                raise LineError("invalid_event" if event_type else "unreadable", _TOO_LONG, event_type)  # noqa: TRY301 -- one way out
            if self._rows is not None:
                event_type, fields = self._rows.event, self._rows.fields(text)
            else:
                event_type, fields = parse(text)
            record = validate(event_type, fields, observed_at)
        except LineError as error:
            return self._refused(line, error)
        return translate(record, self._source.name, self._source.company, observed_at)

    def _refused(self, line: "_Line", error: LineError) -> RefusedRecord:
        names = ("event_id", "order_id", "sku", *_OTHER_IDENTITIES)
        ids = {name: _short(error.fields.get(name)) for name in names}
        other = next((ids[name] for name in _OTHER_IDENTITIES if ids[name]), None)
        return RefusedRecord(
            event_type=error.event_type,
            reason=error.reason,
            error=str(error),
            value=line.text,
            origin=self.place.file,
            digest=self.place.digest,
            number=line.first,
            event_id=ids["event_id"] or other,
            order_id=ids["order_id"],
            sku=ids["sku"],
        )

    def _lines(self, at: int, number: int) -> Iterator["_Line"]:
        """Lines (of a CSV file: rows) from an offset and behind a line, up to the size the file had when opened."""
        while at < self.size:
            line = self._line(at, number + 1)
            if self._rows is not None and not line.cut and self._rows.is_open(line.text):
                line = self._row(line, self._rows)
            at, number = line.end, line.last
            yield line

    def _line(self, start: int, number: int) -> "_Line":
        self._handle.seek(start)
        raw = self._handle.readline(MAX_LINE_BYTES + 2)
        end = start + len(raw)
        cut = len(raw.rstrip(b"\r\n")) > MAX_LINE_BYTES
        while raw and not raw.endswith(b"\n") and (rest := self._handle.readline(_CHUNK_BYTES)):
            end += len(rest)
            cut = cut or bool(rest.rstrip(b"\r\n"))
            if rest.endswith(b"\n"):
                break
        text = raw.rstrip(b"\r\n")[:MAX_LINE_BYTES] if cut else raw.removesuffix(b"\n").removesuffix(b"\r")
        return _Line(text, start, end if raw else self.size, number, number, cut)

    def _row(self, first: "_Line", rows: "_Rows") -> "_Line":
        """The row that begins with a line whose last cell is open; the line alone if it is never closed properly."""
        text, last = first.text, first
        for _ in range(MAX_ROW_LINES):
            if last.end >= self.size:
                break
            line = self._line(last.end, last.last + 1)
            between = _line_break(self._handle, last.end)
            text, last = text + between + line.text, line
            if line.cut or len(text) > MAX_LINE_BYTES:
                break
            if not rows.is_open(text):
                row = _Line(text, first.start, last.end, first.first, last.last, cut=False)
                # Another row's quote has closed the cell: rows must not vanish into one another.
                return row if rows.is_row(text) else first
        return first


_OTHER_IDENTITIES = ("shipment_id", "refund_id")
_TOO_LONG = f"the line has more than {MAX_LINE_BYTES} bytes, of which the letter has the first; split the event"


@dataclass(frozen=True, slots=True)
class _Line:
    """A line or row: its bytes without the line break, where it stands, and whether the end of it was cut off."""

    text: bytes
    start: int
    end: int
    first: int
    last: int
    cut: bool


class _Rows:
    """Rows of a CSV file to fields, by the mapping."""

    def __init__(self, mapping: CsvSettings) -> None:
        self.event = mapping.event
        self.header: list[str] | None = None
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.timezone) if mapping.timezone is not None else None

    def is_open(self, text: bytes) -> bool:
        """Whether the row's last cell is quoted and not closed."""
        if b'"' not in text:
            return False
        try:
            self._cells(text)
        except _OpenQuoteError:
            return True
        except LineError:
            return False
        return False

    def is_row(self, text: bytes) -> bool:
        try:
            self._cells(text)
        except (_OpenQuoteError, LineError):
            return False
        return True

    def take_header(self, line: _Line) -> bool:
        """Take the names of the columns from the first line that is not empty; whether it was that one."""
        text = _without_bom(line)
        if not text.strip():
            return False
        try:
            self.header = [cell.strip() for cell in self._cells(text)]
        except (_OpenQuoteError, LineError):
            self.header = []
        return True

    def fields(self, text: bytes) -> Mapping[str, object]:
        """The fields of a row, in the form that JSON has them.

        Raises:
            LineError: The row is no row of this file, or a cell is not in the mapping.
        """
        try:
            cells = self._cells(text)
        except _OpenQuoteError:
            raise LineError(
                "invalid_event", "a quote is never closed; mend the row at the source", self.event
            ) from None
        header = self.header or []
        if any(cell.strip() for cell in cells[len(header) :]):
            raise LineError(
                "invalid_event",
                f"the row has {len(cells)} cells, the header {len(header)}; quote cells that hold the delimiter",
                self.event,
            )
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        fields: dict[str, object] = {}
        faults: list[str] = []
        for field, column in self._mapping.columns.items():
            if column not in header:
                faults.append(f"{field}: the file has no column {column}; mend its header, or the mapping")
            elif cell := row.get(column, ""):
                try:
                    _put(fields, RECORDS[self.event], field, self._value(field, cell))
                except ValueError as error:
                    faults.append(f"{field} {error}")
        if faults:
            raise LineError("invalid_event", "; ".join(faults[:5]), self.event, fields)
        return fields

    def _cells(self, text: bytes) -> list[str]:
        try:
            decoded = text.decode(self._mapping.encoding)
        except UnicodeDecodeError:
            raise LineError(
                "invalid_event", f"the row is not {self._mapping.encoding}; mend the file, or the mapping", self.event
            ) from None
        if len(decoded.encode()) > MAX_LINE_BYTES:
            raise LineError("invalid_event", _TOO_LONG, self.event)
        rows = csv.reader([decoded], delimiter=self._mapping.delimiter, strict=True)
        try:
            return next(rows, [])
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise _OpenQuoteError from None
            raise LineError(
                "invalid_event", f"the row is not CSV ({error}); mend the row at the source", self.event
            ) from None

    def _value(self, field: str, cell: str) -> object:
        values = self._mapping.values.get(field)
        if values is not None:
            if cell not in values:
                raise ValueError("has a value that the mapping lacks; add it to the mapping, or mend it at the source")
            cell = values[cell]
        match field.rpartition(".")[2]:
            case "occurred_at":
                return self._moment(cell)
            case "restock" | "guest":
                return {"true": True, "false": False}.get(cell.lower(), cell)
            case _:
                return cell

    def _moment(self, cell: str) -> str:
        try:
            if self._mapping.time_format is not None:
                moment = datetime.strptime(cell, self._mapping.time_format)  # noqa: DTZ007 -- the zone is added below
            else:
                moment = datetime.fromisoformat(cell)
        except ValueError:
            raise ValueError(f"is not a time written as {self._mapping.time_format or 'ISO 8601'}") from None
        if moment.tzinfo is None and self._zone is not None:
            moment = moment.replace(tzinfo=self._zone)
        return moment.isoformat()


class _OpenQuoteError(Exception):
    """A row ends inside a quoted cell."""


def _put(fields: dict[str, object], record: type[BaseModel], path: str, value: object) -> None:
    """Put a value where its field belongs: `a`, `a.b`, or `lines.b` for the only line."""
    name, _, rest = path.partition(".")
    listed = is_list(record, name)
    inside = inner_record(record, name)
    if inside is None:
        fields[name] = [value] if listed else value
        return
    inner = fields.setdefault(name, [{}] if listed else {})
    first = inner[0] if isinstance(inner, list) else inner
    if isinstance(first, dict):
        _put(first, inside, rest, value)


def _without_bom(line: _Line) -> bytes:
    return line.text.removeprefix(_BOM) if line.start == 0 else line.text


def _short(value: object) -> str | None:
    """An identity for people to find the letter by; nothing that only might be one."""
    if isinstance(value, str) and 0 < len(value) <= MAX_IDENTITY_CHARS and value.isprintable():
        return str(value)
    return None


def _line_break(handle: BufferedReader, end: int) -> bytes:
    """The line break before an offset."""
    handle.seek(max(0, end - 2))
    tail = handle.read(min(2, end))
    return b"\r\n" if tail == b"\r\n" else b"\n"


def _stamp(stat: os.stat_result) -> _Stamp:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
