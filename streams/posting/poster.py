"""The poster of one company: the only writer to its B1, and of the dead letters of what came through its queues.

It hands what comes from one part to the next: a batch to `admission`, what is new to the `sequencer` (orders) or to
`stock`, each result to `endings`, and what an ending releases back to the start. Everything here is rebuilt on
assignment: from the queues' committed offsets, `dead-letter-state`, `erp-documents`, and B1 itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from functools import partial
from typing import Any

from connectors.base.errors import Refusal
from connectors.base.notices import NoticeWriter
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.sink import B1Sink
from schemas.codec import CodecError
from schemas.events import OrderEvent
from schemas.records import DeadLetterState, LetterCommand, Posting, StockBatch
from schemas.topics import flow_of
from streams.chain.log import Anchors
from streams.config.load import Config
from streams.dead_letters.commands import QUEUED
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.dead_letters.states import TERM
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slots
from streams.notices.blocked import BlockedKeys
from streams.ports import Counts, Ports, RawRecord, RecordBatch
from streams.posting import foreign
from streams.posting.admission import AdmittedKeys, InputPositions, LogNumber, first_log, sequence_of
from streams.posting.b1_state import NOT_PROVED, report_b1
from streams.posting.commands import LetterCommands
from streams.posting.dead_letters import CompanyDeadLetters
from streams.posting.documents import SealedDocuments
from streams.posting.endings import Endings
from streams.posting.erp import Erp, answers_reads, is_installed
from streams.posting.forgetting import CountEnded, Forgetting, count_nowhere
from streams.posting.in_flight import KINDS, Ended, Ending, Held, InFlightPosting, NotFound, Result
from streams.posting.lifecycle import Effect, State, Trigger, follow
from streams.posting.orders import OrderPosting
from streams.posting.outcomes import OutcomeLog
from streams.posting.retries import DeadLetterRetries
from streams.posting.scheduled_replays import ScheduledReplays
from streams.posting.sequencer import CancellationBarrier, Sequencer
from streams.posting.stock import StockPosting


async def accept_any_term(term: int) -> bool:
    """Nobody else posts."""
    return True


class Poster:
    """Lifecycle: `open`; then `take` batches of the two queues; `quiesce`; `close`.

    Attributes:
        lanes, erp: For the gauges.
        failed: Resolves with the error that nothing in here can handle (a dead letter that cannot be written); the
            process must end.
    """

    def __init__(
        self, company: str, config: Config, ports: Ports, publisher: DeadLetterPublisher, anchors: Anchors
    ) -> None:
        self.company, self.lanes, self.partition = company, Lanes(), config.company_partition(company)
        self._ports, self._codec, self._clock, self._topic = ports, ports.codec, ports.clock, config.topic
        self._map = config.maps[company]
        settings, metrics = self._map.settings, ports.metrics
        b1 = self._service_layer = ports.service_layer(company)
        self._breaker = CircuitBreaker(company, partial(answers_reads, b1), ports.clock, ports.random)
        self._breaker.observe(lambda state, _why, _hold_reason: metrics.intake_paused(company).set(state != "closed"))
        self._breaker.observe(partial(report_b1, metrics.components, company))
        sink, master = B1Sink(b1), MasterDataCache(b1, ports.clock, tax_field=settings.tax.field)
        self.erp = Erp(sink, self._breaker, Slots(settings.in_flight), ports, settings.idempotency)
        self._keys, self._inputs = AdmittedKeys(), InputPositions({})
        self._queue_logs = dict[str, int]()  # the number of the log of each queue
        self._barrier = CancellationBarrier(ports.log, config.topic, config.group, self.partition)
        self._sequencer = Sequencer(
            self._barrier, self._run_order_event, self._end, partial(self._spawn, name="posting")
        )
        self._dead_letters = CompanyDeadLetters(
            company,
            self.partition,
            publisher,
            ports,
            config.topic,
            self._map.sources_of,
            next_sequence=lambda: self._barrier.next_sequence,
            park_max_age_s=settings.park_max_age_s,
        )
        self._orders = OrderPosting(self._map, self.erp, sink, master, self.lanes, ports)
        self._stock = StockPosting(
            self._map,
            self.erp,
            sink,
            master,
            self.lanes,
            SealedDocuments(company, config, ports, anchors),
            ports,
            self._dead_letters.in_term,
        )
        self._outcomes = OutcomeLog(ports.log, ports.codec, config.topic)
        self._endings = Endings(company, self._keys, self._dead_letters, self._outcomes, ports)
        self._retries = DeadLetterRetries(
            company,
            self._dead_letters,
            self._keys,
            self._barrier,
            self.erp,
            b1,
            ports,
            start=self._start,
            spawn=self._spawn,
        )
        self._commands = LetterCommands(
            company, self._dead_letters, self._keys, self._retries, self.erp, self._stock.holds, ports
        )
        writer = NoticeWriter(ports.log, ports.codec, config.topic, config.company_partition)
        self._blocked = BlockedKeys(self.dead_letters, writer, ports.clock, config.notices.blocked_after_s)
        self._scheduled = ScheduledReplays(company, config, ports, self.dead_letters)
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._breaker.on_failure = self._fail

    # ---- life

    async def open(
        self,
        counts: Counts,
        queue_start: int,
        stamp: Callable[[int], Awaitable[bool]] = accept_any_term,
        log_number: LogNumber = first_log,
        count: CountEnded = count_nowhere,
        retired: Collection[str] = (),
    ) -> None:
        """Load the dead letters, then be ready.

        Sealed stock documents are walked in the background, orders need not wait for them.

        Args:
            counts: What the commits of the two queues say, the positions reached in each input among it.
            queue_start: The offset of `erp-orders` that is read first.
            stamp: Commits the number of our term; False where the group has moved on, which then cancels us.
            log_number: Which log of an input or a queue is read.
            count: Adds to the counts of the commits.
            retired: Companies that a person has ended.

        Raises:
            ForeignQueueError: The commits are another company's.
        """
        foreign.check_queue(self.company, self.partition, counts, retired)
        self._barrier.admitted = queue_start
        queues = [self._topic(name) for name in ("erp-orders", "erp-stock")]
        self._queue_logs = {queue: log_number(queue, self.partition) for queue in queues}
        self._barrier.queue_log = self._queue_logs[queues[0]]
        self._inputs = InputPositions(counts, log_number)
        self._barrier.reached = self._inputs.reached
        await self._dead_letters.open(counts.get(TERM, 0), stamp)
        self.erp.installed = partial(
            is_installed,
            self._service_layer,
            self.company,
            self._map.settings.idempotency,
            self._ports.metrics,
        )
        self._breaker.trip(NOT_PROVED, until=self.erp.installed)
        self._ports.metrics.components.count_by("company", self.company, lambda: len(self._keys.in_flight))
        self._spawn(self._stock.run())
        self._spawn(self._retries.retry_waiting())
        self._spawn(self._retries.adopt_late_writes())
        self._spawn(self._outcomes.run())
        self._spawn(self._scheduled.run())
        self._spawn(Forgetting(self.company, self._dead_letters, self._clock, counts, count).run())
        self._spawn(self._blocked.run())

    def quiesce(self) -> None:
        """Start nothing more; what is under way may end."""
        self._sequencer.quiesce()

    async def close(self, grace_s: float = 2.0) -> None:
        """Wait a little for what is under way, then let go: claims make the rest harmless."""
        self.quiesce()
        busy = {task for task in self._tasks if task.get_name() == "posting"} | self._stock.quiesce()
        try:
            if busy:
                await asyncio.wait(busy, timeout=grace_s)
        finally:
            # In one turn with the orders: nobody gets the lane of what is let go with its outcome open
            self._stock.stop()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._stock.close()
            await self._breaker.stop()
            # Before anything that waits for the broker: while it is away our successor's sessions would come on top of
            # ours.
            await self._service_layer.close()
        await self._outcomes.flush()

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

    # ---- what the gauges show

    def in_flight(self) -> Iterable[Posting]:
        """What is admitted and has not ended."""
        return [work.posting for work in self._keys.in_flight.values()]

    def dead_letters(self) -> Iterable[DeadLetterState]:
        """What is dead, parked or held."""
        return [entry.letter for entry in self._dead_letters.index.open()]

    # ---- admission

    async def take(self, batch: RecordBatch) -> None:
        """Admit a fetched batch of `erp-orders` or `erp-stock`; each record is finished when its posting has ended."""
        orders = batch.topic == self._topic("erp-orders")
        records = batch.open()
        if records and orders:
            await self._dead_letters.try_sync()
        for record in records:
            await self._take_one(batch, record)
            if orders:
                self._barrier.admitted = record.offset + 1
        await self._ports.crash_point("c1")

    async def _take_one(self, batch: RecordBatch, record: RawRecord) -> None:
        log = self._queue_logs[batch.topic]
        sequence = sequence_of(log, record.offset)
        try:
            posting: Posting | LetterCommand = self._codec.decode(record.value or b"", QUEUED)
            if isinstance(posting, LetterCommand):
                self._spawn(self._commands.run(posting, partial(batch.finish, record.offset)), "posting")
                return
            event: OrderEvent | StockBatch = self._codec.decode(posting.value, KINDS[posting.kind])
        except (CodecError, KeyError) as exc:
            await self._refuse_foreign(batch, record, foreign.record_of_nobody(self.company, batch, record, log, exc))
            return
        if not foreign.is_of(self.company, posting, event):
            await self._refuse_foreign(
                batch, record, foreign.posting_of_another(self.company, posting, event, sequence)
            )
            return
        reached = self._inputs.advance(posting)
        events = len(event.event_ids) if isinstance(event, StockBatch) else 1
        finish = partial(_finish, batch, record.offset, reached or {}, flow_of(posting.kind), events)
        self._admit(InFlightPosting(posting, event, finish, sequence, again=reached is None))

    async def _refuse_foreign(self, batch: RecordBatch, record: RawRecord, refused: Refused) -> None:
        """Keep for a person what another company owes its B1, or what none of our routers wrote; never post it."""
        if self._dead_letters.index.known(refused.id) is None:
            await self._dead_letters.add(refused)
        batch.finish(record.offset)

    def _admit(self, work: InFlightPosting) -> None:
        own, letter = self._dead_letters.of_record(work.posting), self._dead_letters.index.of_key(work.k)
        trigger = self._keys.judge(work.posting, own, letter)
        if trigger is Trigger.ID_REUSE and work.again and not isinstance(work.event, StockBatch):
            trigger = Trigger.ADMITTED  # what stands there may have come after its first: B1's claim knows
        row = follow(State.NEW, trigger)
        if row.effect is Effect.SEND:
            self._start(work)
        elif row.effect is Effect.WRITE:
            self._spawn(self._refuse_reused(work), "posting")
        else:
            ending: Ending | None = None if row.to is State.MERGED or work.again else "no_op"
            if (first := self._keys.in_flight.get(work.k)) is not None:
                first.followers.append(partial(work.finish, ending))
            else:
                self._endings.follow(work, ending)

    # ---- from the start of a posting to its end

    def _start(self, work: InFlightPosting) -> None:
        self._keys.in_flight[work.k] = work
        if isinstance(work.event, StockBatch):
            self._spawn(self._run(work, self._stock.post), "posting")
        else:
            self._sequencer.add(work)

    async def _run_order_event(self, work: InFlightPosting) -> None:
        await self._run(work, self._post_order_event)

    async def _run(self, work: InFlightPosting, post: Callable[[InFlightPosting], Awaitable[Result]]) -> None:
        try:
            foreign.check(self.company, work)
            result = await post(work)
        except Refusal as refusal:
            result = refusal
        await self._end(work, result)

    async def _end(self, work: InFlightPosting, result: Result) -> None:
        self._retries.release(await self._endings.end(work, result))

    async def _refuse_reused(self, work: InFlightPosting) -> None:
        self._retries.release(await self._endings.refuse_reused(work))

    async def _post_order_event(self, work: InFlightPosting) -> Result:
        posting, event = work.posting, work.event
        if work.only_look:
            return await self._orders.adopt(work) or NotFound()
        started = isinstance(event, StockBatch) or not self._map.before_start(event.source, event.occurred_at)
        if self._map.flow_off(posting.kind) or not started:
            return Ended(Trigger.NOTHING_TO_DO)
        blocker = posting.order_id and self._dead_letters.index.blocker(
            posting.order_id, posting.kind, posting.source or "", work.letter
        )
        if blocker:
            # Its first may have ended so, before the other one became a dead letter
            if work.again and await self._orders.has_nothing_to_do(work):
                return Ended(Trigger.NOTHING_TO_DO)
            return await self._orders.adopt(work) or Held(blocker)
        work.attempts += 1
        return await self._orders.post(work)


def _finish(batch: RecordBatch, offset: int, reached: Counts, flow: str, events: int, ending: Ending | None) -> None:
    batch.finish(offset, reached if ending is None else {**reached, (flow, ending): events})
