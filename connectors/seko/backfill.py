"""Reads a time range of what the hub can be asked for: each polled service once, slice by slice."""

from datetime import datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.cursor_text import from_text, to_text
from connectors.base.source import BackfillBatch, TimeRange
from connectors.seko.client import SekoClient
from connectors.seko.identities import with_stand_ins
from connectors.seko.settings import SekoSettings
from connectors.seko.state import SekoState
from connectors.seko.translate import translate


class SekoBackfill:
    """A client's time range as a `BackfillSource`. The cursor is a service and the time up to which it has been read.

    Goods received cannot be asked for by time, unless `paths.receipt` says where.

    Args:
        name: The connector's.
        settings: Its settings.
        clock: When things are observed.
        span: What is read.
        live: The live source's cursor: what it remembers to have emitted is left out.
        transport: In place of the network.
    """

    def __init__(
        self,
        name: str,
        settings: SekoSettings,
        clock: Clock,
        span: TimeRange,
        live: str | None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings, self._clock, self._span = settings, clock, span
        self._emitted = SekoState.from_text(live) if live is not None else SekoState()
        self._client = SekoClient(settings, clock, transport)

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One slice of a service."""
        services, span = self._settings.polled, self._span
        number, since = (
            (0, span.since)
            if cursor is None
            else from_text(
                cursor, lambda found: (int(found[0]), datetime.fromisoformat(found[1])), "seko", backfill=True
            )
        )
        if number >= len(services):
            return BackfillBatch((), cursor, idle=True, part=1.0)
        until = min(span.until, since + timedelta(seconds=self._settings.slice_s))
        found = with_stand_ins(await self._client.between(services[number], since, until), self._settings)
        context = EventContext(self.name, self.company, self._settings, self._clock.now())
        within = [item for message in found for item in translate(message, context) if span.holds(item)]
        items = [item for item in within if not self._emitted.knows(item)]
        is_over = until >= span.until
        place = (number + 1, span.since) if is_over else (number, until)
        return BackfillBatch(
            tuple(items),
            to_text([place[0], place[1].isoformat()]),
            records=len(found),
            already_past=len(within) - len(items),
            reached=until,
            part=(number + span.part(until)) / len(services),
        )
