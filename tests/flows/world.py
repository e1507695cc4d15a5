"""Everything between a line in a file and B1's ledger, real but for the broker, the network and the clock.

Lines go through `connectors.runtime` into a log in memory, through the real `streams.worker.pipeline` on a worker
played here, and over the real client into the simulated Service Layer. Time is virtual: a minute costs what happens in
it.
"""

import asyncio
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from connectors.base.cursors import CURSORS, Cursors, partition_of
from connectors.base.dead_letters import DeadLetters
from connectors.base.log import Outgoing, Record, Sent
from connectors.base.publisher import Publisher
from connectors.base.settings import Secret
from connectors.ims.source import ImsSource
from connectors.runtime import Runtime
from connectors.sap_b1.claims import ENTITY, Claim
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.service_layer import ServiceLayer
from lab.simulators.sap_b1.app import build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from schemas.codec import embedded_codec
from schemas.letters import REASONS
from schemas.records import DeadLetterState, Outcome, Posting, SealedEpoch, StockDocument
from streams.chain.keys import key_of, order_key
from streams.config.load import Config, parse
from streams.dead_letters.commands import QUEUED
from streams.faust_host.watermarks import Progress, TakenRecords, decode_counts, encode_counts
from streams.kafka.log import Committed
from streams.ports import Ports, no_crash
from streams.query import status
from streams.query.dead_letters import standing
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import ERP_ORDERS, ERP_STOCK, INPUTS, SEALED, STOCK, Pipeline
from tests.connectors.wire import Wire
from tests.flows.company import COMPANY, CONNECTORS, INSTALLATIONS, MASTER_DATA
from tests.simulation.loop import VirtualLoop
from tests.streams.fakes import ENVIRON, MemoryLog, example
from tests.streams.records import raw_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
_PATIENCE_S = 3600.0


class FlowLoop(VirtualLoop):
    """Virtual time for one process; what a task raises and nobody reads is told as everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.set_exception_handler(None)


class VirtualClock:
    """`NOW` at the loop's second 0; a test may set it forward alone, as if a machine had slept."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ahead_s = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return self._loop.time() + self._ahead_s


class FlowLog(MemoryLog):
    """The broker in memory; its time is the clock's, and `arrived` is set when something has come."""

    def __init__(self, clock: VirtualClock, topics: Any) -> None:
        super().__init__(topics)
        self._clock, self.arrived = clock, asyncio.Event()

    async def send_many(self, records: Sequence[Outgoing]) -> list[Sent]:
        self.now_ms = int(self._clock.now().timestamp() * 1000)
        sent = await super().send_many(records)
        self.arrived.set()
        self.arrived = asyncio.Event()
        return sent

    def lying(self, topic: str) -> list[Record]:
        """Everything in a topic, partition by partition."""
        return [record for (name, _), records in sorted(self._records.items()) for record in records if name == topic]


class _Batch:
    """A fetched batch; each finished record moves the committed watermark at once."""

    def __init__(self, progress: Progress, records: Sequence[Any], moved: Callable[[], None]) -> None:
        self._progress, self._records, self._moved = progress, records, moved
        self.topic, self.partition = records[0].topic, records[0].partition
        self._taken: TakenRecords | None = None

    @property
    def live(self) -> bool:
        return self._progress.live

    def open(self) -> Sequence[Any]:
        self._taken = self._progress.take([record.offset for record in self._records])
        return self._records

    def finish(self, offset: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        assert self._taken is not None
        if self._progress.finish(self._taken, offset, counts):
            self._moved()

    def finish_through(self, offset: int, counts: Mapping[tuple[str, str], int] | None = None) -> None:
        assert self._taken is not None
        if self._progress.finish_through(self._taken, offset, counts):
            self._moved()


class Worker:
    """One worker that has all partitions: what `streams.faust_host.app` does with its pipeline, without Faust."""

    def __init__(self, config: Config, ports: Ports, log: FlowLog) -> None:
        self._config, self._log = config, log
        self.pipeline = Pipeline(config, ports)
        self.tasks: list[asyncio.Task[Any]] = []
        self.crossed: dict[tuple[str, int], Progress] = {}
        self._alive = True

    def _partitions(self, name: str) -> range:
        kafka = self._config.kafka
        return range(kafka.company_partitions if name in (ERP_ORDERS, ERP_STOCK) else kafka.partitions)

    async def start(self) -> None:
        committed = await self._log.committed(self._config.group)
        at = {
            (name, number): committed.get((self._config.topic(name), number))
            for name in INPUTS
            for number in self._partitions(name)
        }
        for place, kafka in at.items():
            counts = decode_counts(kafka.metadata) if kafka else {}
            self.crossed[place] = Progress(kafka.offset if kafka else 0, counts)
        for number in self._partitions(ERP_ORDERS):
            orders, stock = self.crossed[ERP_ORDERS, number], self.crossed[ERP_STOCK, number]
            poster = await self.pipeline.open_poster(number, {**orders.counts, **stock.counts}, orders.next or 0)
            if poster is not None:
                self.tasks.append(asyncio.ensure_future(poster.failed))
        for number in self._partitions(STOCK):
            kafka, sealed = at[STOCK, number], at[SEALED, number]
            partition = self.pipeline.stock_partition(number)
            start = await partition.open(kafka.offset if kafka else None, sealed.offset if sealed else 0)
            if kafka is None or start > kafka.offset:
                counts = {("stock_adjusted", "no_op"): partition.no_ops}
                self.crossed[STOCK, number] = Progress(start, counts)
                if start:
                    self._commit((STOCK, number), self.crossed[STOCK, number])
            self.tasks.append(asyncio.create_task(partition.run()))
        self.tasks += [asyncio.create_task(self._pump(*place)) for place in self.crossed]

    async def _pump(self, name: str, number: int) -> None:
        progress, topic = self.crossed[name, number], self._config.topic(name)
        at = progress.next or 0
        while True:
            arrived = self._log.arrived
            _, end = await self._log.bounds(topic, number)
            if at >= end:
                await arrived.wait()
                continue
            async for records in self._log.read(topic, number, at, end):
                batch = _Batch(
                    progress, [raw_of(one) for one in records], lambda: self._commit((name, number), progress)
                )
                await self.pipeline.take(name, number, batch)
                at = records[-1].offset + 1

    def _commit(self, place: tuple[str, int], progress: Progress) -> None:
        if self._alive and progress.next is not None:
            self._log.commit(
                self._config.group,
                self._config.topic(place[0]),
                place[1],
                progress.next,
                encode_counts(progress.counts),
            )

    def check(self) -> None:
        """Raise what ended any of it."""
        for task in self.tasks:
            if task.done():
                task.result()

    async def stop(self) -> None:
        """SIGTERM: seal what is open, let what is under way end, give everything back."""
        await self._end()
        await self.pipeline.release(set(self._partitions(STOCK)), set(self._partitions(ERP_ORDERS)))

    async def kill(self) -> None:
        """As SIGKILL, as far as one process can: nothing more is committed; what was sent stays sent."""
        self._alive = False
        await self._end()
        for poster in self.pipeline.posters.values():
            await poster.close(0)

    async def _end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.tasks.clear()


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter as it stands, with the record that holds its bytes."""

    state: DeadLetterState
    record: Record

    @property
    def headers(self) -> dict[str, str]:
        return {name: value.decode() for name, value in self.record.headers}


class World:
    """Lifecycle: `start`; `says` and `settled` as often as wanted; `close`."""

    def __init__(self, folder: Path, company: Mapping[str, Any], connectors: Mapping[str, Any]) -> None:
        data = example()
        data["kafka"] |= {"partitions": 2, "company_partitions": 2}
        data["companies"]["acme"] = merged(merged(data["companies"]["acme"], COMPANY), company)
        data["connectors"] = merged(merged(data["connectors"], CONNECTORS), connectors)
        self._data, self._folder = data, folder
        self.config = parse(data, folder, ENVIRON)
        self.clock = VirtualClock()
        self.log = FlowLog(self.clock, MemoryLog.of(self.config)._topics.values())
        self.codec = embedded_codec()
        self.faults = FaultPlan()
        self.b1 = Company("SBO_ACME", clock=self.clock.now, with_claims=True, master_data=MASTER_DATA)
        tier = self.config.companies["acme"].idempotency
        if tier != "claim":
            self.b1.load({"rules": INSTALLATIONS[tier]})
            self.proves(tier)
        self.simulator = build_app(
            self.b1,
            users={"streams": "right"},
            clock=self.clock.now,
            random=random.Random(1),
            faults=self.faults,
            settings=ServiceLayerSettings(speed=0.1, lock_wait_s=0.2),
        )
        self.crash_point: Callable[[str], Awaitable[None]] = no_crash
        self.worker: Worker | None = None
        self._stop = asyncio.Event()
        self._sources: list[asyncio.Task[None]] = []
        self._files = itertools.count(1)
        self.lines: dict[str, list[bytes]] = {}

    # ---- life

    async def start(self) -> None:
        for name, settings in self.config.connectors.items():
            (self._folder / f"in/{name}").mkdir(parents=True, exist_ok=True)
            broker, partition = self.log, partition_of(name, self.config.kafka.partitions)
            runtime = Runtime(
                ImsSource(name, settings, self.clock),  # type: ignore[arg-type]  # all of ours are ims
                cursors=Cursors(
                    name, broker, self.codec, self.clock, topic=self.config.topic(CURSORS), partition=partition
                ),
                publisher=Publisher(broker, self.codec, self.clock, self.config.topic),
                letters=DeadLetters(broker, self.codec, self.clock, self.config.topic, self.config.company_partition),
                metrics=Metrics(self.config).sources,
                poll_interval_s=0.5,
            )
            self._sources.append(asyncio.create_task(runtime.run(self._stop)))
        await self.start_worker()

    async def start_worker(self, **company: Any) -> None:
        """A worker under the configuration as it is, or as changed from now on."""
        if company:
            self._data["companies"]["acme"] = merged(self._data["companies"]["acme"], company)
            self.config = parse(self._data, self._folder, ENVIRON)
        self.metrics = Metrics(self.config)
        ports = Ports(
            self.log,
            self.codec,
            self.clock,
            random.Random(2),
            self.metrics,
            self._service_layer,
            self._passes_point,
        )
        self.worker = Worker(self.config, ports, self.log)
        await self.worker.start()

    def _service_layer(self, company: str) -> ServiceLayer:
        settings = self.config.companies[company]
        return HttpServiceLayer(
            settings.service_layer_url,
            settings.company_db,
            settings.username,
            Secret("env:B1", "right"),
            verify=True,
            session_limit=settings.session_limit,
            transport=Wire(self.simulator),
            clock=self.clock,
            random=random.Random(3),
        )

    async def _passes_point(self, point: str) -> None:
        await self.crash_point(point)

    async def stop_worker(self) -> None:
        assert self.worker is not None
        worker, self.worker = self.worker, None
        await worker.stop()

    async def kill_worker(self) -> None:
        assert self.worker is not None
        worker, self.worker = self.worker, None
        await worker.kill()

    async def close(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._sources)
        if self.worker is not None:
            await self.stop_worker()
        self.log.arrived.set()
        await self.simulator.settle()

    # ---- what happens

    async def says(self, source: str, *events: Mapping[str, Any] | bytes) -> None:
        """A source writes one more file, and everything settles."""
        self.writes(source, *events)
        await self.settled()

    def writes(self, source: str, *events: Mapping[str, Any] | bytes) -> None:
        lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
        self.lines.setdefault(source, []).extend(lines)
        path = self._folder / f"in/{source}/{next(self._files):06}.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")

    async def settled(self, every_s: float = 0.7, patience_s: float = _PATIENCE_S) -> None:
        """Until nothing is in flight; parked and dead aside, as `streams status` sees it."""
        await self._until_true(lambda _: True, every_s, patience_s)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Until nothing is in flight and something is so."""
        await self._until_true(lambda _: reached())

    async def passes(self, seconds: float) -> None:
        """Time goes by, with whatever happens in it."""
        await asyncio.sleep(seconds)
        if self.worker is not None:
            self.worker.check()

    async def _until_true(
        self, reached: Callable[[status.Status], bool], every_s: float = 0.7, patience_s: float = _PATIENCE_S
    ) -> None:
        deadline = self.clock.monotonic() + patience_s
        while True:
            await asyncio.sleep(every_s)
            assert self.worker is not None
            self.worker.check()
            for source in self._sources:
                if source.done():
                    source.result()
            seen = await self.status()
            if seen.idle and reached(seen):
                for flow in seen.flows.values():
                    assert flow.received == flow.posted + flow.no_op + flow.parked + flow.dead
                return
            assert self.clock.monotonic() < deadline, seen

    async def status(self) -> status.Status:
        return await status.read(self.log, self.config, self.codec, int(self.clock.now().timestamp() * 1000))

    async def ends(self, flow: str) -> dict[str, int]:
        """How many events of a flow ended how, without those that are nought."""
        shown = (await self.status()).flows[flow]
        return {end: n for end in ("posted", "no_op", "parked", "dead") if (n := getattr(shown, end))}

    def needs_approval(self, *entities: str) -> None:
        """From now on new documents of these sets become drafts."""
        self.b1.rules = self.b1.rules.changed({"approval": entities})

    def approve(self) -> None:
        """A person decides: the oldest open draft becomes a document."""
        self.needs_approval()
        entry = next(draft["DocEntry"] for draft in self.drafts() if draft["DocumentStatus"] == "bost_Open")
        (answer,) = self.b1.apply(
            [Request("POST", "DraftsService_SaveDraftToDocument", {"Document": {"DocEntry": entry}})]
        )
        assert answer.status == 204

    def proves(self, tier: str) -> None:
        """`streams doctor` has proven a tier here."""
        self.b1.apply([Request("DELETE", f"{ENTITY}('tier')")])
        row = Claim("tier", "proof", bytes(16), "0 proof", tier).request()
        (answer,) = self.b1.apply([Request(row.method, row.path, row.body)])
        assert answer.status == 201

    # ---- what is there

    def documents(self, entity: str) -> list[dict[str, Any]]:
        """Documents of an entity set in B1's ledger, first made first, mirrors of cancelled ones left out."""
        return [
            one
            for one in self.b1.ledger()["documents"]
            if one["entity"] == entity and one["CancelStatus"] != "csCancellation"
        ]

    def drafts(self) -> list[dict[str, Any]]:
        drafts: list[dict[str, Any]] = self.b1.ledger()["drafts"]
        return drafts

    def claims(self) -> dict[str, dict[str, Any]]:
        return {row["Code"]: row for row in self.b1.ledger()["claims"] if row["U_KIND"] != "proof"}

    def on_hand(self, item: str, warehouse: str = "LON1") -> Decimal:
        return self.b1.on_hand(item, warehouse)

    async def letters(self, state: str | None = None) -> list[Letter]:
        """Dead letters as they stand, in order of arrival."""
        found = [Letter(one, self._lying(one)) for one in (await standing(self.log, self.config, self.codec)).values()]
        found.sort(key=lambda one: (one.state.first_failed_at, one.state.sequence, one.state.offset))
        return [one for one in found if state is None or one.state.state == state]

    async def letter(self, reason: str, state: str | None = None) -> Letter:
        """The one letter of a reason; it stands as the reason's table says, or as `state`."""
        found = [one for one in await self.letters() if one.state.reason == reason and one.state.state != "held"]
        assert len(found) == 1, [(one.state.reason, one.state.state, one.state.error) for one in await self.letters()]
        assert found[0].state.state == (state or REASONS[reason].ends_as)
        return found[0]

    def _lying(self, letter: DeadLetterState) -> Record:
        (record,) = (
            one
            for one in self.log.lying(letter.letter_topic)
            if (one.partition, one.offset) == (letter.letter_partition, letter.letter_offset)
        )
        return record

    def facts(self, event_type: str) -> list[Record]:
        return self.log.lying(self.config.topic(event_type.replace("_", "-")))

    def epochs(self) -> list[SealedEpoch]:
        return [
            self.codec.decode(one.value or b"", SealedEpoch)
            for one in self.log.lying(self.config.topic("stock-sealed"))
        ]

    def sealed_documents(self) -> list[StockDocument]:
        return [
            self.codec.decode(one.value or b"", StockDocument)
            for one in self.log.lying(self.config.topic("erp-documents"))
        ]

    def postings(self, queue: str) -> list[Posting]:
        lying = self.log.lying(self.config.topic(queue))
        return [each for one in lying if isinstance(each := self.codec.decode(one.value or b"", QUEUED), Posting)]

    def outcomes(self) -> list[Outcome]:
        return [
            self.codec.decode(one.value or b"", Outcome) for one in self.log.lying(self.config.topic("erp-outcomes"))
        ]

    def order_k(self, order_id: str, source: str = "shop") -> str:
        return order_key("acme", source, order_id)

    def k(self, kind: str, source: str, *identity: str) -> str:
        return key_of(kind, "acme", source, *identity)

    def committed(self) -> dict[tuple[str, int], Committed]:
        return self.log.commits.get(self.config.group, {})


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Tables merged key by key; None takes a key out."""
    result = dict(base)
    for name, value in changes.items():
        old = result.get(name)
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return result


# ---- lines as a shop and a warehouse write them


def at(minutes: float = 0.0) -> str:
    """A time before (or after) the world began, in minutes."""
    return (NOW + timedelta(minutes=minutes)).isoformat()


def order_line(
    line_id: str = "1", sku: str = "A", quantity: str = "2", price: str = "10.00", **fields: Any
) -> dict[str, Any]:
    return {"line_id": line_id, "sku": sku, "quantity": quantity, "unit_price": price, "tax_code": "GB-20", **fields}


def order(order_id: str = "1001", *lines: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "type": "order_placed",
        "order_id": order_id,
        "occurred_at": at(-10),
        "currency": "GBP",
        "lines": list(lines) or [order_line(tax_amount="4.00")],
        **fields,
    }


def dispatch(
    shipment_id: str = "D1", order_id: str = "1001", *lines: Mapping[str, Any], **fields: Any
) -> dict[str, Any]:
    return {
        "type": "dispatch_confirmed",
        "shipment_id": shipment_id,
        "order_id": order_id,
        "occurred_at": at(-5),
        "location": "MAIN",
        "lines": list(lines) or [{"line_id": "1", "sku": "A", "quantity": "2"}],
        **fields,
    }


def cancel(event_id: str = "X1", order_id: str = "1001", **fields: Any) -> dict[str, Any]:
    return {"type": "order_cancelled", "event_id": event_id, "order_id": order_id, "occurred_at": at(-4), **fields}


def refund_line(
    line_id: str = "1", sku: str = "A", quantity: str = "1", amount: str = "10.00", **fields: Any
) -> dict[str, Any]:
    return {
        "line_id": line_id,
        "sku": sku,
        "quantity": quantity,
        "amount": amount,
        "tax_amount": "2.00",
        "restock": True,
        **fields,
    }


def refund(
    refund_id: str = "R1", order_id: str | None = "1001", *lines: Mapping[str, Any], **fields: Any
) -> dict[str, Any]:
    return {
        "type": "refund_issued",
        "refund_id": refund_id,
        "order_id": order_id,
        "occurred_at": at(-3),
        "currency": "GBP",
        "lines": list(lines),
        **fields,
    }


def stock(event_id: str, sku: str = "A", delta: str | None = "1", **fields: Any) -> dict[str, Any]:
    line = {
        "type": "stock_adjusted",
        "event_id": event_id,
        "sku": sku,
        "location": "MAIN",
        "reason": "found",
        "occurred_at": at(-2),
        **fields,
    }
    return line if delta is None else {**line, "delta": delta}
