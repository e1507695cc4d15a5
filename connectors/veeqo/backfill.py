"""Reads a span of a Veeqo account: the live source's walk over orders, once, with an end and without a memory of orders."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import RecordError
from connectors.base.source import BackfillBatch, Item, TimeRange
from connectors.veeqo.memory import WALK, Memory, Told
from connectors.veeqo.records import OrderHead, validate
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.source import VeeqoSource
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced

#: The zone of Veeqo's filters is not documented; an order's own times say what is of the span.
_DOUBT = timedelta(hours=2)


@dataclass(slots=True)
class _Page:
    """What a read has met."""

    records: int = 0
    already_past: int = 0
    oldest: datetime | None = field(default=None)


class VeeqoBackfill(VeeqoSource):
    """An account's span as a `BackfillSource`: what happened to orders in it, whenever they were placed.

    Orders come newest first, those that were created before the end of the span and changed since its beginning.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        span: What is read.
        live: The live source's cursor: what it remembers to have told is left out.
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
        super().__init__(name, settings, clock, transport=transport)
        self._span = span
        self._told: Mapping[str, Told] = Memory.from_text(live).orders
        self._page = _Page()

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One page of orders."""
        self._observed_at = self._clock.now()
        self._memory = memory = Memory.from_text(cursor) if cursor is not None else self._beginning()
        if memory.phase != WALK or not {"orders", "dispatches"} & set(self._settings.reads):
            return BackfillBatch((), cursor, idle=True, part=1.0)
        self._page = page = _Page()
        items = await self._walk()
        # Every order is met once, and what its shipments took from the shelf the live source reckons.
        memory.orders.clear()
        memory.counts.clear()
        part = 1 - self._span.part(page.oldest) if page.oldest is not None else None
        return BackfillBatch(
            tuple(items),
            memory.to_text(),
            records=page.records,
            already_past=page.already_past,
            reached=page.oldest,
            part=part,
        )

    def _beginning(self) -> Memory:
        since_ms, before_ms = (
            int(moment.astimezone(UTC).timestamp() * 1000) for moment in (self._span.since, self._span.until + _DOUBT)
        )
        reach_ms = int(_DOUBT.total_seconds() * 1000)
        return Memory(phase=WALK, since_ms=since_ms, reach_ms=reach_ms, before_ms=before_ms)

    def _order(self, row: object) -> list[Item]:
        self._page.records += 1
        try:
            created_at = validate(OrderHead, row).created_at
            self._page.oldest = min(self._page.oldest or created_at, created_at)
        except RecordError:
            pass  # what it lacks the letter says
        items = [item for item in super()._order(row) if self._span.holds(item)]
        news = [item for item in items if not self._was_told(item)]
        self._page.already_past += len(items) - len(news)
        return news

    def _was_told(self, item: Item) -> bool:
        match item:
            case OrderPlaced():
                told = self._told.get(item.order_id)
                return told is not None and bool(told.placed)
            case OrderCancelled():
                told = self._told.get(item.order_id)
                return told is not None and told.cancelled
            case DispatchConfirmed():
                return any(item.shipment_id in told.shipments for told in self._told.values())
            case _:
                return False
