"""One seed, one run: sources publish, workers come, die and freeze, the broker and B1 fail.

Then everything is repaired and must drain.
"""

import asyncio
import copy
import gc
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import structlog
from faust.types import TP

from connectors.base.errors import LogError
from lab.simulators.sap_b1.state import messages
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.metadata import CLAIM_TABLE
from lab.simulators.sap_b1.state.rules import Rules
from schemas.codec import Codec, embedded_codec
from schemas.topics import FACTS
from streams.kafka.log import Committed, partition_of
from streams.kafka.topics import wanted
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from tests.simulation.broker import Broker, BrokerFaults, WorkerLog
from tests.simulation.checker import Checker
from tests.simulation.erp import ErpFaults, Server, SimServiceLayer, company_clock
from tests.simulation.fatal import FatalCodec, fatal_facts, first_fatal
from tests.simulation.history import ITEMS, LOT_ITEM, MISSING_ITEM, WAREHOUSES, Fact, History, shape_of
from tests.simulation.loop import Process, State, StuckError, VirtualLoop
from tests.simulation.plan import configuration, configured, plan_of
from tests.simulation.worker import SimClock, Worker, places

#: After everything is repaired all must be worked off within this.
LIVE_S = 3600.0
#: What an installation is like that each tier is for.
INSTALLATIONS = {
    "claim": Rules(),
    "guard": Rules(atomic_change_sets=False, guard=True),
    "lookup": Rules(atomic_change_sets=False),
}
_SESSION_S, _REBALANCE_S = 10.0, 30.0


@dataclass(slots=True)
class Result:
    seed: int
    violations: list[str]
    hits: Counter[str]  # how often a point was passed
    survived: Counter[str]  # what was done to workers
    digest: str
    events: int
    virtual_s: float
    stats: Mapping[str, int] = field(default_factory=dict)


@cache
def _codec() -> Codec:
    return embedded_codec()


@cache
def _metrics() -> Metrics:
    return Metrics(configured(5, 4, 2, 2, False))


class World:
    """Everything of one run. `run` is all there is to call."""

    def __init__(self, seed: int, tier: str = "claim") -> None:
        self.seed, self.loop = seed, VirtualLoop()
        random = self._random = Random(seed)
        self.config, self.plan, self._codec = configuration(random, tier), plan_of(random), _codec()
        share = random.choice((0.0, 0.0, 0.3, 0.6))
        self.histories = [
            History(random, self._codec, shape_of(random), "acme"),
            History(random, self._codec, shape_of(random, share), "beta"),
        ]
        self._fatal = fatal_facts(Random(f"{seed} fatal"))
        self.broker = Broker(self.loop, random, wanted(self.config))
        #: Publishers' clocks differ; Kafka's own says what was published first.
        self._publishers_skew_ms = {topic: Random(f"{seed} {topic}").randint(-5_000, 5_000) for topic in FACTS}
        self.servers: dict[str, Server] = {}
        for name in self.config.companies:
            company = Company(
                clock=company_clock(self.loop),
                with_claims=True,
                master_data=self._master_data(),
                rules=replace(INSTALLATIONS[tier], locked_code=self.plan.locked_code),
            )
            if tier != "claim":  # as the doctor leaves it
                company.apply(
                    [messages.Request("POST", CLAIM_TABLE, {"Code": "tier", "U_KIND": "proof", "U_STATE": tier})]
                )
            self.servers[name] = Server(self.loop, random, company)
            self.servers[name].points = self._passes
        self.companies = {name: server.company for name, server in self.servers.items()}
        self.facts: dict[tuple[str, int, int], Fact] = {}
        self.checker = Checker(self.broker, self.companies, self._codec, self.facts)
        self.broker.on_commit = self.checker.committing
        self._hits: Counter[str] = Counter()
        self._survived: Counter[str] = Counter()
        self._fired: set[int] = set()
        self._members: list[Worker] = []
        self._workers: list[Worker] = []
        self._generation = 0
        self._moved = asyncio.Event()
        self._joined: dict[Worker, int] = {}
        self._healed, self._healed_s = False, 0.0
        self._ready: asyncio.Task[Any] | None = None

    def _master_data(self) -> Mapping[str, Any]:
        stock = [
            {"item": item, "warehouse": w, "quantity": self.plan.stock} for item in ITEMS for w in WAREHOUSES.values()
        ]
        return {
            "Items": [
                *({"ItemCode": item, "ItemName": item} for item in ITEMS),
                {"ItemCode": LOT_ITEM, "ManageBatchNumbers": "tYES"},
            ],
            "Warehouses": [{"WarehouseCode": code} for code in WAREHOUSES.values()],
            "BusinessPartners": [{"CardCode": "C-WEB", "CardName": "Web"}],
            "VatGroups": [{"Code": "O1", "Rate": "20"}, {"Code": "O0", "Rate": "0"}],
            "AdditionalExpenses": [{"ExpensCode": 1}, {"ExpensCode": 2}],
            "ShippingTypes": [{"Code": 3}],
            "ChartOfAccounts": [{"Code": code} for code in ("4000", "4900", "5100")],
            "stock": stock if self.plan.stock else [],
        }

    # ---- the run

    def run(self) -> Result:
        drained, why = False, None
        try:
            drained, why = self.loop.run_until_complete(self.loop.in_world(self._go()))
        except StuckError as error:
            why = f"the loop is stuck: {error}"
        if not drained:
            self.checker.report(f"I9: not worked off an hour after everything was repaired: {why}")
        for name, server in self.servers.items():
            for fault in server.serial_faults:
                self.checker.report(f"I4: {name}: {fault}")
        self.checker.judge(drained=drained)
        virtual_s = self.loop.time()
        self.loop.end()
        traces = [server.trace for server in self.servers.values()]
        trace = hashlib.sha256(repr((self.broker.trace, traces)).encode()).hexdigest()[:16]
        return Result(
            self.seed,
            self.checker.violations,
            self._hits,
            self._survived,
            trace,
            len(self.facts),
            virtual_s,
            sum((Counter(company.counters) for company in self.companies.values()), Counter[str]()),
        )

    async def _go(self) -> tuple[bool, str | None]:
        plan, loop = self.plan, self.loop
        facts = [*(fact for history in self.histories for fact in history.facts), *self._fatal]
        for fact in facts:
            loop.later(fact.publish_s, self._publish, fact)
        self.broker.faults = plan.broker
        for server in self.servers.values():
            server.faults = copy.copy(plan.erp)
        for name, start, end in plan.outages:
            loop.later(start, setattr, self.servers[name].faults, "down", True)
            loop.later(end, setattr, self.servers[name].faults, "down", False)
        for what, item, start, end in plan.people:
            loop.later(start, self._person, what, item, True)
            loop.later(end, self._person, what, item, False)
        for number, trigger in enumerate(plan.triggers):
            if trigger.point is None:
                loop.later(trigger.at_s, self._fire, number, None)
        for at_s in plan.rebalances:
            loop.later(at_s, self._move)
        loop.in_world(self._coordinate())
        for _ in range(plan.workers):
            self._start_worker()
        last_s = max((fact.publish_s for fact in facts), default=0.0)
        await asyncio.sleep(max(plan.heal_s, last_s + 1))
        self._heal()
        why: str | None = "not looked"
        for _ in range(int(LIVE_S / 5)):
            await asyncio.sleep(5)
            why = self.checker.undrained()
            if why is None or self.checker.violations:
                break
        if why is None:  # whatever is still under way must not undo it
            await asyncio.sleep(65)
            why = self.checker.undrained()
        return why is None, why

    def _publish(self, fact: Fact) -> None:
        partition = partition_of(fact.key, self.broker.counts[fact.topic])
        stamp_ms = self.broker.now_ms() + self._publishers_skew_ms[fact.topic]
        offset = self.broker.append(fact.topic, partition, fact.key, fact.value, (), stamp_ms)
        self.facts[fact.topic, partition, offset] = fact

    def _heal(self) -> None:
        """People repair B1, operators the rest; from here on nothing goes wrong."""
        self._healed, self._healed_s = True, self.loop.time()
        self.broker.faults = BrokerFaults()
        for server in self.servers.values():
            server.faults = ErpFaults()
        for item in (*ITEMS, LOT_ITEM):
            self._person("lock", item, False)
            self._person("inactive", item, False)
        self._person("period", "", False)
        self._load({"Items": [{"ItemCode": MISSING_ITEM}]})
        stock = [
            {"item": item, "warehouse": w, "quantity": 10**12}
            for item in (*ITEMS, MISSING_ITEM)
            for w in WAREHOUSES.values()
        ]
        lots = [
            {"item": LOT_ITEM, "warehouse": w, "quantity": 10**12, "batch": lot}
            for w in WAREHOUSES.values()
            for lot in ("X", "Y")
        ]
        self._load({"stock": stock + lots})
        for worker in self._workers:
            if worker.process.state is State.FROZEN:
                self._thaw(worker)

    def _person(self, what: str, item: str, begins: bool) -> None:
        if begins and self._healed:
            return
        if what == "lock":
            for server in self.servers.values():
                (server.company.lock if begins else server.company.unlock)(item, f"people:{item}")
                server.wake()
        elif what == "inactive":
            self._load({"Items": [{"ItemCode": item, "Valid": "tNO" if begins else "tYES"}]})
        else:
            self._load({"periods": [{"start": "2025-01-01", "end": "2027-12-31", "locked": begins}]})

    def _load(self, master_data: Mapping[str, Any]) -> None:
        for company in self.companies.values():
            company.load(master_data)

    # ---- workers

    def _start_worker(self) -> None:
        number = len(self._workers)
        process = Process(f"worker-{number}", self.loop)
        log = WorkerLog(self.broker, process, self.config.group)

        async def crash_point(name: str) -> None:
            if self._passes(process, name):
                await asyncio.sleep(
                    0
                )  # the process is gone, or stands still: it does not come back from here until it goes on

        ports = Ports(
            log,
            FatalCodec(self._end) if self._fatal else self._codec,
            SimClock(self.loop, self.plan.skew_s if number % 2 else 0.0),
            Random(self.seed * 100 + number),
            _metrics(),
            lambda company: SimServiceLayer(self.servers[company], process),
            crash_point,
            first_fatal,
        )
        self._workers.append(
            process.context.run(
                Worker,
                self.config,
                ports,
                process,
                self.broker,
                self._commit,
                self._crashed,
                self.plan.batch_size,
                self.plan.limits.open_records,
            )
        )
        self._join(self._workers[-1])

    def _join(self, worker: Worker) -> None:
        if worker not in self._members:
            self._members.append(worker)
            self._move()

    def _crashed(self, worker: Worker, error: BaseException) -> None:
        """A worker that cannot go on ends; its supervisor starts another."""
        if worker.process.state is State.DEAD:
            return
        if not isinstance(error, LogError):
            self.checker.report(f"a worker ended by {type(error).__name__}: {error}")
        elif self._healed and self.loop.time() > self._healed_s + 60:
            self.checker.report(f"a worker ended though nothing is broken: {error}")
        self._survived["crash"] += 1
        self._kill(worker)

    def _end(self, process: Process) -> None:
        """A record has ended it."""
        self._survived["fatal record"] += 1
        self._kill(next(worker for worker in self._workers if worker.process is process))

    def _kill(self, worker: Worker) -> None:
        worker.process.kill()
        self.loop.later(_SESSION_S, self._expel, worker)
        self.loop.later(self._random.uniform(0.5, 5), self._start_worker)

    def _freeze(self, worker: Worker, for_s: float) -> None:
        worker.process.freeze()
        self.loop.later(_SESSION_S, self._expel, worker)
        self.loop.later(for_s, self._thaw, worker)
        self.loop.later(self._random.uniform(0.5, 5), self._start_worker)

    def _thaw(self, worker: Worker) -> None:
        if worker.process.state is not State.FROZEN:
            return
        worker.process.thaw()
        if worker not in self._members:
            # It learns with its next heartbeat that the group has gone on, and joins again
            self.loop.later(self._random.uniform(0.1, 3), self._learn, worker)

    def _learn(self, worker: Worker) -> None:
        if worker.process.running:
            worker.consumer.expelled()
            self.loop.in_world(self._rejoin(worker))

    async def _rejoin(self, worker: Worker) -> None:
        revoking = worker.process.spawn(worker.revoke(worker.generation))
        await asyncio.wait({revoking}, timeout=_REBALANCE_S)
        if worker.process.running:
            self._join(worker)

    def _expel(self, worker: Worker) -> None:
        if not worker.process.running and worker in self._members:
            self._members.remove(worker)
            self._move()

    def _stop(self, worker: Worker) -> None:
        """SIGTERM: give back, leave, end. Another is started, as in a rolling restart."""

        async def leave() -> None:
            revoking = worker.process.spawn(worker.revoke(worker.generation))
            await asyncio.wait({revoking}, timeout=_REBALANCE_S)
            worker.process.kill()
            if worker in self._members:
                self._members.remove(worker)
            self._move()

        self.loop.in_world(leave())
        self.loop.later(self._random.uniform(0.5, 5), self._start_worker)

    # ---- what is done to them

    def _passes(self, process: Process, point: str) -> bool:
        """Whether something happens to the process at this point."""
        self._hits[point] += 1
        if self._healed or not process.running:
            return False
        for number, trigger in enumerate(self.plan.triggers):
            if trigger.point == point and number not in self._fired and self._hits[point] >= trigger.nth:
                self._fire(number, process)
                return True
        return False

    def _fire(self, number: int, process: Process | None) -> None:
        trigger = self.plan.triggers[number]
        running = [w for w in self._workers if w.process.running and (process is None or w.process is process)]
        if not running or self._healed:
            return
        self._fired.add(number)
        worker = self._random.choice(running)
        self._survived[f"{trigger.what} {trigger.point or 'at a time'}"] += 1
        if trigger.what == "kill":
            self._kill(worker)
        elif trigger.what == "freeze":
            self._freeze(worker, trigger.for_s)
        else:
            self._stop(worker)

    # ---- the group

    def _move(self) -> None:
        self._moved.set()

    async def _commit(self, worker: Worker, generation: int, offsets: dict[TP, Committed]) -> bool:
        """As the coordinator takes it: from members of this generation, or from anybody while the group is empty."""
        arrived: asyncio.Future[bool] = self.loop.create_future()
        # A process has one connection: what it has sent, cancelled or not, comes before what it sends later
        latest_s = max(worker.last_commit_s, self.loop.time())
        worker.last_commit_s = latest_s + self._random.uniform(0.001, 0.02)
        wait_s = worker.last_commit_s - self.loop.time()
        self.loop.later(wait_s, self._take_commit, worker, generation, offsets, arrived)
        return await arrived

    def _take_commit(
        self, worker: Worker, generation: int, offsets: dict[TP, Committed], arrived: "asyncio.Future[bool]"
    ) -> None:
        member = generation == self._joined.get(worker) and worker in self._members and generation > 0
        taken = member or (generation < 0 and not self._members)
        if taken:
            self.broker.commit(places(offsets))
        if not arrived.done():
            arrived.set_result(taken)

    async def _coordinate(self) -> None:
        """Eager rebalances: everybody gives everything back, then it is dealt again."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
            revoking = {member: member.process.spawn(member.revoke(member.generation)) for member in self._members}
            if revoking:
                await asyncio.wait(revoking.values(), timeout=_REBALANCE_S)
            self._members = [m for m in self._members if m not in revoking or revoking[m].done()]
            self._generation += 1
            self._joined = dict.fromkeys(self._members, self._generation)
            if self._members:
                self._deal()

    def _deal(self) -> None:
        hands: dict[Worker, list[TP]] = {member: [] for member in self._members}
        facts = [name for name, count in self.broker.counts.items() if name in _FACTS]
        for number in range(self.config.kafka.partitions):
            hands[self._random.choice(self._members)] += [TP(name, number) for name in facts]
        for number in range(self.config.kafka.company_partitions):
            owner = self._random.choice(self._members)
            hands[owner] += [TP(name, number) for name in ("erp-orders", "erp-stock")]
        for member, tps in hands.items():
            member.generation = self._generation
            if tps:
                member.process.spawn(member.assign(tps, self._generation))


_FACTS = ("order-placed", "order-cancelled", "dispatch-confirmed", "refund-issued", "stock-adjusted", "stock-sealed")


def run(seed: int, plant: Callable[[], Any] | None = None, tier: str = "claim") -> Result:
    """Run one seed; `plant` returns a context in which the core has a bug."""
    quiet()
    gc.disable()
    world = World(seed, tier)
    try:
        with world.plan.limits.applied(), plant() if plant is not None else nullcontext():
            return world.run()
    finally:
        gc.enable()


@cache
def quiet() -> None:
    """Nothing of what the core has to say is of use in a thousand runs."""
    structlog.configure(
        processors=[lambda logger, name, event: event],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
