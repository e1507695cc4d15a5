"""What an event that reuses an identity says otherwise than the first: whoever decides which one stands must know."""

from contextlib import aclosing

from connectors.base.errors import LogError
from schemas.codec import Codec, CodecError
from schemas.events import OrderEvent, differing_fields
from schemas.records import StockBatch
from streams.chain.keys import event_key
from streams.kafka.log import Log
from streams.posting.in_flight import KINDS, InFlightPosting

_SHOWN = 5


class FirstEvents:
    """Reads what came first under an identity, where its fact is still kept."""

    def __init__(self, log: Log, codec: Codec) -> None:
        self._log, self._codec = log, codec

    async def difference(self, work: InFlightPosting, origin: str) -> str:
        """What to tell a person; `origin` is that of the first (`in_flight.origin_of`). No values, no personal data."""
        place = origin.partition(" ")[2]
        first = await self._first(work, place)
        if first is None or isinstance(work.event, StockBatch):
            return f"the first is of {place or origin}, where it can no longer be compared"
        names = differing_fields(first, work.event)
        shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        return f"it differs from {place} in {shown or 'what a person has corrected since'}"

    async def _first(self, work: InFlightPosting, place: str) -> OrderEvent | None:
        try:
            topic, where, offset = place.rsplit("/", 2)
            partition, at = int(where.partition(".")[0]), int(offset)
            start, end = await self._log.bounds(topic, partition)
            if not start <= at < end:
                return None
            async with aclosing(self._log.read(topic, partition, at, at + 1)) as batches:
                async for records in batches:
                    for record in records:
                        event: OrderEvent = self._codec.decode(record.value or b"", KINDS[work.posting.kind])
                        # The place may be one of another log by now
                        return event if event_key(event) == work.k else None
        except (ValueError, CodecError, LogError):
            return None
        return None
