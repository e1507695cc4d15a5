"""Reads the past of a Veeqo account: the walk over orders, once, with an end and without a memory of orders."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.errors import RecordError
from connectors.base.log import milliseconds
from connectors.base.source import BackfillBatch, Item, TimeRange
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.memory import REST, WALK, Memory, ReportedOrder
from connectors.veeqo.orders import order_items
from connectors.veeqo.reading import Reading
from connectors.veeqo.records import VeeqoOrderHead, validate
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.walk import walk
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced

#: The zone of Veeqo's filters is not documented; an order's own times say what is of the time range.
_DOUBT = timedelta(hours=2)


@dataclass(slots=True)
class _PageTally:
    """What a page had."""

    records: int = 0
    already_past: int = 0
    oldest: datetime | None = None


class VeeqoBackfill:
    """An account's past as a `BackfillSource`: what happened to orders in a time range, whenever they were placed.

    Orders come newest first, those that were created before the end of the range and changed since its beginning.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        span: The time range that is read.
        live: The live source's cursor: what it remembers to have reported is left out.
        transport: For tests: an app in place of the network.
    """

    def __init__(
        self,
        name: str,
        settings: VeeqoSettings,
        clock: Clock,
        span: TimeRange,
        live: str | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name, self.company = name, settings.company
        self._settings, self._clock, self._range = settings, clock, span
        self._client = VeeqoClient(settings, clock, transport)
        self._reported: Mapping[str, ReportedOrder] = Memory.from_text(live).orders

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One page of orders."""
        memory = Memory.from_text(cursor) if cursor is not None else self._beginning()
        if memory.phase != WALK or not {"orders", "dispatches"} & set(self._settings.reads):
            return BackfillBatch((), cursor, idle=True, part=1.0)
        reading = Reading(memory, EventContext(self.name, self.company, self._settings, self._clock.now()))
        page = _PageTally()
        items, ended = await walk(self._client, reading, lambda row: self._items(reading, page, row))
        if ended:
            memory.phase = REST
        # Every order is met once, and what its shipments took from the shelf the live source accounts for.
        memory.orders.clear()
        memory.counts.clear()
        part = 1 - self._range.part(page.oldest) if page.oldest is not None else None
        return BackfillBatch(
            tuple(items),
            memory.to_text(),
            records=page.records,
            already_past=page.already_past,
            reached=page.oldest,
            part=part,
        )

    def _beginning(self) -> Memory:
        since_ms, before_ms = milliseconds(self._range.since), milliseconds(self._range.until + _DOUBT)
        reach_ms = int(_DOUBT.total_seconds() * 1000)
        return Memory(phase=WALK, since_ms=since_ms, reach_ms=reach_ms, before_ms=before_ms)

    def _items(self, reading: Reading, page: _PageTally, row: object) -> list[Item]:
        page.records += 1
        try:
            created_at = validate(VeeqoOrderHead, row).created_at
            page.oldest = min(page.oldest or created_at, created_at)
        except RecordError:
            pass  # its dead letter says what it lacks
        items = [item for item in order_items(reading, row) if self._range.holds(item)]
        new = [item for item in items if not self._was_reported(item)]
        page.already_past += len(items) - len(new)
        return new

    def _was_reported(self, item: Item) -> bool:
        match item:
            case OrderPlaced():
                state = self._reported.get(item.order_id)
                return state is not None and bool(state.placed)
            case OrderCancelled():
                state = self._reported.get(item.order_id)
                return state is not None and state.cancelled
            case DispatchConfirmed():
                return any(item.shipment_id in state.shipments for state in self._reported.values())
            case _:
                return False
