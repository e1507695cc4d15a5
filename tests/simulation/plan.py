"""What is drawn for one run before it begins: the configuration, what goes wrong, and when."""

import copy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from streams.config.load import Config, parse
from tests.simulation.broker import BrokerFaults
from tests.simulation.erp import ErpFaults
from tests.simulation.history import ITEMS, LOT_ITEM
from tests.simulation.limits import Limits, limits_of
from tests.streams.fakes import ENVIRON, example

#: Where a process may be stopped: the windows', the stock documents', the poster's; c3 to c5 are inside B1, c8 before a
#: commit.
POINTS = (
    "w1",
    "w2",
    "w3",
    "w5",
    "s1",
    "s2",
    "s3",
    "c1",
    "c2",
    "c3",
    "c4",
    "c5",
    "c6",
    "c7",
    "c8",
    "c9",
    "i1",
)


@dataclass(frozen=True, slots=True)
class Trigger:
    """What happens to a worker: at the nth pass of a point, or (point None) at `at_s`."""

    what: str  # kill | freeze | stop
    point: str | None = None
    nth: int = 1
    at_s: float = 0.0
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """All that was drawn for a run before it began."""

    workers: int
    triggers: tuple[Trigger, ...]
    erp: ErpFaults
    broker: BrokerFaults
    outages: tuple[tuple[str, float, float], ...]  # whose B1 is away, from, to
    people: tuple[tuple[str, str, float, float], ...]  # what, item, from, to
    heal_s: float
    stock: int
    locked_code: int
    batch_size: int
    limits: Limits
    rebalances: tuple[float, ...]
    skew_s: float


@cache
def configured(length_s: int, members: int, lines: int, in_flight: int, preview: bool, tier: str = "claim") -> Config:
    data = copy.deepcopy(example())
    data["kafka"] |= {"partitions": 2, "company_partitions": 2}
    connectors = data["connectors"]
    connectors["market"] = {**connectors["shop"], "inbox": "in/market"}
    connectors["warehouse"]["order_source"] = ["shop", "market"]
    acme = data["companies"]["acme"]
    acme |= {
        "in_flight": in_flight,
        "idempotency": tier,
        "lock_park_after_s": 15,
        "totals": {"preview": preview},
        "items": {},
        "window": {"length_s": length_s, "max_members": members, "max_lines": lines},
    }
    acme["warehouses"]["LON2"] = {"owner": "warehouse", "location": "BACK", "returns_by": "refund"}
    beta = data["companies"]["beta"] = {**copy.deepcopy(acme), "partition": 1, "company_db": "SBO_BETA"}
    for warehouse in beta["warehouses"].values():
        warehouse |= {"owner": "depot", "sellable_on": []}
    connectors["boutique"] = {**connectors["shop"], "company": "beta", "inbox": "in/boutique"}
    depot = {"company": "beta", "inbox": "in/depot", "order_source": "boutique"}
    connectors["depot"] = {**connectors["warehouse"], **depot}
    return parse(data, Path(__file__).parent, ENVIRON)


def configuration(random: Random, tier: str = "claim") -> Config:
    return configured(
        random.choice((1, 5, 20)),
        random.choice((2, 4, 50)),
        random.choice((1, 2, 50)),
        random.choice((1, 2, 8)),
        random.random() < 0.3,
        tier,
    )


def plan_of(random: Random) -> Plan:
    """A fifth of all runs is undisturbed; else each kind of trouble comes or does not."""
    disturbed = random.random() > 0.15
    heal_s = random.choice((90.0, 150.0))

    def sometimes(share: float) -> bool:
        return random.random() < share and disturbed

    triggers = []
    for _ in range(random.choice((0, 1, 1, 2, 3)) if disturbed else 0):
        what = random.choice(("kill", "kill", "kill", "freeze", "freeze", "stop"))
        point = random.choice((*POINTS, "w1", "w2", None, None)) if what != "stop" else None
        triggers.append(
            Trigger(
                what,
                point,
                random.choice((1, 1, 2, 3, 5)),
                random.uniform(1, 80),
                random.choice((3.0, 15.0, 30.0, 60.0)),
            )
        )
    erp, broker = ErpFaults(), BrokerFaults()
    if sometimes(0.5):
        kinds = random.sample(
            ("not_sent", "lost_request", "lost_answer", "late_commit", "late_arrival", "server_error"),
            random.randint(1, 3),
        )
        for kind in kinds:
            setattr(erp, kind, random.choice((0.1, 0.25)))
    if sometimes(0.2):
        erp.slow = random.choice((4.0, 15.0))
    if sometimes(0.35):
        kind = random.choice(("lost_request", "lost_request", "lost_answer", "failed_read"))
        setattr(broker, kind, random.choice((0.02, 0.1)))
    if sometimes(0.4):
        broker.in_parts = random.choice((0.3, 1.0))
    if sometimes(0.15):
        broker.slow_s = random.choice((0.3, 2.0))
    outages = []
    if sometimes(0.2):
        start = random.uniform(0, 60)
        ends = start + random.uniform(1, 60)
        outages = [(company, start, ends) for company in random.choice((("acme",), ("beta",), ("acme", "beta")))]
    people = []
    for _ in range(random.randint(1, 3) if sometimes(0.35) else 0):
        start = random.uniform(0, 60)
        what = random.choice(("lock", "lock", "inactive", "period"))
        people.append((what, random.choice((*ITEMS, LOT_ITEM)), start, start + random.uniform(1, 80)))
    return Plan(
        workers=random.choice((1, 2, 2, 3)),
        triggers=tuple(triggers),
        erp=erp,
        broker=broker,
        outages=tuple(outages),
        people=tuple(people),
        heal_s=heal_s,
        stock=random.choice((0, 3, 1000, 1000)),
        locked_code=random.choice((-2039, -2035)),
        batch_size=random.choice((1, 4, 50)),
        limits=limits_of(random),
        rebalances=tuple(random.uniform(1, 80) for _ in range(random.choice((1, 3, 8)) if sometimes(0.2) else 0)),
        skew_s=random.choice((0.0, 0.0, 300.0, -300.0)) if disturbed else 0.0,
    )
