"""What the poster would do with a dead letter, asked of B1 without changing anything.

The same code that posts, over an ERP that reads only: where the first document would be written, the question is
answered.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, TypeVar

from connectors.base.errors import Refusal
from connectors.sap_b1.change_set import B1Request
from connectors.sap_b1.claims import KS_PER_QUERY, Claim
from connectors.sap_b1.documents import stock
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.mapping import CompanyMap
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import ServiceLayer, UnavailableError
from connectors.sap_b1.sink import B1Sink, Found, Written
from schemas.events import TYPE_NAMES, FactEvent, OrderEvent, OrderPlaced, StockAdjusted
from schemas.letters import RANKS
from schemas.records import DeadLetterState, Posting, StockBatch
from streams.chain.keys import event_key, order_key
from streams.dead_letters.index import DeadLetterIndex
from streams.dead_letters.plan import PlannedLetter, Would
from streams.flow_control.lanes import Lanes
from streams.ports import Ports
from streams.posting.erp import Erp
from streams.posting.in_flight import InFlightPosting
from streams.posting.orders import OrderPosting
from streams.windows.rules import StockRules

T = TypeVar("T")
#: So many are asked about at once: their claims are one question.
_AT_ONCE = KS_PER_QUERY
_WAITS_FOR_ORDER = frozenset({"order_not_found", "invoice_not_found"})


class _WouldWriteError(Exception):
    """Here the poster would write its first document."""


#: The customer of the order that is asked about is yet to be made: B1 would not know the card in a preview.
_without_preview: ContextVar[bool] = ContextVar("without_preview", default=False)


class _ReadingSink(B1Sink):
    """Remembers what it was told to look up beforehand: one question for twenty keys."""

    def __init__(self, service_layer: ServiceLayer) -> None:
        super().__init__(service_layer)
        self._found: dict[str, Found] = {}

    async def prefetch(self, ks: Sequence[str]) -> None:
        self._found = await super().look_up(ks)

    async def look_up(self, ks: Sequence[str]) -> dict[str, Found]:
        if all(k in self._found for k in ks):
            return {k: self._found[k] for k in ks}
        return await super().look_up(ks)


class _ReadOnlyErp(Erp):
    """Answers from B1, writes nothing."""

    def __init__(self, sink: B1Sink) -> None:  # it has neither slots nor a breaker: a person waits
        self.writes = set()
        self._sink = sink

    async def ask(self, question: Callable[[], Awaitable[T]], patience_s: float = 0.0) -> T:
        return await question()

    async def preview(self, body: Mapping[str, object], *, lock_patience_s: float) -> Written:
        if _without_preview.get():
            return Written(OutcomeClass.APPLIED)
        previewed = await self._sink.preview(body)
        if previewed.outcome not in (OutcomeClass.APPLIED, OutcomeClass.REJECTED):
            raise UnavailableError(previewed.error or "B1 did not say what it would make of an order")
        return previewed

    async def write(self, claims: Sequence[Claim], requests: Sequence[B1Request], **_how: Any) -> Written:
        if claims and requests:
            raise _WouldWriteError
        if requests:  # a customer, before the order
            _without_preview.set(True)
        return Written(OutcomeClass.APPLIED)


class ReplayDryRun:
    """Asks about the dead letters of one company, in the order in which they would be replayed.

    Each answer supposes that what would be posted before it has been.
    """

    def __init__(
        self,
        mapping: CompanyMap,
        service_layer: ServiceLayer,
        ports: Ports,
        rules: StockRules,
        standing: Mapping[str, DeadLetterState],
    ) -> None:
        """`standing`: all dead letters as they stand, for who holds whom."""
        self._map, self._rules, self._clock = mapping, rules, ports.clock
        self._sink = _ReadingSink(service_layer)
        self._master = MasterDataCache(service_layer, ports.clock, tax_field=mapping.settings.tax.field)
        erp = _ReadOnlyErp(self._sink)
        self._orders = OrderPosting(mapping, erp, self._sink, self._master, Lanes(), ports)
        self._index = DeadLetterIndex(self._map.sources_of)
        self._to_be_posted: set[str] = set()
        for letter in standing.values():
            if letter.company == mapping.company:
                self._index.put(letter)

    async def judge(
        self, letters: Sequence[tuple[DeadLetterState, FactEvent | StockBatch]]
    ) -> dict[str, PlannedLetter]:
        """What a replay of each dead letter would do, which holds this event; orders side by side.

        Args:
            letters: In the order in which they would be replayed.

        Raises:
            RetriableError, FatalError: B1 does not answer.
        """
        found: dict[str, PlannedLetter] = {}
        for start in range(0, len(letters), _AT_ONCE):
            chunk = letters[start : start + _AT_ONCE]
            await self._sink.prefetch([letter.k for letter, _ in chunk if letter.k and letter.event_type in RANKS])
            lanes: defaultdict[object, list[tuple[DeadLetterState, FactEvent | StockBatch]]] = defaultdict(list)
            for letter, event in chunk:
                lanes[letter.order_id or letter.id].append((letter, event))
            for lane in await asyncio.gather(*(self._lane(lane) for lane in lanes.values())):
                found.update((planned.id, planned) for planned in lane)
        return found

    async def _lane(self, letters: Sequence[tuple[DeadLetterState, FactEvent | StockBatch]]) -> list[PlannedLetter]:
        return [await self._would(letter, event) for letter, event in letters]

    async def _would(self, letter: DeadLetterState, event: FactEvent | StockBatch) -> PlannedLetter:
        would, why = await self._judge(letter, event)
        if would != "fail" and self._index.get(letter.id) is not None:
            self._index.put(replace(letter, state="posted"))
            if isinstance(event, OrderPlaced):
                self._to_be_posted.add(event_key(event))
        return PlannedLetter(letter.id, would, why)

    async def _judge(self, letter: DeadLetterState, event: FactEvent | StockBatch) -> tuple[Would, str | None]:
        try:
            if isinstance(event, StockBatch):
                codes = stock.codes_needed(event, self._map)
                stock.resolve(event, self._map, await self._master.get(codes))
                return "post", "in a document with others that wait"
            if isinstance(event, StockAdjusted):
                return self._stock_event(event)
            return await self._order_event(letter, event)
        except Refusal as refusal:
            return self._refused(event, refusal)

    def _stock_event(self, event: StockAdjusted) -> tuple[Would, str | None]:
        now_us, at_us = (int(time.timestamp() * 1_000_000) for time in (self._clock.now(), event.occurred_at))
        place = (event.company, event.source, event.location, event.to_location, event.reason)
        verdict = self._rules.judge(*place, at_us, now_us)
        if verdict.error is not None:
            return "fail", f"{verdict.why}: {verdict.error}"
        return ("already_there", verdict.why) if verdict.why else ("post", "in the next window of its partition")

    async def _order_event(self, letter: DeadLetterState, event: OrderEvent) -> tuple[Would, str | None]:
        kind = letter.event_type if letter.k is not None else TYPE_NAMES[type(event)]
        if self._map.flow_off(kind) or self._map.before_start(event.source, event.occurred_at):
            return "already_there", "nothing to do: its flow is off, or it occurred before start_at"
        work = self._work(letter, event, kind)
        blocker = event.order_id and self._index.blocker(event.order_id, kind, event.source, letter)
        adopted = await self._orders.adopt(work)
        if adopted is not None:
            return "already_there", "B1 has it" if adopted.documents else "B1 has its claim"
        if blocker:
            return "fail", f"held by dead letter {blocker.id} ({blocker.reason}), an earlier event of its order"
        _without_preview.set(False)
        try:
            ended = await self._orders.post(work)
        except _WouldWriteError:
            return "post", None
        return "already_there", f"nothing to do ({ended.outcome})"

    def _refused(self, event: FactEvent | StockBatch, refusal: Refusal) -> tuple[Would, str | None]:
        if refusal.reason in _WAITS_FOR_ORDER and not isinstance(event, StockBatch | StockAdjusted):
            sources = self._map.order_sources(event.source)
            orders = {order_key(event.company, source, event.order_id or "") for source in sources}
            if not orders.isdisjoint(self._to_be_posted):
                return "post", "after its order, which is in this plan"
        return "fail", f"{refusal.reason}: {refusal.error}"

    def _work(self, letter: DeadLetterState, event: OrderEvent, kind: str) -> InFlightPosting:
        posting = Posting(
            k=letter.k or event_key(event),
            kind=kind,
            company=event.company,
            source=event.source,
            order_id=event.order_id,
            digest=letter.digest or event.digest,
            topic=letter.topic,
            partition=letter.partition,
            offset=letter.offset,
            timestamp_ms=letter.timestamp_ms,
            value=b"",
        )
        return InFlightPosting(posting, event, lambda _: None, letter.sequence, letter)
