"""The event in the bytes of a dead letter. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from connectors.base.context import EventContext
from connectors.base.dead_letters import NOT_KAFKA
from connectors.base.log import Record
from connectors.base.source import StockLevel
from connectors.ims import json_lines, records
from connectors.ims.errors import LineError
from connectors.ims.translate import translate
from schemas.codec import Codec, CodecError
from schemas.events import EVENT_TYPES, FactEvent
from schemas.letter_bounds import is_cut
from schemas.records import DeadLetterState, StockBatch

_TYPES: tuple[type[Any], ...] = (*EVENT_TYPES.values(), StockBatch)


class PayloadError(Exception):
    """The bytes hold no event that could be posted; the text says what to do."""


@dataclass(frozen=True, slots=True)
class PayloadReader:
    """Reads what dead letters keep.

    Attributes:
        companies: Of each configured connector.
    """

    codec: Codec
    companies: Mapping[str, str]

    def event_of(self, letter: DeadLetterState, record: Record | None, now: datetime) -> FactEvent | StockBatch:
        """The event that a dead letter's bytes hold.

        What a connector could not take is a line of JSON in the form of files, as it came or as somebody has corrected
        it.

        Raises:
            PayloadError: There is none.
        """
        if record is None:
            raise PayloadError("its bytes are gone; let the source send it again, then discard this")
        if is_cut(record.headers):
            raise PayloadError("it was too long, and only its beginning is kept; let the source send it in parts")
        value = record.value or b""
        try:
            found: FactEvent | StockBatch = self.codec.decode(value, _TYPES)
        except CodecError as error:
            if letter.partition != NOT_KAFKA:
                raise PayloadError(f"{error}; correct it with streams dlq edit, or discard it") from None
        else:
            return found
        return self._of_line(value, letter, now)

    def _of_line(self, value: bytes, letter: DeadLetterState, now: datetime) -> FactEvent:
        source = letter.source or ""
        company = self.companies.get(source)
        if company is None:
            raise PayloadError(f"connector {source!r} is not in the configuration any more")
        try:
            record = records.validate(*json_lines.parse(value), now)
        except LineError as error:
            raise PayloadError(f"{error}; correct it with streams dlq edit, or discard it") from None
        event = translate(record, EventContext(source, company, None, now))
        if isinstance(event, StockLevel):
            raise PayloadError("a level is settled by its connector's next reading; discard it")
        return event
