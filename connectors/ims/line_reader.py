"""Reads JSON lines and rows of CSV, one event each."""

from collections.abc import Iterator
from dataclasses import replace

from connectors.base.source import Item
from connectors.ims.errors import LineError
from connectors.ims.inboxes.inbox import File
from connectors.ims.json_lines import parse
from connectors.ims.lines import MAX_LINE_BYTES, FileLine, LineScanner
from connectors.ims.mappings import CsvSettings
from connectors.ims.reader import TOO_LONG, FilePosition, FileReader, ImsContext, ReadStep, refused
from connectors.ims.records import validate
from connectors.ims.rows import CsvRows
from connectors.ims.translate import translate

NO_HEADER = "the file has no header; see that skip_lines and comment are right, or write header = false"


class LineReader(FileReader):
    """See `Reader`: JSON lines, in UTF-8 or what the file's mark says."""

    def __init__(self, file: File, position: FilePosition) -> None:
        super().__init__(file, position)
        self._scanner = LineScanner(file, "utf-8")

    def steps(self, context: ImsContext) -> Iterator[ReadStep]:
        if self._scanner.problem is not None and not self.is_read:
            yield self.refuse_file("unreadable", self._scanner.problem, None)
            return
        for line in self._scanner.lines(self.position.offset, self.position.line):
            item = self._item(line, context)
            self.position = replace(self.position, line=line.last, offset=line.end)
            yield ReadStep(item, line.first, line.end - line.start)

    def _item(self, line: FileLine, context: ImsContext) -> Item | None:
        raw = self._scanner.bytes_of(line)
        if not raw.strip() or (self._scanner.encoding.unit > 1 and not self._scanner.some_text(line).strip()):
            return None
        try:
            if line.cut:
                raise LineError("unreadable", TOO_LONG)  # noqa: TRY301 -- one way out
            record = validate(*parse(raw, self._scanner.encoding.codec), context.observed_at)
        except LineError as error:
            return refused(error, line.text, self.position, line.first)
        return translate(record, context)


class CsvFile:
    """A CSV file's lines and what they mean; what the readers of its rows share."""

    def __init__(self, file: File, mapping: CsvSettings) -> None:
        self.scanner = LineScanner(file, mapping.encoding)
        self.rows = CsvRows(mapping, file)

    def is_skipped(self, line: FileLine) -> bool:
        return self.rows.skips and self.rows.is_skipped(line.first, self.scanner.some_text(line))

    def take_header(self, line: FileLine) -> bool:
        """Whether a line is the header; its names are known then."""
        return not self.is_skipped(line) and self.rows.take_header(self.scanner.some_text(line))

    def lines(self, at: int, number: int) -> Iterator[FileLine]:
        return self.scanner.rows(at, number, self.rows, self.is_skipped)

    def text(self, line: FileLine) -> str:
        """A row as text.

        Raises:
            LineError: It cannot be read.
        """
        if line.cut:
            raise LineError("invalid_event", TOO_LONG, self.rows.event)
        encoding = self.scanner.encoding
        if encoding.is_other(line.text):
            raise LineError(
                "invalid_event",
                f"the row is UTF-8, which {encoding.codec} would read as other characters; fix the mapping's encoding",
                self.rows.event,
            )
        try:
            text = self.scanner.bytes_of(line).decode(encoding.codec)
        except UnicodeDecodeError:
            raise LineError(
                "invalid_event", f"the row is not {encoding.codec}; fix the file, or the mapping", self.rows.event
            ) from None
        if encoding.codec != "utf-8" and len(text.encode(errors="surrogatepass")) > MAX_LINE_BYTES:
            raise LineError("invalid_event", TOO_LONG, self.rows.event)
        return text


class RowReader(FileReader):
    """See `Reader`: CSV by a mapping, each row an event."""

    def __init__(self, file: File, position: FilePosition, mapping: CsvSettings) -> None:
        super().__init__(file, position)
        self._csv = CsvFile(file, mapping)
        self._has_rows = not mapping.header
        self._has_text = False
        # The names of the columns stand at the beginning, wherever we go on; what is decided at the end depends on
        # them.
        for line in self._csv.lines(0, 0) if position.offset > 0 and mapping.header else ():
            if line.end > position.offset or self._has_rows:
                break
            self._look_at(line)

    def steps(self, context: ImsContext) -> Iterator[ReadStep]:
        csv, event = self._csv, self._csv.rows.event
        if self.is_read:
            return
        if csv.scanner.problem is not None:
            yield self.refuse_file("unreadable", csv.scanner.problem, event)
            return
        for line in csv.lines(self.position.offset, self.position.line):
            is_row = self._look_at(line)
            if line.end >= self.file.size or csv.rows.is_foreign:
                problem = NO_HEADER if csv.rows.header is None and self._has_text else csv.rows.header_problem
                if problem is not None and not self._has_rows:
                    yield self.refuse_file("invalid_event", problem, event)
                    return
            item = self._item(line, context) if is_row else None
            self.position = replace(self.position, line=line.last, offset=line.end)
            yield ReadStep(item, line.first, line.end - line.start)

    def _look_at(self, line: FileLine) -> bool:
        """Whether a line is a row; the header is taken when it comes."""
        csv = self._csv
        if self._csv.rows.header is None:
            self._has_text = self._has_text or bool(csv.scanner.some_text(line).strip())
        if not line.text or csv.is_skipped(line) or (csv.rows.header is None and csv.take_header(line)):
            return False
        is_row = bool(csv.scanner.some_text(line).strip())
        self._has_rows = self._has_rows or is_row
        return is_row

    def _item(self, line: FileLine, context: ImsContext) -> Item | None:
        csv = self._csv
        try:
            text = csv.text(line)
            if not text.strip():
                return None
            fields = csv.rows.fields([(line.first, text)])
            return translate(validate(csv.rows.event, fields, context.observed_at), context)
        except LineError as error:
            return refused(error, line.text, self.position, line.first)
