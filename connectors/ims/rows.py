"""Rows of a CSV file to fields, by a mapping."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from string import Formatter

from pydantic import BaseModel

from connectors.base.validate import IDENTITIES
from connectors.base.values import MAX_NAMED_PROBLEMS
from connectors.ims.convert import Converter
from connectors.ims.errors import LineError
from connectors.ims.fields import inner_record, is_list
from connectors.ims.inboxes.inbox import File
from connectors.ims.mappings import CsvSettings
from connectors.ims.records import RECORDS
from connectors.ims.values import is_invisible


class CsvRows:
    """One file's rows. They are texts: whoever reads the file knows its encoding.

    Attributes:
        header: The names of the columns; None: not seen yet. Numbers, from 1, where no row names them.
        header_problem: Why no row of this file can be taken; None: the header is as the mapping wants it.
        is_foreign: The header names no column of the mapping at all: the file is another one than we think.
        quote: What a line must have for a cell to be quoted.
        skips: There are lines that are none of a row.
    """

    def __init__(self, mapping: CsvSettings, file: File) -> None:
        self.event = mapping.event
        self.header: list[str] | None = None
        self.header_problem: str | None = None
        self.is_foreign = False
        self.quote = mapping.quote.encode()
        self.skips = bool(mapping.comment or mapping.skip_lines)
        self._mapping = mapping
        self._record = RECORDS[mapping.event]
        self._columns = {field: column_name(str(column)) for field, column in mapping.columns.items()}
        self._keys = tuple(column_name(str(column)) for column in mapping.group_by)
        self._convert = Converter(mapping, (*mapping.columns, *mapping.templates))
        self._templates = Templates(mapping, file, self._convert)
        self._dialect = {
            "delimiter": mapping.delimiter,
            "quotechar": mapping.quote or None,
            "quoting": csv.QUOTE_MINIMAL if mapping.quote else csv.QUOTE_NONE,
            # A blank between the delimiter and a quote is none of the cell; blanks around cells are taken off anyway.
            "skipinitialspace": mapping.delimiter != " ",
        }
        quote, delimiter = re.escape(mapping.quote), re.escape(mapping.delimiter)
        lead = "" if mapping.delimiter == " " else " *"
        quoted = f"({quote}(?:[^{quote}]|{quote}{quote})*{quote})|" if quote else ""
        self._cell = re.compile(f"{lead}(?:{quoted}[^{delimiter}]*)", re.DOTALL)
        if not mapping.header:
            numbers = [*map(int, self._columns.values()), *map(int, self._keys)]
            self.header = [str(number) for number in range(1, 1 + max(numbers, default=1))]

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

    # ---- the header

    def take_header(self, text: str) -> bool:
        """Take the names of the columns from the first line that is not empty; whether it was that one."""
        if not text.strip():
            return False
        try:
            self.header = [column_name(cell) for cell in self._cells(text)]
        except (OpenQuoteError, LineError):
            self.header = []
        self._judge_header(self.header)
        return True

    def _judge_header(self, header: Sequence[str]) -> None:
        wanted = [*self._columns.values(), *self._keys]
        twice = [name for name, count in Counter(header).items() if name and count > 1]
        missing = sorted({name for name in wanted if name not in header})
        self.is_foreign = bool(wanted) and not set(wanted) & set(header)
        if twice:
            self.header_problem = (
                f"the header has {', '.join(twice)} twice; give each column a name of its own, or write header = false "
                "with skip_lines and the columns' numbers"
            )
        elif self.is_foreign:
            self.header_problem = (
                f"the header names none of the mapping's columns ({', '.join(missing)}); see that the file is the one "
                "that "
                "the mapping is for, and that delimiter, encoding and skip_lines are right"
            )
        elif missing:
            self.header_problem = f"the file has no column {', '.join(missing)}; fix its header, or the mapping"

    # ---- rows

    def key(self, text: str) -> tuple[str, ...]:
        """What says which event a row belongs to: the cells of `group_by`.

        Raises:
            LineError: The row cannot be read, or all of them are empty.
        """
        row = {name: cell for name, (cell, _) in self._row(text).items()}
        key = tuple(row.get(column, "") for column in self._keys)
        if not any(key):
            raise LineError(
                "invalid_event", f"the row has nothing in {', '.join(self._keys)}, which group_by names", self.event
            )
        return key

    def place_of(self, number: int, text: str) -> tuple[str, str]:
        """The sku and the location of a level.

        Raises:
            LineError: The row cannot be read.
        """
        fields = self.fields([(number, text)])
        return str(fields.get("sku")), str(fields.get("location"))

    def fields(self, rows: Sequence[tuple[int, str]]) -> Mapping[str, object]:
        """The fields of an event, in the form that JSON lines have them.

        Args:
            rows: The number of the first line and the text of each row of the event, in the file's order.

        Raises:
            LineError: A row is no row of this file, or a cell is not in the mapping.
        """
        if self.header_problem is not None:
            raise LineError("invalid_event", self.header_problem, self.event)
        cells = [(number, self._row(text)) for number, text in rows]
        found: dict[str, object] = {}
        problems: list[str] = []
        for field, column in self._columns.items():
            if not field.startswith("lines."):
                self._take(found, field, column, cells, problems)
        for field, value in self._templates.values(rows[0][0], problems, inside_lines=False):
            _put(found, self._record, field, value)
        lines = [self._line(number, row, problems) for number, row in cells]
        if any(lines):
            found["lines"] = [line for line in lines if line]
        if problems:
            unique = list(dict.fromkeys(problems))
            raise LineError("invalid_event", "; ".join(unique[:MAX_NAMED_PROBLEMS]), self.event, found)
        return found

    def _take(
        self,
        found: dict[str, object],
        field: str,
        column: str,
        rows: Sequence[tuple[int, "_Row"]],
        problems: list[str],
    ) -> None:
        """Take a field that all rows of the event share; of a list, what each of them adds."""
        cells = [row.get(column, _EMPTY) for _, row in rows]
        texts = list(dict.fromkeys(text for text, _ in cells if text))
        if not texts:
            return
        try:
            self._check_quotes(field, cells)
            if is_list(self._record, field):
                found[field] = [self._convert.text(field, text) for text in texts]
            elif len(texts) > 1:
                problems.append(f"{field}: the rows of the event differ in {column}; fix them, or take it from lines")
            else:
                _put(found, self._record, field, self._convert.text(field, texts[0]))
        except ValueError as error:
            problems.append(f"{field} {error}")

    def _line(self, number: int, row: "_Row", problems: list[str]) -> dict[str, object]:
        """What a row adds to the event's lines; empty: nothing."""
        record = inner_record(self._record, "lines")
        if record is None:
            return {}
        line: dict[str, object] = {}
        for field, column in self._columns.items():
            if field.startswith("lines.") and (cell := row.get(column, _EMPTY))[0]:
                try:
                    self._check_quotes(field, [cell])
                    _put(line, record, field.partition(".")[2], self._convert.text(field, cell[0]))
                except ValueError as error:
                    problems.append(f"{field} {error}")
        if line:
            for field, value in self._templates.values(number, problems, inside_lines=True):
                _put(line, record, field.partition(".")[2], value)
        return line

    def _check_quotes(self, field: str, cells: Sequence[tuple[str, bool]]) -> None:
        quote = self._mapping.quote
        if not quote or all(quote not in text or is_quoted for text, is_quoted in cells):
            return
        if field.rpartition(".")[2] in IDENTITIES or field == "tracking_numbers":
            raise ValueError("has a quote mark in a cell that is not quoted; quote the whole cell and double the mark")

    def _row(self, text: str) -> "_Row":
        """The cells of a row by their column, without what surrounds them; and whether they were quoted."""
        try:
            cells = self._cells(text)
        except OpenQuoteError:
            raise LineError("invalid_event", "a quote is never closed; fix the row at the source", self.event) from None
        header = self.header or []
        if self._mapping.header and any(cell.strip() for cell in cells[len(header) :]):
            raise LineError(
                "invalid_event",
                f"the row has {len(cells)} cells, the header {len(header)}; quote cells that hold the delimiter",
                self.event,
            )
        quoted = self._quoted(text) if self._mapping.quote and self._mapping.quote in text else ()
        found: _Row = {}
        for position, (name, cell) in enumerate(zip(header, cells, strict=False)):
            is_quoted = position < len(quoted) and quoted[position]
            stripped = cell.strip()
            if quoted and not is_quoted and _without_lead(stripped).startswith(self._mapping.quote):
                raise LineError(
                    "invalid_event",
                    f"cell {position + 1} has a quote behind a character that is not seen; fix the row at the source",
                    self.event,
                )
            found[name] = stripped, is_quoted
        return found

    def _quoted(self, text: str) -> list[bool]:
        """Which cells of a row are quoted; of a row that `_cells` can read."""
        found: list[bool] = []
        at = 0
        while at <= len(text):
            match = self._cell.match(text, at)
            if match is None:
                break
            found.append(match[1] is not None)
            at = match.end() + 1
        return found

    def _cells(self, text: str) -> list[str]:
        rows = csv.reader([text], strict=True, **self._dialect)  # type: ignore[arg-type]  # typeshed wants each by name
        try:
            return next(rows, [])
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise OpenQuoteError from None
            raise LineError(
                "invalid_event", f"the row is not CSV ({error}); fix the row at the source", self.event
            ) from None


#: Cells by their column: the text, and whether it was quoted.
_Row = dict[str, tuple[str, bool]]
_EMPTY = ("", False)


class Templates:
    """The values of a mapping that are the file's, not the row's."""

    def __init__(self, mapping: CsvSettings, file: File, convert: Converter) -> None:
        self._templates = {field: list(Formatter().parse(template)) for field, template in mapping.templates.items()}
        self._convert = convert
        parts = _name_parts(mapping.files, file.name) if mapping.templates else ()
        self._facts: dict[str, str | None] = {
            "file": file.name,
            "digest": file.digest[:12],
            "modified": file.modified.isoformat() if file.modified is not None else None,
            "modified_ms": str(int(file.modified.timestamp() * 1000)) if file.modified is not None else None,
            **{str(number): part for number, part in enumerate(parts, 1)},
        }

    def values(self, row: int, problems: list[str], *, inside_lines: bool) -> Iterator[tuple[str, object]]:
        """The fields that have a template, and their values.

        Args:
            row: The number of the row's first line.
            problems: What cannot be said is added here.
            inside_lines: Those below `lines`; else the others.
        """
        for field, pieces in self._templates.items():
            if field.startswith("lines.") != inside_lines:
                continue
            names = [name for _, name, _, _ in pieces if name is not None]
            unknown = [name for name in names if name != "row" and self._facts.get(name) is None]
            if unknown:
                problems.append(f"{field}: the inbox does not say {unknown[0]} of the file; take it from a column")
                continue
            text = "".join(
                literal + ("" if name is None else str(row) if name == "row" else self._facts[name] or "")
                for literal, name, _, _ in pieces
            )
            try:
                is_plain = not names or names == ["modified"]
                yield field, (self._convert.constant(field, text) if is_plain else self._convert.text(field, text))
            except ValueError as error:
                problems.append(f"{field} {error}")


class OpenQuoteError(Exception):
    """A row ends inside a quoted cell."""


def column_name(text: str) -> str:
    """The name of a column: nothing that is not seen around it, and one blank for each white space inside."""
    start, end = 0, len(text)
    while start < end and (text[start].isspace() or is_invisible(text[start])):
        start += 1
    while end > start and (text[end - 1].isspace() or is_invisible(text[end - 1])):
        end -= 1
    return " ".join(text[start:end].split())


def _without_lead(text: str) -> str:
    start = 0
    while start < len(text) and (text[start].isspace() or is_invisible(text[start])):
        start += 1
    return text[start:]


def _name_parts(pattern: str, name: str) -> tuple[str, ...]:
    """What the `*` of a pattern as `fnmatch` has it stand for in a name that it matches."""
    text, at = "", 0
    while at < len(pattern):
        character = pattern[at]
        at += 1
        end = pattern.find("]", at + 1 + (pattern[at : at + 1] == "!")) if character == "[" else -1
        if character == "*":
            text += "(.*?)"
        elif character == "?":
            text += "."
        elif end >= 0:
            inside = pattern[at:end].replace("\\", "\\\\")
            text += f"[{'^' + inside[1:] if inside.startswith('!') else inside}]"
            at = end + 1
        else:
            text += re.escape(character)
    found = re.fullmatch(text, name, re.DOTALL)
    return found.groups() if found is not None else ()


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
