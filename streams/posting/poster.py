"""The poster of one company: admits postings once, runs each order in sequence and stock in groups, and ends every one of them.

It is the only writer to the company's B1 and the only writer of letters of what came through its queues. Everything here is
rebuilt on assignment: from the queues' committed offsets, `dead-letter-state`, `erp-documents`, and B1 itself.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog

from connectors.base.dead_letters import INBOX, NOT_KAFKA
from connectors.base.errors import FatalError, LogError, OutcomeUnknownError, Refusal, RetriableError
from connectors.sap_b1 import claims
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.sink import B1Sink
from schemas.codec import CodecError
from schemas.events import EVENT_TYPES, OrderCancelled, OrderEvent
from schemas.letters import RANKS, REASONS
from schemas.records import DeadLetterState, Header, Outcome, Posting, StockBatch
from streams.chain.log import Anchors
from streams.config.load import Config
from streams.dead_letters.index import DeadLetterIndex, Entry
from streams.dead_letters.publisher import DeadLetterPublisher, Refused, flow_of
from streams.dead_letters.states import STATES, TENURE, States
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slots
from streams.ports import Batch, Counts, Ports, RawRecord
from streams.posting.barrier import Barrier
from streams.posting.documents import SealedDocuments
from streams.posting.erp import Erp
from streams.posting.orders import OrderPosting
from streams.posting.outcomes import OutcomeLog
from streams.posting.stock import StockPosting
from streams.posting.work import Ended, How, Work

logger = structlog.get_logger(__name__)

#: What a wait for B1 begins with and grows to, and how often a wait for another event is looked at again.
_RETRY_S, _RETRY_MOST_S, _LOOK_AGAIN_S = 30.0, 600.0, 60.0
#: A request whose sender has gone may land this long after its event was refused or held: until then its claim is looked for, after
#: a minute, two, four ... (B1 itself gives up after half a minute, a proxy or a stopped machine in between after some more).
_LATE_S = 3600.0
#: How often the states of letters are looked at for what a predecessor has written after we had begun.
_HEAR_S = 5.0
#: Ks that have ended, kept to answer repeats without asking B1; beyond it the claims answer.
_ENDED = 50_000
_WAITS_FOR_EVENT = frozenset({"order_not_found", "invoice_not_found"})
#: A posting's place in its input, as one number: the offset, and the batch within the epoch.
_INDEX_BITS = 20
_KINDS: Mapping[str, Any] = {**EVENT_TYPES, "stock_batch": StockBatch}


class Held(Exception):  # noqa: N818  # not an error: an answer
    """An earlier event of the order is neither posted nor discarded."""

    def __init__(self, blocker: DeadLetterState) -> None:
        super().__init__(blocker.id)
        self.blocker = blocker


class Unchanged(Exception):  # noqa: N818  # not an error: an answer
    """B1 does not have the event of a letter, or not all of it: the letter stays as it is."""


async def alone(tenure: int) -> bool:
    """Nobody else posts."""
    return True


class Poster:
    """Lifecycle: `open`; then `take` batches of the two queues while `run` goes on; `quiesce`; `close`.

    Attributes:
        lanes, erp: for the gauges.
        failed: resolves with the error that none of us can mend (a letter that cannot be written); the process must end.
    """

    def __init__(
        self, company: str, config: Config, ports: Ports, letters: DeadLetterPublisher, anchors: Anchors
    ) -> None:
        self.company, self.partition = company, config.company_partition(company)
        self._map, self._letters, self._topic = config.maps[company], letters, config.topic
        self._log, self._codec, self._clock, self._metrics = ports.log, ports.codec, ports.clock, ports.metrics
        self._crash_point = ports.crash_point
        settings = self._map.settings
        self._service_layer = ports.service_layer(company)
        sink, lanes = B1Sink(self._service_layer), Lanes()
        master = MasterDataCache(self._service_layer, ports.clock, tax_field=settings.tax.field)
        self._breaker = CircuitBreaker(
            company, self._service_layer.ping, ports.clock, ports.random, ports.metrics.intake_paused(company).set
        )
        erp = Erp(sink, self._breaker, Slots(settings.in_flight), ports)
        sealed = SealedDocuments(company, config, ports, anchors)
        self._orders = OrderPosting(self._map, erp, sink, master, lanes, ports)
        self._stock = StockPosting(self._map, erp, sink, master, lanes, sealed, ports, self._in_term)
        self.lanes, self.erp = lanes, erp
        self._barrier = Barrier(ports.log, config.topic, config.group, self.partition)
        self._trail = OutcomeLog(ports.log, ports.codec, config.topic)
        self._book = DeadLetterIndex()
        self._flying: dict[str, Work] = {}
        self._ended: OrderedDict[str, tuple[bytes, str]] = OrderedDict()
        self._queues: dict[str, deque[Work]] = {}
        self._high: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._accepting = True
        self._closed_s_at: dict[str, float] = {}
        self._states = States(ports.log, ports.codec, config.topic(STATES), self.partition, company)
        self._tenure = 0
        self._stale: set[str] = set()  # letters whose last state was written by a predecessor after we had begun
        self._writing: set[str] = set()  # letters whose state is being written
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._breaker.on_failure = self._fail

    # ---- life

    async def open(self, counts: Counts, queue_start: int, stamp: Callable[[int], Awaitable[bool]] = alone) -> None:
        """Load the letters, then be ready; sealed stock documents are walked in the background, orders need not wait for them.

        Args:
            counts: what the commits of the two queues say, the places reached in each input among it.
            queue_start: the offset of `erp-orders` that is read first.
            stamp: commits the number of our tenure; False where the group has moved on, which then cancels us.
        """
        self._barrier.admitted = queue_start
        self._high = {key: place for key, place in counts.items() if key[1].isdigit()}
        letters = await self._begin(counts.get(TENURE, 0), stamp)
        for letter in sorted(letters, key=lambda one: (one.first_failed_at, one.sequence)):
            if _is_of_connector(letter):
                await self._arrived(letter)
            else:
                self._keep(letter, soon=True)
        await self._restore()
        self._breaker.trip("the claim table is not proved yet", until=self._is_installed)
        self._spawn(self._stock.run())
        self._spawn(self._look_at_waits())
        self._spawn(self._look_for_latecomers())
        self._spawn(self._trail.run())

    async def _begin(self, last: int, stamp: Callable[[int], Awaitable[bool]]) -> list[DeadLetterState]:
        """Take over the letters: what anybody before us writes to them from now on does not count.

        Args:
            last: the number of the last tenure, by the group's commit.
            stamp: see `open`.

        Returns:
            The letters as they stand.
        """
        publisher, news = self._letters, await self._states.news()
        while self._tenure != self._states.tenure or not self._tenure:
            # The log may know of more than the commit does, where somebody has deleted the group.
            self._tenure = max(last, self._states.tenure) + 1
            if not await stamp(self._tenure):
                await asyncio.Event().wait()
            self._letters = publisher.within(self._tenure)
            await self._letters.begin(self.company)
            news.add(await self._states.news())
        self._stale = news.stale
        return [letter for letter, _ in news.counts.values() if letter is not None]

    async def _hear(self) -> None:
        """Follow what others write to the states of our letters.

        Connectors: what they refuse lies there before what follows it in the source is published, and holds it. Predecessors that
        stood still and go on: what they write does not count (`States`), and what we know is written again.

        Raises:
            LogError: it cannot be read, or written.
        """
        news = await self._states.news()
        for letter, tenure in news.counts.values():
            if letter is not None and tenure is None and _is_of_connector(letter):
                await self._arrived(letter)
        self._stale |= news.stale
        await self._restore()

    async def _arrived(self, letter: DeadLetterState) -> None:
        """Give a connector's letter its place in the order's sequence: after what is admitted, before what is not.

        A connector does not know that, and writes a letter again after a crash of its own.
        """
        known = self._book.known(letter.id)
        sequence = letter.sequence or (known.sequence if known else max(1, self._barrier.admitted))
        placed = replace(letter, sequence=sequence)
        with self._written(letter.id):
            self._keep(placed)
            if placed != letter:
                await self._letters.change([placed])

    async def _try_to_hear(self) -> None:
        try:
            await self._hear()
        except LogError as error:
            # They are read the next time; what slips through meanwhile waits for its order all the same.
            logger.warning("letters of others are not read", company=self.company, error=str(error))

    async def _in_term(self) -> bool:
        """Whether nobody has taken over the company, up to now."""
        await self._hear()
        return self._states.tenure == self._tenure

    async def _restore(self) -> None:
        """Write what we know over what does not count; a letter that we do not know was never written."""
        if self._states.tenure > self._tenure:
            return  # we are the predecessor: our successor does it
        ids = self._stale - self._writing
        if not ids:
            return
        known = {id_: self._book.known(id_) for id_ in sorted(ids)}
        await self._letters.restore(self.company, known)
        # What we wrote ourselves meanwhile may lie before it: once more
        self._stale -= {id_ for id_ in ids - self._writing if self._book.known(id_) is known[id_]}
        logger.warning("a poster that was paused has written letters", company=self.company, items=sorted(ids))

    @contextmanager
    def _written(self, id_: str) -> Iterator[None]:
        """Around a write of a letter's state and its taking over: nobody writes the old one again meanwhile."""
        self._writing.add(id_)
        try:
            yield
        finally:
            self._writing.discard(id_)

    async def _is_installed(self) -> bool:
        """Without its claim table and fields B1 would refuse everything, or take it twice: nothing is sent before they are there."""
        try:
            missing = await claims.missing(self._service_layer)
        except (RetriableError, OutcomeUnknownError) as exc:
            logger.warning("B1 is away", company=self.company, error=str(exc))
            return False
        except FatalError as exc:
            logger.critical("held until a person acts", company=self.company, error=str(exc))
            return False
        self._metrics.idempotency_tier(self.company).set(0 if missing else 1)
        if missing:
            logger.error("run streams doctor --install", company=self.company, missing=missing)
        return not missing

    # ---- what the gauges show

    def flying(self) -> Iterable[Posting]:
        """What is admitted and has not ended."""
        return [work.posting for work in self._flying.values()]

    def letters(self) -> Iterable[DeadLetterState]:
        """What is dead, parked or held."""
        return [entry.letter for entry in self._book.open()]

    def quiesce(self) -> None:
        """Start nothing more; what is under way may end."""
        self._accepting = False

    async def close(self, grace_s: float = 2.0) -> None:
        """Wait a little for what is under way, then let go: claims make the rest harmless."""
        self.quiesce()
        busy = {task for task in self._tasks if task.get_name() == "lane"} | self._stock.quiesce()
        try:
            if busy:
                await asyncio.wait(busy, timeout=grace_s)
        finally:
            self._stock.stop()  # in one turn with the orders: nobody gets the lane of what is let go with its outcome open
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._stock.close()
            await self._breaker.stop()
            # Before anything that waits for the broker: while it is away our successor's sessions would come on top of ours.
            await self._service_layer.close()
        await self._trail.flush()

    @property
    def idle(self) -> bool:
        return not self._flying

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str = "service") -> None:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    # ---- admission

    async def take(self, batch: Batch) -> None:
        """Admit a fetched batch of `erp-orders` or `erp-stock`; each record is finished when its posting has ended."""
        orders = self._topic("erp-orders")
        records = batch.open()
        if records and batch.topic == orders:
            await self._try_to_hear()
        for record in records:
            await self._take_one(batch, record)
            if batch.topic == orders:
                self._barrier.admitted = record.offset + 1
        await self._crash_point("c1")

    async def _take_one(self, batch: Batch, record: RawRecord) -> None:
        try:
            posting = self._codec.decode(record.value or b"", Posting)
            event: OrderEvent | StockBatch = self._codec.decode(posting.value, _KINDS[posting.kind])
        except (CodecError, KeyError) as exc:
            await self._refuse_foreign(batch, record, exc)
            batch.finish(record.offset)
            return
        reached = (posting.topic, str(posting.partition))
        stock = isinstance(event, StockBatch)
        place = (posting.offset << _INDEX_BITS | posting.index if stock else posting.offset) + 1
        high = self._high.get(reached, 0)
        if place <= high:  # routed twice: a router died between sending and committing, in order, so nothing is missing
            batch.finish(record.offset)
            return
        self._high[reached] = place
        events = len(event.event_ids) if isinstance(event, StockBatch) else 1
        finish = partial(_finish, batch, record.offset, {reached: place - high}, flow_of(posting.kind), events)
        self._admit(Work(posting, event, finish, record.offset))

    async def _refuse_foreign(self, batch: Batch, record: RawRecord, error: Exception) -> None:
        """A record that none of our routers wrote: kept for a person, never posted."""
        refused = Refused(
            reason="poison", state="dead", error=f"not a posting of ours: {type(error).__name__}; find who else writes to {batch.topic}",
            event_type=INBOX, company=self.company, topic=batch.topic, partition=batch.partition, offset=record.offset,
            timestamp_ms=record.timestamp, key=record.key, value=record.value, sequence=record.offset,
            headers=tuple(Header(name=name, value=value or b"") for name, value in record.headers),
        )  # fmt: skip
        await self._letters.refuse([refused])

    def _admit(self, work: Work) -> None:
        posting, k, finish = work.posting, work.k, work.finish
        letter = self._book.of_key(k)
        if (flying := self._flying.get(k)) is not None:
            digest, same = flying.posting.digest, flying.origin == work.origin
        elif letter is not None and letter.digest is not None:
            digest, same = (
                letter.digest,
                (letter.topic, letter.partition, letter.offset) == (posting.topic, posting.partition, posting.offset),
            )
        elif (ended := self._ended.get(k)) is not None:
            digest, same = ended[0], ended[1] == work.origin
        else:
            self._start(work)
            return
        if same:
            if flying is not None:
                flying.followers.append(lambda _: finish(None))
            else:
                finish(None)
        elif digest != posting.digest:
            self._spawn(self._refuse(work, _reused()), "lane")
        elif flying is not None:
            flying.followers.append(finish)
        else:
            self._recorded(work, Ended("no_op", "no_op"))
            finish("no_op")

    def _start(self, work: Work) -> None:
        self._flying[work.k] = work
        if isinstance(work.event, StockBatch):
            self._spawn(self._settle_stock(work), "lane")
        elif isinstance(work.event, OrderCancelled) and work.letter is None:
            self._spawn(self._after_barrier(work), "lane")
        else:
            self._enqueue(work)

    async def _after_barrier(self, work: Work) -> None:
        await self._barrier.passed(work.posting)
        work.sequence = self._barrier.admitted  # it comes after all that it waited for, in its letter too
        self._enqueue(work)

    def _enqueue(self, work: Work) -> None:
        lane = _lane_of(work)
        queue = self._queues.get(lane)
        if queue is None:
            self._queues[lane] = deque([work])
            self._spawn(self._run_lane(lane), "lane")
        else:
            queue.append(work)

    async def _run_lane(self, lane: str) -> None:
        queue = self._queues[lane]
        while queue and self._accepting:
            await self._settle(queue[0])
            queue.popleft()
        del self._queues[lane]

    # ---- one event of an order

    async def _settle(self, work: Work) -> None:
        try:
            ended = await self._post(work)
        except Held as held:
            await self._hold(work, held.blocker)
        except Unchanged:
            if work.letter is not None and (entry := self._book.get(work.letter.id)) is not None:
                entry.running = False
            self._land(work)
            self._look_again(work.posting.order_id)
        except Refusal as refusal:
            await self._refuse(work, refusal)
        else:
            await self._end(work, ended)

    async def _post(self, work: Work) -> Ended:
        event = work.event
        if work.landed:
            adopted = await self._orders.adopt(work)
            if adopted is None:
                raise Unchanged
            return adopted
        off = self._map.flow_off(work.posting.kind)
        if off or (not isinstance(event, StockBatch) and self._map.before_start(event.source, event.occurred_at)):
            return Ended("no_op", "no_op")
        blocker = self._blocker(work)
        if blocker is not None:
            adopted = await self._orders.adopt(work)
            if adopted is None:
                raise Held(blocker)
            return adopted
        work.attempts += 1
        return await self._orders.post(work)

    def _blocker(self, work: Work) -> DeadLetterState | None:
        if work.posting.order_id is None:
            return None
        return self._book.blocker(
            work.posting.order_id, work.posting.kind, work.letter, self._order_sources(work.posting.kind, work.posting.source),
            lambda letter: self._order_sources(letter.event_type, letter.source or ""),
        )  # fmt: skip

    def _order_sources(self, kind: str, source: str) -> tuple[str, ...]:
        return (source,) if kind == "order_placed" else self._map.order_sources(source)

    async def _settle_stock(self, work: Work) -> None:
        try:
            ended = await self._stock.post(work)
        except Refusal as refusal:
            await self._refuse(work, refusal)
        else:
            await self._end(work, ended)

    # ---- ends

    async def _end(self, work: Work, ended: Ended) -> None:
        if work.letter is not None:
            closed = replace(
                work.letter, state=ended.how, at=self._clock.now(), blocked_by=None, attempts=work.attempts
            )
            with self._written(closed.id):
                await self._letters.change([closed])
                self._book.put(closed)
        await self._crash_point("c7")
        self._recorded(work, ended)
        self._let_go(work, ended.how if work.letter is None else None)
        self._look_again(work.posting.order_id, posted=True)

    def _let_go(self, work: Work, how: How | None) -> None:
        self._flying.pop(work.k, None)
        self._ended[work.k] = (work.posting.digest, work.origin)
        if len(self._ended) > _ENDED:
            self._ended.popitem(last=False)
        work.finish(how)
        for follower in work.followers:
            follower("no_op")

    def _recorded(self, work: Work, ended: Ended, reason: str | None = None) -> None:
        posting, now = work.posting, self._clock.now()
        queued = datetime.fromtimestamp(posting.timestamp_ms / 1000, UTC)
        event = work.event
        self._metrics.postings(flow_of(posting.kind), ended.trail).inc()
        self._metrics.posting_attempts(flow_of(posting.kind)).observe(max(1, work.attempts))
        self._metrics.posting_latency(flow_of(posting.kind)).observe((now - queued).total_seconds())
        self._trail.add(
            Outcome(
                k=posting.k,
                kind=posting.kind,
                company=self.company,
                source=posting.source,
                event_ids=event.event_ids if isinstance(event, StockBatch) else (event.event_id,),
                order_id=posting.order_id,
                sku=event.sku if isinstance(event, StockBatch) else None,
                outcome=ended.trail,
                reason=reason,
                documents=ended.documents,
                attempts=work.attempts,
                topic=posting.topic,
                partition=posting.partition,
                offset=posting.offset,
                queued_at=queued,
                at=now,
            )
        )

    async def _hold(self, work: Work, blocker: DeadLetterState) -> None:
        await self._write_letter(
            work,
            "held",
            blocker.reason,
            f"waits for letter {blocker.id}, an earlier event of its order",
            None,
            blocker.id,
        )

    async def _refuse(self, work: Work, refusal: Refusal) -> None:
        state = REASONS[refusal.reason].ends_as
        if refusal.reason == "order_not_found" and work.posting.order_id is None:
            state = "dead"
        if state == "parked" and work.letter is not None and self._too_old(work.letter):
            state = "dead"
        await self._write_letter(work, state, refusal.reason, refusal.error, refusal.waits_for, None)

    async def _write_letter(
        self, work: Work, state: str, reason: str, error: str, waits_for: str | None, blocked_by: str | None
    ) -> None:
        posting, event = work.posting, work.event
        if work.letter is not None:
            letter = replace(
                work.letter, state=state, reason=reason, owner=REASONS[reason].owner, error=error, waits_for=waits_for,
                blocked_by=blocked_by, attempts=work.attempts + work.letter.attempts, at=self._clock.now(),
            )  # fmt: skip
            with self._written(letter.id):
                if (letter.state, letter.reason, letter.waits_for, letter.blocked_by) != (
                    work.letter.state, work.letter.reason, work.letter.waits_for, work.letter.blocked_by,
                ):  # fmt: skip
                    await self._letters.change([letter])
                self._keep(letter)
        else:
            refused = Refused(
                reason=reason, state=state, error=error, event_type=posting.kind, company=self.company, topic=posting.topic,
                partition=posting.partition, offset=posting.offset, index=posting.index, timestamp_ms=posting.timestamp_ms,
                key=posting.key, value=posting.value, headers=posting.headers, source=posting.source,
                event_id=None if isinstance(event, StockBatch) else event.event_id,
                members=event.event_ids if isinstance(event, StockBatch) else (), order_id=posting.order_id,
                sku=event.sku if isinstance(event, StockBatch) else None, k=posting.k, digest=posting.digest, sequence=work.sequence,
                attempts=work.attempts, waits_for=waits_for, blocked_by=blocked_by,
            )  # fmt: skip
            with self._written(refused.id):
                (letter,) = await self._letters.refuse([refused])
                self._keep(letter)
        await self._crash_point("c9")
        self._recorded(work, Ended("no_op", state), reason)
        self._land(work)
        self._look_again(posting.order_id)

    def _land(self, work: Work) -> None:
        """It is not on its way any more, and its letter says how it stands."""
        if self._flying.get(work.k) is work:
            del self._flying[work.k]
        work.finish(None)
        for follower in work.followers:
            follower("no_op")

    # ---- waiting

    def _keep(self, letter: DeadLetterState, *, soon: bool = False) -> None:
        before = self._book.known(letter.id)
        entry = self._book.put(letter)
        if entry is None:
            self._closed_s_at.pop(letter.id, None)
            return
        entry.running = False
        self._closed_s_at.setdefault(letter.id, self._breaker.open_s)
        if letter.state == "parked":
            if letter.reason in _WAITS_FOR_EVENT:
                entry.delay_s = _LOOK_AGAIN_S
            elif before is None or before.state != "parked":
                entry.delay_s = _RETRY_S
            else:
                entry.delay_s = min(_RETRY_MOST_S, entry.delay_s * 2 or _RETRY_S)
            entry.due = self._clock.monotonic() + (0.0 if soon else entry.delay_s)
        else:
            entry.delay_s = _LOOK_AGAIN_S
            entry.due = self._clock.monotonic() + entry.delay_s if self._may_land(letter) else None

    def _may_land(self, letter: DeadLetterState) -> bool:
        """Whether a request for this event may be under way though it was refused: ours or a predecessor's, slower than its sender.

        Not of stock: no batch is refused before its document is void.
        """
        ours = letter.k is not None and letter.event_type in RANKS and REASONS[letter.reason].holds
        return ours and (self._clock.now() - letter.at).total_seconds() < _LATE_S

    def _too_old(self, letter: DeadLetterState) -> bool:
        paused = self._breaker.open_s - self._closed_s_at.get(letter.id, self._breaker.open_s)
        age = (self._clock.now() - letter.first_failed_at).total_seconds() - paused
        return age > self._map.settings.park_max_age_s

    async def _look_at_waits(self) -> None:
        """Level-triggered: what is due is tried again, whatever wake-up was missed (design 16.10)."""
        self._look_at_held()
        heard = self._clock.monotonic()
        while True:
            await asyncio.sleep(1.0)
            now = self._clock.monotonic()
            if now - heard >= _HEAR_S:
                await self._try_to_hear()
                heard = now
            if not self._breaker.is_closed:
                continue
            for entry in self._book.open():
                if entry.letter.state == "parked" and entry.due is not None and entry.due <= now and not entry.running:
                    await self._release(entry)

    async def _look_for_latecomers(self) -> None:
        """What was refused or held although a request for it was under way, and has landed since, is closed: B1 has it."""
        while True:
            await asyncio.sleep(1.0)
            now = self._clock.monotonic()
            due = [
                entry for entry in self._book.open()
                if entry.letter.state != "parked" and entry.due is not None and entry.due <= now and not entry.running
            ][: claims.KS_PER_QUERY]  # fmt: skip
            if not due:
                continue
            ks = [entry.letter.k or "" for entry in due]
            there = await self.erp.ask(partial(claims.look_up, self._service_layer, ks))
            for entry in due:
                entry.delay_s = min(_RETRY_MOST_S, entry.delay_s * 2)
                entry.due = self._clock.monotonic() + entry.delay_s if self._may_land(entry.letter) else None
                if entry.letter.k in there and not entry.running and self._book.get(entry.letter.id) is entry:
                    await self._release(entry, landed=True)

    def _look_at_held(self) -> None:
        for order in dict.fromkeys(
            entry.letter.order_id for entry in self._book.open() if entry.letter.state == "held"
        ):
            self._look_again(order)

    def _look_again(self, order_id: str | None, *, posted: bool = False) -> None:
        """An event of the order has ended or changed its state: what waits for it may go on."""
        if order_id is None:
            return
        for entry in self._book.of_order(order_id):
            letter = entry.letter
            if entry.running:
                continue
            waits = posted and letter.state == "parked" and letter.reason in _WAITS_FOR_EVENT
            if letter.state == "held":
                blocker = self._book.blocker(
                    order_id, letter.event_type, letter, self._order_sources(letter.event_type, letter.source or ""),
                    lambda one: self._order_sources(one.event_type, one.source or ""),
                )  # fmt: skip
                other = None if blocker is None or blocker.id == letter.blocked_by else self._book.get(blocker.id)
                # Free, or held by another from now on, which its letter must name; one that is on its way will tell
                waits = blocker is None or (other is not None and not other.running)
            if waits:
                entry.running = True
                self._spawn(self._release(entry), "lane")

    async def _release(self, entry: Entry, *, landed: bool = False) -> None:
        """Post a letter's bytes again, under its own K; `landed`: only see whether B1 has it."""
        entry.running = True
        letter = entry.letter
        posting = await self._posting_of(letter)
        if posting.k in self._flying:
            entry.running = False
            return
        event: OrderEvent | StockBatch = self._codec.decode(posting.value, _KINDS[posting.kind])
        self._start(Work(posting, event, lambda _: None, letter.sequence, letter=letter, landed=landed))

    async def _posting_of(self, letter: DeadLetterState) -> Posting:
        place = (letter.letter_topic, letter.letter_partition, letter.letter_offset)
        async with aclosing(self._log.read(*place, letter.letter_offset + 1)) as batches:
            async for records in batches:
                for record in records:
                    return Posting(
                        k=letter.k or "", kind=letter.event_type, company=letter.company, source=letter.source or "",
                        order_id=letter.order_id, digest=letter.digest or b"", topic=letter.topic, partition=letter.partition,
                        offset=letter.offset, timestamp_ms=letter.timestamp_ms, key=record.key,
                        headers=tuple(Header(name=name, value=value) for name, value in record.headers), value=record.value or b"",
                    )  # fmt: skip
        raise LookupError(f"letter {letter.id}: its bytes are not at {place}")


def _finish(batch: Batch, offset: int, reached: Counts, flow: str, events: int, how: How | None) -> None:
    batch.finish(offset, reached if how is None else {**reached, (flow, how): events})


def _is_of_connector(letter: DeadLetterState) -> bool:
    """Whether it was refused before it was in Kafka, and holds events of its order."""
    return letter.partition == NOT_KAFKA and letter.order_id is not None


def _lane_of(work: Work) -> str:
    return work.posting.order_id or work.k


def _reused() -> Refusal:
    return Refusal(
        "id_reuse",
        "the same identity came before with other content; the first stands. Send an edited order as order_cancelled lines, "
        "and additions under a new order id",
    )
