"""One worker's pipeline: who owns a partition of each topic while this worker has it. No Faust here."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial

import structlog

from connectors.base.dead_letters import INBOX
from connectors.base.errors import LogError
from schemas.records import Header
from schemas.topics import CONSUMED, FACTS, ORDER_FACTS, QUEUES, event_type
from streams.audit.trail import AuditTrail
from streams.chain.known_logs import KnownLogs
from streams.chain.log import Anchors
from streams.config.load import Config
from streams.dead_letters.publisher import DeadLetterPublisher, Refused
from streams.ports import Counts, Ports, RecordBatch
from streams.posting import foreign
from streams.posting.forgetting import CountEnded, count_nowhere
from streams.posting.poster import Poster, accept_any_term
from streams.posting.retired import OwnerlessQueue, retired_companies
from streams.windows.epoch import Composer
from streams.windows.partition import StockPartition
from streams.windows.rules import StockRules
from streams.windows.window import Limits
from streams.worker.isolation import OpenedBatch, PartOfBatch, words_of
from streams.worker.routing import OrderRouter

logger = structlog.get_logger(__name__)

STOCK, SEALED = "stock-adjusted", "stock-sealed"
ERP_ORDERS, ERP_STOCK = QUEUES
INPUTS = CONSUMED
#: Whose records a person can be left with. A chain of epochs has no gaps.
REFUSABLE = (*FACTS, *QUEUES)


#: So many records that fail, and no other that does not, are no records that nobody can handle: something else is.
ALL_FAIL = 5

HandOver = Callable[[RecordBatch], Awaitable[None]]


def _at_once(take: Callable[[RecordBatch], None]) -> HandOver:
    async def hand_over(batch: RecordBatch) -> None:
        take(batch)

    return hand_over


@dataclass(frozen=True, slots=True)
class _StrictestLimits:
    length_s: float
    max_members: int


class Pipeline:
    """What a worker does with each batch it is handed, whatever hands it over.

    Attributes:
        logs: Which log of each partition is read.
        partitions: Of `stock-adjusted`, by number.
        posters: By the partition of their company.
    """

    def __init__(self, config: Config, ports: Ports) -> None:
        self._config, self._ports = config, ports
        log, codec = ports.log, ports.codec
        self._letters = DeadLetterPublisher(
            log,
            codec,
            config.topic,
            lambda company: config.company_partition(company) if company else 0,
            ports.clock,
            ports.metrics,
        )
        self.logs = KnownLogs(log, codec, config, ports.clock)
        self._anchors = Anchors(log, codec, config.topic("chain-anchors"))
        self._router = OrderRouter(config, log, codec, self._letters, ports.clock, ports.metrics)
        self._rules = StockRules(config.maps)
        self._composer = Composer(codec, self._rules, config.version)
        windows = [company.window for company in config.companies.values()]
        self._strictest = _StrictestLimits(min(w.length_s for w in windows), min(w.max_members for w in windows))
        self.partitions: dict[int, StockPartition] = {}
        self.posters: dict[int, Poster] = {}
        self.ownerless: dict[int, OwnerlessQueue] = {}

    def limits(self, company: str) -> Limits:
        """When a window of this company's events is sealed; the strictest where the company is unknown."""
        settings = self._config.companies.get(company)
        return self._strictest if settings is None else settings.window

    def company_of(self, partition: int) -> str | None:
        return next(
            (name for name in self._config.companies if self._config.company_partition(name) == partition), None
        )

    # ---- stock

    def stock_partition(self, number: int) -> StockPartition:
        """The windows of an input partition.

        Kept while the partition goes and comes back in the same log, so that only new records are walked.
        """
        sealed_log = self.logs.number(self._config.topic(SEALED), number)
        partition = self.partitions.get(number)
        if partition is None or partition.sealed_log != sealed_log:
            partition = self.partitions[number] = StockPartition(
                number,
                self._config,
                self._ports,
                self._composer,
                self._rules,
                self._letters,
                self._anchors,
                self.limits,
            )
            partition.sealed_log = sealed_log
        return partition

    # ---- companies

    async def open_poster(
        self,
        partition: int,
        counts: Counts,
        queue_start: int,
        stamp: Callable[[int], Awaitable[bool]] = accept_any_term,
        count: CountEnded = count_nowhere,
    ) -> Poster | None:
        """Make and open the poster of the company on this partition (see `Poster.open`).

        None where there is no company.
        """
        company = self.company_of(partition)
        if company is None:
            self.ownerless[partition] = OwnerlessQueue(self._letters, self._ports.codec, self.retired, self.logs.number)
            return None
        poster = Poster(company, self._config, self._ports, self._letters, self._anchors)
        owners = foreign.owners_of(counts) - {company}
        retired = await self.retired() if owners else ()
        await poster.open(counts, queue_start, stamp, self.logs.number, count, retired)
        self.posters[partition] = poster
        return poster

    # ---- batches

    async def take(self, topic: str, partition: int, batch: RecordBatch) -> None:
        """Hand a batch of one of `INPUTS` to whoever owns its partition.

        A record that its owner cannot handle, by an error of ours, is a dead letter; the others go on.

        Raises:
            LogError: Nothing is known to be handed over; the offsets stay.
            Exception: An error of ours in what nobody can refuse: an epoch.
        """
        hand_over = self._owner(topic, partition)
        opened = OpenedBatch(batch)
        try:
            await hand_over(opened)
        except LogError:
            raise
        except Exception:
            if topic == SEALED:
                raise
            await self._one_by_one(topic, partition, opened, hand_over)

    async def _one_by_one(self, topic: str, partition: int, opened: OpenedBatch, hand_over: HandOver) -> None:
        singles, failed = opened.singles(), list[tuple[PartOfBatch, Exception]]()
        for single in singles:
            try:
                await hand_over(single)
            except LogError:
                raise
            except Exception as error:  # noqa: BLE001 -- whatever it is, it is this record's
                failed.append((single, error))
        if len(failed) == len(singles) >= ALL_FAIL:  # it is not the records
            raise failed[0][1]
        for single, bug in failed:
            offset, words = single.record.offset, words_of(bug)
            logger.error("record is refused", topic=topic, partition=partition, offset=offset, error=words)
            await self.refuse(topic, partition, single, f"an error of our own, {words}: report it")

    async def refuse(self, topic: str, partition: int, single: PartOfBatch, error: str) -> None:
        """Make a dead letter of a record that nothing here can handle, unread.

        Raises:
            LogError: Not written; the offset stays.
        """
        record, is_fact = single.record, topic in FACTS
        company = None if is_fact else self.company_of(partition)
        refused = Refused(
            reason="poison",
            state="dead",
            error=error,
            event_type=event_type(topic) if is_fact else INBOX,
            company=company or "",
            topic=single.topic,
            partition=partition,
            offset=record.offset,
            log=self.logs.number(single.topic, partition),
            timestamp_ms=record.timestamp,
            key=record.key,
            value=record.value,
            headers=tuple(Header(name=name, value=value or b"") for name, value in record.headers),
        )
        await self._letters.refuse([refused])
        single.finish(record.offset)

    def _owner(self, topic: str, partition: int) -> HandOver:
        if topic in ORDER_FACTS:
            return partial(self._route, event_type(topic))
        if topic == STOCK:
            return _at_once(self.partitions[partition].take)
        if topic == SEALED:
            return self.partitions[partition].route
        poster = self.posters.get(partition)
        return _at_once(self.ownerless[partition].take) if poster is None else poster.take

    async def retired(self) -> frozenset[str]:
        """Companies that a person has ended.

        Raises:
            LogError: The broker cannot be reached.
        """
        return await retired_companies(AuditTrail(self._ports.log, self._config, self._ports.codec, self._ports.clock))

    async def _route(self, kind: str, batch: RecordBatch) -> None:
        await self._router.route(kind, batch, self.logs.number(batch.topic, batch.partition))

    # ---- giving back

    async def release(self, stock: Collection[int], companies: Collection[int]) -> None:
        """Seal what is open, let what is under way end for a moment, and close; stock partitions stay in memory."""
        for number in companies:
            self.ownerless.pop(number, None)
        posters = [self.posters.pop(number) for number in companies if number in self.posters]
        for poster in posters:
            poster.quiesce()
        partitions = [self.partitions[number] for number in stock if number in self.partitions]
        results = await asyncio.gather(
            *(partition.release() for partition in partitions),
            *(poster.close() for poster in posters),
            return_exceptions=True,
        )
        errors = [result for result in results if isinstance(result, Exception)]
        if errors:
            raise errors[0]

    def drop(self, stock: Collection[int]) -> None:
        """Forget partitions that have gone to somebody else."""
        for number in stock:
            self.partitions.pop(number, None)
