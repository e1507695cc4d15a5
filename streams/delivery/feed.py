"""Reads what a `CompanyView` is made of, and goes on reading; the deliverers of a company share one."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

from connectors.base.clock import Clock
from connectors.base.log import Broker, Record
from schemas.codec import Codec, CodecError
from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced
from schemas.readings import READING_TYPES
from schemas.records import DeadLetterState, Outcome
from schemas.topics import READINGS, event_type
from streams.config.load import Config
from streams.delivery.view import CompanyView
from streams.query.reading import partitions_of

#: Topics are looked at so often, however many deliverers ask.
LOOK_S = 1.0
#: Outcomes are searched for the orders of which nobody knows whose they are, at most so often.
_SEARCH_S = 60.0
_ACTS: dict[str, type[Any]] = {
    # Outcomes first: an order that has ended long ago is then never taken for one under way
    "erp-outcomes": Outcome,
    "order-cancelled": OrderCancelled,
    "order-placed": OrderPlaced,
    "dispatch-confirmed": DispatchConfirmed,
}
_STATES = "dead-letter-state"

Place = tuple[str, int]


class CompanyFeed:
    """One company's view, kept up to date.

    Attributes:
        view: What is known.
        read: Next offset of each partition of readings, by our name of the topic.
    """

    def __init__(self, company: str, config: Config, broker: Broker, codec: Codec, clock: Clock) -> None:
        self._company, self._config, self._broker, self._codec, self._clock = company, config, broker, codec, clock
        self.view = CompanyView(config.maps[company])
        self.read: dict[Place, int] = {}
        partition = config.company_partition(company)
        # What B1 says first: outcomes are then kept for the orders that it has
        self._places: list[Place] = [*((name, partition) for name in READINGS)]
        self._places += [(name, number) for name in _ACTS for number in partitions_of(config, name)]
        self._places.append((_STATES, partition))
        self._next: dict[Place, int] = {}
        self._looked_s: float | None = None
        self._searched_s: float | None = None
        self._lock = asyncio.Lock()

    async def sync(self) -> None:
        """Read what has come, at most once in `LOOK_S`.

        Raises:
            RetriableError: Kafka did not answer.
        """
        async with self._lock:
            if self._looked_s is not None and self._clock.monotonic() - self._looked_s < LOOK_S:
                return
            for place in self._places:
                await self._follow(place)
            await self._search()
            self.view.tidy(self._clock.now())
            self._looked_s = self._clock.monotonic()

    async def _follow(self, place: Place) -> None:
        name, partition = place
        first, end = await self._broker.bounds(self._config.topic(name), partition)
        start = max(first, self._next.get(place, 0))
        if end < self._next.get(place, 0):
            start = first  # the topic was made anew
        if start < end:
            await self._each(name, partition, start, end, self._take)
        self._next[place] = end
        if name in READINGS:
            self.read[place] = end

    async def _each(self, name: str, partition: int, start: int, end: int, take: Callable[[str, Record], None]) -> None:
        async with aclosing(self._broker.read(self._config.topic(name), partition, start, end)) as batches:
            async for records in batches:
                for record in records:
                    take(name, record)
                await asyncio.sleep(0)  # a long history must not hold up the loop

    def _take(self, name: str, record: Record) -> None:
        if record.value is None:
            return
        cls: type[Any] = READING_TYPES.get(event_type(name)) or _ACTS.get(name, DeadLetterState)
        try:
            found = self._codec.decode(record.value, cls)
        except CodecError:
            return  # its own reader refuses it, and says so
        if found.company != self._company:
            return
        match found:
            case OrderPlaced():
                self.view.take_placed(found)
            case OrderCancelled():
                self.view.take_cancelled(found)
            case DispatchConfirmed():
                self.view.take_dispatch(found)
            case Outcome():
                self.view.take_outcome(found)
            case DeadLetterState():
                self.view.take_state(found)
            case _:
                self.view.take_reading(found)

    async def _search(self) -> None:
        """Look through all outcomes for the orders in B1 of which nobody has said whose they are."""
        wanted, now_s = set(self.view.unidentified), self._clock.monotonic()
        if not wanted or (self._searched_s is not None and now_s - self._searched_s < _SEARCH_S):
            return
        self._searched_s = now_s
        for name in ("erp-outcomes", "order-placed"):
            for number in partitions_of(self._config, name):
                start, end = await self._broker.bounds(self._config.topic(name), number)
                await self._each(name, number, start, end, self._take)
        self.view.give_up(wanted)
