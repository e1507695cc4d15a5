"""Reads a span of what the hub can be asked for: each polled service once, slice by slice."""

import json
from datetime import datetime, timedelta

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import FatalError
from connectors.base.source import BackfillBatch, TimeRange
from connectors.seko.client import Client
from connectors.seko.memory import Memory
from connectors.seko.settings import SekoSettings
from connectors.seko.translate import Voice, translate


class SekoBackfill:
    """A client's span as a `BackfillSource`. The cursor is a service and the time up to which it has been read.

    Goods received cannot be asked for by time, unless `paths.receipt` says where.

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
        self._told = Memory.from_text(live) if live is not None else Memory()
        self._client = Client(settings, transport=transport)

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> BackfillBatch:
        """One slice of a service."""
        services, span = self._settings.polled, self._span
        number, since = _place(cursor) if cursor is not None else (0, span.since)
        if number >= len(services):
            return BackfillBatch((), cursor, idle=True, part=1.0)
        until = min(span.until, since + timedelta(seconds=self._settings.slice_s))
        found = await self._client.between(services[number], since, until)
        voice = Voice(self.name, self.company, self._settings, self._clock.now())
        said = [item for message in found for item in translate(message, voice) if span.holds(item)]
        items = [item for item in said if not self._told.knows(item)]
        is_over = until >= span.until
        place = (number + 1, span.since) if is_over else (number, until)
        return BackfillBatch(
            tuple(items),
            json.dumps([place[0], place[1].isoformat()]),
            records=len(found),
            already_past=len(said) - len(items),
            reached=until,
            part=(number + span.part(until)) / len(services),
        )


def _place(cursor: str) -> tuple[int, datetime]:
    try:
        number, since = json.loads(cursor)
        return int(number), datetime.fromisoformat(since)
    except (ValueError, TypeError) as error:
        raise FatalError("the cursor is not one of a seko back-fill; choose another span") from error
