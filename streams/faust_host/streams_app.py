"""The Faust app: which topics are read, who gets their batches, and what happens when partitions come and go (D6)."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import structlog
from faust.types import TP

from connectors.base.errors import LogUnavailableError
from schemas.components import ComponentKind
from schemas.topics import ORDER_FACTS, QUEUES
from streams.chain.acceptance import DOCUMENTS
from streams.chain.known_logs import LogMismatchError
from streams.chain.loss import ACCEPTED
from streams.chain.rule import ChainRootError
from streams.config.load import Config
from streams.dead_letters.states import TERM
from streams.faust_host.app import FaustApp
from streams.faust_host.batch import FetchedBatch
from streams.faust_host.settings import SETTINGS
from streams.faust_host.watermarks import Start
from streams.ports import Ports
from streams.posting.foreign import ForeignQueueError, queue_of
from streams.windows.partition import InputLostError, StockPartition
from streams.worker.failures import Failures
from streams.worker.fuse import Fuse
from streams.worker.input_logs import DECISION_POLL_S, READING_POLL_S, InputLogs
from streams.worker.pipeline import ERP_ORDERS, ERP_STOCK, INPUTS, REFUSABLE, SEALED, STOCK, Pipeline

logger = structlog.get_logger(__name__)


class StreamsApp(FaustApp):
    """One worker. Orders flow as soon as partitions are assigned; stock follows when its chains have been walked."""

    def __init__(self, config: Config, ports: Ports, **settings: Any) -> None:
        super().__init__(config.group, **{**SETTINGS, **settings})
        self.pipeline = Pipeline(config, ports)
        self._config, self._ports = config, ports
        self._logs = InputLogs(self, self.pipeline.logs, config, ports.metrics.vitals, ports.metrics.components)
        self._names: Mapping[TP, TP] = {}
        self._fuse = Fuse(self, ports.first_fatal)
        self._failures = Failures(ports.metrics.components, ports.clock)
        self._held: set[tuple[ComponentKind, str]] = set()
        self._beside: set[asyncio.Task[None]] = set()
        for name in INPUTS:
            self._read(name)

    def _read(self, name: str) -> None:
        topic = self.topic(self._config.topic(name), value_serializer="raw", key_serializer="raw")

        async def agent(stream: Any) -> None:
            async for batch in stream.noack():
                await self._take(name, batch)

        self.agent(topic, name=name)(agent)

    async def _take(self, name: str, batch: FetchedBatch) -> None:
        take = partial(self.pipeline.take, name, batch.partition)
        try:
            if self._fuse.is_careful(batch.tp):
                refuse = partial(self.pipeline.refuse, name, batch.partition)
                await self._fuse.take(batch.tp, name, batch, take, refuse)
            else:
                await take(batch)
        except LogUnavailableError:  # Kafka itself ends a process
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other partitions go on
            await self._hold(name, batch.partition, error)

    async def on_out_of_range(self, tps: Mapping[TP, int]) -> None:
        for tp, offset in tps.items():
            lost = LogMismatchError(f"{tp.topic}/{tp.partition} does not hold offset {offset}")
            await self._hold(self._config.name_of(tp.topic), tp.partition, lost)

    # ---- partitions come

    async def on_assigned(self, tps: set[TP]) -> None:
        names = self._names = {TP(self._config.name_of(tp.topic), tp.partition): tp for tp in tps}
        metrics = self._ports.metrics
        for name in INPUTS:
            metrics.partitions_assigned(name).set(sum(tp.topic == name for tp in names))
        metrics.rebalances.inc()
        companies = {tp.partition for tp in names if tp.topic == ERP_ORDERS}
        documents = {TP(self._config.topic(DOCUMENTS), number) for number in companies}
        stale = await self._logs.examine({*tps, *documents})
        await self._fuse.begin([tp for name, tp in names.items() if name.topic in REFUSABLE], self._end_of)
        stale_facts = [tp for name, tp in names.items() if tp in stale and name.topic in ORDER_FACTS]
        held = {tp.partition for name, tp in names.items() if tp in stale and name.topic in QUEUES}
        held |= {tp.partition for tp in documents & stale}
        for tp in (*stale_facts, *(names[TP(name, number)] for name in QUEUES for number in held)):
            self.pause(tp)
        stock = {tp.partition for tp in names if tp.topic == STOCK}
        for number in stock:
            for name in (STOCK, SEALED):
                self.pause(names[TP(name, number)])
        try:
            await asyncio.gather(*(self._open_poster(names, number) for number in companies - held))
        except asyncio.CancelledError:  # taken back meanwhile, and then `before_release` is not called
            await self.pipeline.release((), companies)
            raise
        self.pipeline.drop(set(self.pipeline.partitions) - stock)
        for number in sorted(stock):
            self._start(self._open_stock(names[TP(STOCK, number)], names[TP(SEALED, number)]))
        for tp in stale_facts:
            self._start(self._settle(tp))
        for number in held:
            self._start(self._open_held_company(names, number))
        self._start(self._logs.watch(tps))
        metrics.vitals.ready("worker")

    async def _end_of(self, tp: TP) -> int:
        return (await self._ports.log.bounds(tp.topic, tp.partition))[1]

    async def _settle(self, tp: TP) -> None:
        await self._logs.settle([tp])
        self.resume(tp)

    async def _open_held_company(self, names: Mapping[TP, TP], partition: int) -> None:
        """Open a company's poster when both of its queues may be read; the other companies go on meanwhile."""
        queues = [names[TP(name, partition)] for name in QUEUES]
        await self._logs.settle([*queues, TP(self._config.topic(DOCUMENTS), partition)])
        if await self._open_poster(names, partition):
            for tp in queues:
                self.resume(tp)

    async def _open_poster(self, names: Mapping[TP, TP], partition: int) -> bool:
        """Open the poster of the company on this partition; False: its queues are not to be read."""
        orders, stock = (self.watermark(names[TP(name, partition)]) for name in (ERP_ORDERS, ERP_STOCK))
        counts = {**((orders and orders.counts) or {}), **((stock and stock.counts) or {})}
        stamp = partial(self._stamp, names[TP(ERP_ORDERS, partition)])
        count = partial(self.add, names[TP(ERP_ORDERS, partition)])
        try:
            poster = await self.pipeline.open_poster(partition, counts, orders.offset if orders else 0, stamp, count)
        except ForeignQueueError as error:  # the other companies go on
            await self._hold(ERP_ORDERS, partition, error)
            return False
        if poster is not None:
            self._start(self._watch(partition, poster.failed))
        else:
            self._start(self.pipeline.ownerless[partition].run())
        return True

    async def _stamp(self, tp: TP, term: int) -> bool:
        company = self.pipeline.company_of(tp.partition)
        return await self.stamp(tp, {TERM: term, **({} if company is None else queue_of(company))})

    async def _open_stock(self, stock: TP, sealed: TP, *, again: bool = False) -> None:
        """Walk the chain, then let the partition be read from its end; `again`: it has been read beyond that."""
        await self._logs.settle([sealed, stock])
        partition = self.pipeline.stock_partition(stock.partition)
        committed, routed = self.watermark(stock), self.watermark(sealed)
        follows = committed.counts.get(ACCEPTED, 0) if committed and committed.counts else 0
        start = await self._decided(
            partition, stock, committed.offset if committed else None, routed.offset if routed else 0, follows
        )
        counts = {
            ("stock_adjusted", "no_op"): partition.no_ops,
            **({ACCEPTED: partition.accepted} if partition.accepted else {}),
        }
        is_other = follows != partition.accepted or again
        if committed is None or start > committed.offset or is_other:
            while not await self.rewind(stock, Start(start, counts)) and is_other:  # noqa: ASYNC110  # once a disaster
                await asyncio.sleep(READING_POLL_S)  # the commit is of a log that is gone: nothing is read from there
            self.pause(stock)
        self._start(self._seal(partition))
        self.resume(stock)
        self.resume(sealed)

    async def _decided(
        self, partition: StockPartition, tp: TP, committed: int | None, routed: int, follows: int
    ) -> int:
        """Where the input is read from; waits while a person must decide. The other partitions and the orders go on."""
        name, vitals = f"{tp.topic}/{tp.partition}", self._ports.metrics.vitals
        try:
            while True:
                try:
                    return await partition.open(committed, routed, follows)
                except (ChainRootError, InputLostError) as error:
                    logger.critical("partition is not read", topic=tp.topic, partition=tp.partition, error=str(error))
                    vitals.expect(name, str(error))
                await asyncio.sleep(DECISION_POLL_S)
        finally:
            vitals.ready(name)

    async def _seal(self, partition: StockPartition) -> None:
        try:
            await partition.run()
        except LogUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other partitions go on
            await self._hold(STOCK, partition.partition, error)

    async def _watch(self, partition: int, failed: "asyncio.Future[None]") -> None:
        try:
            await asyncio.shield(failed)
        except LogUnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, the other companies go on
            await self._hold(ERP_ORDERS, partition, error)

    # ---- fail

    async def _hold(self, topic: str, partition: int, error: Exception) -> None:
        """Leave a partition alone for a while, a queue with its company; then read it again from its watermark."""
        company = self.pipeline.company_of(partition) if topic in QUEUES else None
        kind: ComponentKind = "partition" if company is None else "company"
        name = company or f"{STOCK if topic == SEALED else topic}/{partition}"
        if (kind, name) in self._held:
            return
        self._held.add((kind, name))
        topics = QUEUES if topic in QUEUES else (STOCK, SEALED) if topic in (STOCK, SEALED) else (topic,)
        tps = [self._names[TP(each, partition)] for each in topics]
        for tp in tps:
            self.pause(tp)
        if topic in QUEUES:
            await self.pipeline.release((), (partition,))
        elif topic in (STOCK, SEALED):
            self.pipeline.drop((partition,))
        is_lost = isinstance(error, LogMismatchError)  # then its log is looked at, which says so
        delay_s = 0.0 if is_lost else self._failures.failed(kind, name, error)
        self._start(self._try_again(kind, name, tps, delay_s))

    async def _try_again(self, kind: ComponentKind, name: str, tps: Sequence[TP], delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        topic = self._config.name_of(tps[0].topic)
        if topic != STOCK:
            await self._logs.settle(tps)
        self._held.discard((kind, name))
        for tp in tps if topic != STOCK else tps[1:]:
            if (at := self.watermark(tp)) is not None:
                await self.rewind(tp, at)
        if topic == STOCK:
            await self._open_stock(*tps, again=True)
        elif topic in ORDER_FACTS or await self._open_poster(self._names, tps[0].partition):
            for tp in tps:
                self.resume(tp)
        else:
            return
        self._failures.works(kind, name)

    # ---- and go

    async def before_release(self, tps: set[TP]) -> None:
        names = {TP(self._config.name_of(tp.topic), tp.partition) for tp in tps}
        self._held.clear()
        beside = list(self._beside)
        for task in beside:
            task.cancel()
        stock, companies = ({tp.partition for tp in names if tp.topic == topic} for topic in (STOCK, ERP_ORDERS))
        self._logs.forget({*tps, *(TP(self._config.topic(DOCUMENTS), number) for number in companies)})
        # Side by side: whatever does not end in time, the posters are stopped, for the partitions go to others
        released, *_ = await asyncio.gather(self.pipeline.release(stock, companies), *beside, return_exceptions=True)
        for number in companies:
            if (company := self.pipeline.company_of(number)) is not None:
                self._ports.metrics.components.forget("company", company)  # its next worker speaks of it
        if released is not None:
            raise released
        self.note(self._fuse.end([tp for tp in tps if self._config.name_of(tp.topic) in REFUSABLE]))

    def on_commit(self, accepted: bool) -> None:
        self._ports.metrics.offset_commits("ok" if accepted else "refused").inc()

    # ---- what runs beside

    def _start(self, coroutine: Any) -> None:
        task = asyncio.ensure_future(coroutine)
        self._beside.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("worker fails", error=str(error), kind=type(error).__name__, exc_info=error)
            crash = asyncio.ensure_future(self.crash(error))
            self._beside.add(crash)
            crash.add_done_callback(self._beside.discard)
