"""Reads a JSON document, record by record."""

import json
from collections.abc import Iterator
from dataclasses import replace

from connectors.base.source import Item
from connectors.ims.documents import JsonDocument
from connectors.ims.errors import LineError
from connectors.ims.inboxes.inbox import File
from connectors.ims.lines import MAX_LINE_BYTES
from connectors.ims.mappings import JsonSettings
from connectors.ims.reader import FilePosition, FileReader, ImsContext, ReadStep, refused
from connectors.ims.records import validate
from connectors.ims.translate import translate


class DocumentReader(FileReader):
    """See `Reader`. A document is read whole, and bounded; one that cannot be read is one refused record."""

    def __init__(self, file: File, position: FilePosition, mapping: JsonSettings) -> None:
        super().__init__(file, position)
        self._mapping = mapping
        self._document: JsonDocument | None = None

    def steps(self, context: ImsContext) -> Iterator[ReadStep]:
        if self._document is None:
            self.file.handle.seek(0)
            body = self.file.handle.read(min(self.file.size, self._mapping.max_bytes + 1))
            try:
                self._document = self._read(body)
            except LineError as error:
                self.position = replace(self.position, offset=self.file.size)
                yield ReadStep(refused(error, body[:MAX_LINE_BYTES], self.position, 0), 0, len(body))
                return
        document = self._document
        last = len(document.records)
        size = self.file.size // max(1, last)
        for number in range(self.position.line + 1, last + 1):
            item = self._item(document, document.records[number - 1], number, context)
            self.position = replace(self.position, line=number, offset=self.file.size if number == last else 0)
            yield ReadStep(item, number, size)
        if not last:
            self.position = replace(self.position, offset=self.file.size)

    def _read(self, body: bytes) -> JsonDocument:
        limit = self._mapping.max_bytes
        if len(body) > limit:
            raise LineError(
                "invalid_event",
                f"the document has more than {limit} bytes, of which the dead letter has the first; "
                "split it at the source, or raise max_bytes",
                self._mapping.event,
            )
        return JsonDocument(body, self._mapping)

    def _item(self, document: JsonDocument, record: object, number: int, context: ImsContext) -> Item:
        event = self._mapping.event
        try:
            fields = document.fields(record)
            if len(json.dumps(fields, default=str)) > MAX_LINE_BYTES:
                raise LineError(  # noqa: TRY301 -- one way out
                    "invalid_event",
                    f"the record has more than {MAX_LINE_BYTES} bytes, of which the dead letter has the first; split "
                    "the event",
                    event,
                    fields,
                )
            checked = validate(event, fields, context.observed_at)
        except LineError as error:
            value = document.bytes_of(record)[:MAX_LINE_BYTES]
            return refused(error, value, self.position, number, event_type=event)
        return translate(checked, context)
