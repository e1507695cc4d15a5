"""Rows of a CSV file to fields, by a mapping."""

import csv
from collections.abc import Mapping

from pydantic import BaseModel

from connectors.ims.convert import Converter
from connectors.ims.records import RECORDS, LineError
from connectors.ims.settings import CsvSettings, inner_record, is_list


class Rows:
    """One file's rows. They are texts: whoever reads the file knows its encoding.

    Attributes:
        header: The names of the columns; None: not seen yet. Numbers, from 1, where no row names them.
        quote: What a line must have for a cell to be quoted.
        skips: There are lines that are none of a row.
    """

    def __init__(self, mapping: CsvSettings) -> None:
        self.event = mapping.event
        self.header: list[str] | None = None
        self.quote = mapping.quote.encode()
        self.skips = bool(mapping.comment or mapping.skip_lines)
        self._mapping = mapping
        self._columns = {field: str(column) for field, column in mapping.columns.items()}
        self._convert = Converter(mapping, tuple(mapping.columns))
        self._dialect = {
            "delimiter": mapping.delimiter,
            "quotechar": mapping.quote or None,
            "quoting": csv.QUOTE_MINIMAL if mapping.quote else csv.QUOTE_NONE,
        }
        if not mapping.header:
            self.header = [str(number) for number in range(1, 1 + max(map(int, self._columns.values())))]

    def is_skipped(self, number: int, text: str) -> bool:
        """Whether a line, by its number in the file, is none of a row."""
        comment = self._mapping.comment
        return number <= self._mapping.skip_lines or bool(comment and text.startswith(comment))

    def is_open(self, text: str) -> bool:
        """Whether the row's last cell is quoted and not closed."""
        if not self._mapping.quote or self._mapping.quote not in text:
            return False
        try:
            self._cells(text)
        except OpenQuoteError:
            return True
        except LineError:
            return False
        return False

    def is_row(self, text: str) -> bool:
        try:
            self._cells(text)
        except (OpenQuoteError, LineError):
            return False
        return True

    def take_header(self, text: str) -> bool:
        """Take the names of the columns from the first line that is not empty; whether it was that one."""
        if not text.strip():
            return False
        try:
            self.header = [cell.strip() for cell in self._cells(text)]
        except (OpenQuoteError, LineError):
            self.header = []
        return True

    def fields(self, text: str) -> Mapping[str, object]:
        """The fields of a row, in the form that JSON lines have them.

        Raises:
            LineError: The row is no row of this file, or a cell is not in the mapping.
        """
        try:
            cells = self._cells(text)
        except OpenQuoteError:
            raise LineError(
                "invalid_event", "a quote is never closed; mend the row at the source", self.event
            ) from None
        header = self.header or []
        if self._mapping.header and any(cell.strip() for cell in cells[len(header) :]):
            raise LineError(
                "invalid_event",
                f"the row has {len(cells)} cells, the header {len(header)}; quote cells that hold the delimiter",
                self.event,
            )
        row = {name: cell.strip() for name, cell in zip(header, cells, strict=False)}
        fields: dict[str, object] = {}
        faults: list[str] = []
        for field, column in self._columns.items():
            if column not in header:
                faults.append(f"{field}: the file has no column {column}; mend its header, or the mapping")
            elif cell := row.get(column, ""):
                try:
                    _put(fields, RECORDS[self.event], field, self._convert.text(field, cell))
                except ValueError as error:
                    faults.append(f"{field} {error}")
        if faults:
            raise LineError("invalid_event", "; ".join(faults[:5]), self.event, fields)
        return fields

    def _cells(self, text: str) -> list[str]:
        rows = csv.reader([text], strict=True, **self._dialect)  # type: ignore[arg-type]  # typeshed wants each by name
        try:
            return next(rows, [])
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise OpenQuoteError from None
            raise LineError(
                "invalid_event", f"the row is not CSV ({error}); mend the row at the source", self.event
            ) from None


class OpenQuoteError(Exception):
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
