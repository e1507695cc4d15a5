"""Bugs to plant in the core, one at a time: a harness that has never failed proves nothing.

Each is a mistake that somebody could make, made by replacing one function of the core while a run lasts. The names are
those of the list in the reference on faults.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import patch

from connectors.base.errors import LogError
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.sink import B1Sink, Written
from streams.chain.keys import key_of
from streams.chain.rule import Head
from streams.dead_letters.publisher import DeadLetterPublisher
from streams.faust_host.watermarks import Progress
from streams.flow_control.lanes import Lanes
from streams.posting.admission import InputPositions
from streams.posting.dead_letters import CompanyDeadLetters
from streams.posting.orders import OrderPosting
from streams.posting.poster import Poster
from streams.posting.sequencer import CancellationBarrier
from streams.posting.stock import StockPosting
from streams.windows import epoch
from streams.windows.partition import StockPartition
from streams.windows.rules import StockRules, StockVerdict
from streams.worker.routing import OrderRouter

Plant = Callable[[], AbstractContextManager[Any]]
PLANTS: dict[str, Plant] = {}


def _plant(target: Any, name: str, sentence: str) -> Callable[[Callable[[Any], Any]], None]:
    """`make(original)` is what stands in the original's place."""

    def register(make: Callable[[Any], Any]) -> None:
        @contextmanager
        def planted() -> Iterator[None]:
            original = target.__dict__[name]
            made = make(original)
            check_takes_the_same(original, made)
            with patch.object(target, name, made):
                yield

        PLANTS[sentence] = planted

    return register


def check_takes_the_same(original: Callable[..., Any], made: Callable[..., Any]) -> None:
    """A TypeError at the call may be taken for the bug: the core catches some, and a worker that ends loses events.

    Raises:
        TypeError: `made` cannot be called with every argument of `original`.
    """
    takes = inspect.signature(original).parameters.values()
    by_name = {one.name: None for one in takes if one.kind is one.KEYWORD_ONLY}
    inspect.signature(made).bind(*(one for one in takes if one.kind <= one.POSITIONAL_OR_KEYWORD), **by_name)


@_plant(Poster, "_admit", "a posting is finished before its outcome is known")
def _(original: Any) -> Any:
    def admit(self: Poster, work: Any) -> None:
        work.finish("posted")
        original(self, work)

    return admit


@_plant(OrderRouter, "route", "records are finished although queueing them failed")
def _(original: Any) -> Any:
    async def route(self: OrderRouter, event_type: str, batch: Any, log: int = 0) -> None:
        try:
            await original(self, event_type, batch, log)
        except LogError:
            for record in batch.records:
                batch.finish(record.offset)

    return route


@_plant(Progress, "finish", "the highest finished offset is committed, not the contiguous prefix")
def _(original: Any) -> Any:
    def finish(self: Progress, taken: Any, offset: int, counts: Any = None) -> bool:
        moved: bool = original(self, taken, offset, counts)
        self.next = max(self.next or 0, offset + 1)
        return moved

    return finish


@_plant(Head, "accepts", "the chain rule is skipped")
def _(original: Any) -> Any:
    return lambda self, number, prev_digest: True


@_plant(StockPartition, "open", "reading starts from the commit, not from the chain")
def _(original: Any) -> Any:
    async def open_(self: StockPartition, committed: int | None, *positions: int) -> int:
        await original(self, committed, *positions)
        self.end = committed or 0
        return self.end

    return open_


@_plant(StockPartition, "_append", "the seen-set is marked before the seal stands")
def _(original: Any) -> Any:
    async def append(self: StockPartition, sealed: Any) -> None:
        for _, walked in sealed:
            self._seen.add_epoch(walked.sealed_at.timestamp(), walked.composed.entries)
        await original(self, sealed)

    return append


@_plant(StockRules, "judge", "late events are dropped")
def _(original: Any) -> Any:
    def judge(self: StockRules, *arguments: Any) -> StockVerdict:
        late = arguments[-1] - arguments[-2] > 10_000_000
        return StockVerdict("before_start") if late else original(self, *arguments)

    return judge


@_plant(epoch, "decimal_of", "quantities are floats on the way")
def _(original: Any) -> Any:
    return lambda unscaled: Decimal(repr(round(unscaled / 1e6, 6)))


@_plant(OrderRouter, "_posting", "K is made from offsets")
def _(original: Any) -> Any:
    def posting(self: OrderRouter, event_type: str, batch: Any, record: Any, log: int) -> Any:
        with patch(
            "streams.worker.routing.event_key",
            lambda event: key_of(event_type, event.company, batch.partition, record.offset),
        ):
            return original(self, event_type, batch, record, log)

    return posting


@_plant(OrderRouter, "_posting", "K is made from the payload")
def _(original: Any) -> Any:
    def posting(self: OrderRouter, event_type: str, batch: Any, record: Any, log: int) -> Any:
        with patch(
            "streams.worker.routing.event_key", lambda event: key_of(event_type, event.company, event.digest.hex())
        ):
            return original(self, event_type, batch, record, log)

    return posting


@_plant(B1Sink, "write", "documents are written without a claim")
def _(original: Any) -> Any:
    async def write(self: B1Sink, claims: Any, requests: Any) -> Written:
        written: Written = await original(self, claims if not requests else (), requests)
        return written

    return write


@_plant(B1Sink, "write", "after an unknown outcome the document is sent under a new key")
def _(original: Any) -> Any:
    renamed: dict[str, str] = {}

    async def write(self: B1Sink, claims: Any, requests: Any) -> Written:
        claims = [replace(claim, k=renamed.get(claim.k, claim.k)) for claim in claims]
        requests = [
            replace(r, body={**r.body, "U_STREAMS_KEY": renamed.get(key, key)})
            if r.body and (key := r.body.get("U_STREAMS_KEY"))
            else r
            for r in requests
        ]
        written: Written = await original(self, claims, requests)
        if written.outcome is OutcomeClass.UNKNOWN and requests and claims and not written.orphan:
            renamed[claims[0].k] = f"{claims[0].k[:-1]}{len(renamed) % 10}"
        return written

    return write


@_plant(B1Sink, "_refused", "a batch that answers 200 is taken as success whatever its parts say")
def _(original: Any) -> Any:
    async def refused(self: B1Sink, claims: Any, requests: Any, answer: Any) -> Written:
        return Written(OutcomeClass.APPLIED)

    return refused


@_plant(B1Sink, "_standing", "-2035 always means that the document exists")
def _(original: Any) -> Any:
    async def standing(self: B1Sink, claims: Any) -> bool:
        return True

    return standing


@_plant(B1Sink, "_standing", "-2035 always means that a record is locked")
def _(original: Any) -> Any:
    async def standing(self: B1Sink, claims: Any) -> bool:
        return False

    return standing


@_plant(OrderPosting, "post", "a refusal is final without a look-up made after it")
def _(original: Any) -> Any:
    return lambda self, work: self._try(work)


@_plant(DeadLetterPublisher, "refuse", "a dead letter is not awaited")
def _(original: Any) -> Any:
    tasks: list[Any] = []

    async def refuse(self: DeadLetterPublisher, refused: Any) -> Any:
        if any(item.k is not None for item in refused):
            return await original(self, refused)
        tasks.append(asyncio.create_task(original(self, refused)))
        return []

    return refuse


@_plant(Lanes, "hold", "a lane is let go before the outcome is known")
def _(original: Any) -> Any:
    @asynccontextmanager
    async def hold(self: Lanes, lanes: Collection[str]) -> AsyncIterator[None]:
        async with original(self, lanes):
            pass
        yield

    return hold


@_plant(StockPosting, "_withdraw", "batches are freed before their document is void")
def _(original: Any) -> Any:
    return lambda self, claim, document, refused, slot: self._freed(document, refused)


@_plant(StockPosting, "_standing", "sealed documents are not looked for before a batch is sealed again")
def _(original: Any) -> Any:
    async def standing(self: StockPosting, k: str) -> None:
        return None

    return standing


@_plant(CancellationBarrier, "passed", "a cancellation does not wait for what its order did before it")
def _(original: Any) -> Any:
    async def passed(self: CancellationBarrier, posting: Any, patience_s: float = 0.0) -> bool:
        return True

    return passed


@_plant(Poster, "_admit", "a K is admitted as often as it comes")
def _(original: Any) -> Any:
    return lambda self, work: self._start(work)


@_plant(InputPositions, "__init__", "what was routed twice is not known again")
def _(original: Any) -> Any:
    class Forgetful(dict[Any, Any]):
        def get(self, key: Any, default: Any = None) -> Any:
            return default

    def init(self: InputPositions, *arguments: Any) -> None:
        original(self, *arguments)
        self._reached = Forgetful()

    return init


@_plant(CompanyDeadLetters, "close", "the state of a released dead letter is not written")
def _(original: Any) -> Any:
    async def close(self: CompanyDeadLetters, letter: Any) -> None:
        self.index.put(letter)

    return close
