"""Reads a CSV file whose rows cannot be judged one by one: several are one event, or no two may be of one level."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from connectors.base.source import Item
from connectors.base.values import MAX_NAMED_PROBLEMS
from connectors.ims.errors import LineError
from connectors.ims.inboxes.inbox import File
from connectors.ims.line_reader import NO_HEADER, CsvFile
from connectors.ims.lines import MAX_LINE_BYTES, FileLine
from connectors.ims.mappings import CsvSettings
from connectors.ims.reader import TOO_LONG, FilePosition, FileReader, ImsContext, ReadStep, refused
from connectors.ims.records import validate
from connectors.ims.translate import translate

#: Of each event, where its rows are in the file is held in memory: about 400 bytes.
MAX_GROUPS = 300_000


@dataclass(frozen=True, slots=True)
class _RowSpan:
    """Where a row is: its bytes, and the number of its first line."""

    start: int
    end: int
    first: int


@dataclass(slots=True)
class _Group:
    """The rows of one event, or one row that cannot be read.

    Attributes:
        rows: In the file's order.
        problem: Why the event is refused, whatever its rows say; None: they decide.
    """

    rows: list[_RowSpan] = field(default_factory=list)
    problem: LineError | None = None


class GroupReader(FileReader):
    """See `Reader`. The file is looked through once to see which rows belong together, then read event by event."""

    def __init__(self, file: File, position: FilePosition, mapping: CsvSettings) -> None:
        super().__init__(file, position)
        self._mapping = mapping
        self._csv = CsvFile(file, mapping)
        self._groups: list[_Group] | None = None
        self._problem: str | None = self._csv.scanner.problem

    def steps(self, context: ImsContext) -> Iterator[ReadStep]:
        event = self._mapping.event
        if self.is_read:
            return
        if self._groups is None and self._problem is None:
            self._groups = self._find_groups()
        if self._problem is not None or self._groups is None:
            reason = "unreadable" if self._csv.scanner.problem is not None else "invalid_event"
            yield self.refuse_file(reason, self._problem or "", event)
            return
        last = len(self._groups)
        for number in range(self.position.line + 1, last + 1):
            group = self._groups[number - 1]
            item = self._item(group, context)
            self.position = replace(self.position, line=number, offset=self.file.size if number == last else 0)
            yield ReadStep(item, group.rows[0].first, sum(row.end - row.start for row in group.rows))
        if not last:
            self.position = replace(self.position, offset=self.file.size)

    # ---- which rows belong together

    def _find_groups(self) -> list[_Group]:
        """The events of the file in the order of their first rows; sets `_problem` where there can be none."""
        csv = self._csv
        found: list[_Group] = []
        by_key: dict[tuple[str, ...], _Group] = {}
        before: _Group | None = None
        unread: int | None = None
        has_text = False
        for line in csv.lines(0, 0):
            if not line.text or csv.is_skipped(line) or (csv.rows.header is None and csv.take_header(line)):
                has_text = has_text or bool(line.text)
                continue
            span = _RowSpan(line.start, line.end, line.first)
            try:
                text = csv.text(line)
                if not text.strip():
                    continue
                key = self._key(line, text)
            except LineError as error:
                found.append(_Group([span], error))
                self._doubt(before, line.first)
                unread = line.first
                continue
            group = by_key.get(key)
            if group is None:
                group = by_key[key] = _Group()
                found.append(group)
            elif group is not before and not self._mapping.group_apart and self._mapping.group_by:
                group.problem = group.problem or self._refusal(
                    f"the rows of this event are apart in the file (one begins at line {line.first}); write them one "
                    "after another, or set group_apart = true if they are one event"
                )
            group.rows.append(span)
            self._doubt(group if unread is not None else None, unread or 0)
            before, unread = group, None
            if csv.rows.header_problem is not None or len(by_key) > MAX_GROUPS:
                break
        self._problem = csv.rows.header_problem or (NO_HEADER if csv.rows.header is None and has_text else None)
        if len(by_key) > MAX_GROUPS:
            self._problem = (
                f"the file has more than {MAX_GROUPS} events whose rows must be compared; split it at the source"
            )
        if not self._mapping.group_by:
            self._refuse_repeated_levels(by_key.values())
        return found

    def _key(self, line: FileLine, text: str) -> tuple[str, ...]:
        rows = self._csv.rows
        return rows.key(text) if self._mapping.group_by else rows.place_of(line.first, text)

    def _doubt(self, group: _Group | None, line: int) -> None:
        """Refuse an event that a row beside it, which cannot be read, may belong to."""
        if group is not None and group.problem is None and self._mapping.group_by:
            group.problem = self._refusal(
                f"the row at line {line} beside it cannot be read and may be one of this event; fix that row at the "
                "source"
            )

    def _refuse_repeated_levels(self, groups: Iterable[_Group]) -> None:
        """Two levels of one sku and location at one time contradict each other, or are parts of a sum: nobody knows."""
        for group in groups:
            if len(group.rows) > 1:
                lines = ", ".join(str(row.first) for row in group.rows[:MAX_NAMED_PROBLEMS])
                group.problem = self._refusal(
                    f"the file has several levels of this sku and location (lines {lines}); write one row for each, "
                    "with "
                    "the sum where they are parts of one"
                )

    def _refusal(self, text: str) -> LineError:
        return LineError("invalid_event", text, self._mapping.event)

    # ---- an event

    def _item(self, group: _Group, context: ImsContext) -> Item:
        event, rows = self._mapping.event, group.rows
        value = b"\n".join(self._csv.scanner.read(row.start, row.end) for row in rows)
        try:
            if group.problem is not None:
                raise group.problem
            if len(value) > MAX_LINE_BYTES:
                raise LineError("invalid_event", TOO_LONG, event)  # noqa: TRY301 -- one way out
            fields = self._csv.rows.fields([(row.first, self._text(row)) for row in rows])
            return translate(validate(event, fields, context.observed_at), context)
        except LineError as error:
            return refused(error, value[:MAX_LINE_BYTES], self.position, group.rows[0].first, event_type=event)

    def _text(self, row: _RowSpan) -> str:
        raw = self._csv.scanner.read(row.start, row.end)
        return self._csv.text(FileLine(raw, row.start, row.end, row.first, row.first, cut=False))
