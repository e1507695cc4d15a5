"""A replay of many mixed dead letters after the mapping was fixed: killed twice, the worker killed under it, run by two
people at once. Every event is posted once, the order of each order is kept, plan, states and audit agree.

Ten thousand of them: `pytest -m long tests/flows/test_replay_at_size.py`.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import pytest

from streams.audit.trail import AuditTrail
from streams.dead_letters.commands import Action
from streams.dead_letters.desk import CommandDesk, Person
from streams.dead_letters.plan import PlannedLetter, ReplayPlan
from streams.dead_letters.replay import Replay
from streams.dead_letters.run import Pace, RunTally
from streams.dead_letters.tail import StateTail
from tests.flows.world import World, dispatch, order, order_line, stock

_FIX: dict[str, Any] = {
    "warehouses": {"RET1": {"location": "ANNEX"}},
    "tax": {"codes": {"GB-5": "O1"}},
    "shipping_types": {"snail": 4},
}


async def run_plan(world: World, plan: ReplayPlan, by: str) -> RunTally:
    """`streams dlq replay` as a process of its own does it: all that it knows it reads."""
    config = world.config
    trail = AuditTrail(world.log, config, world.codec, world.clock)
    tail = StateTail(world.log, world.codec, config.topic("dead-letter-state"), range(config.kafka.company_partitions))
    replay = Replay(plan, await tail.read())
    async with trail.command("dlq replay", by=by, what="{}", company="acme", selection_hash=plan.hash) as running:
        person = Person(command=running.command, by=by)
        desk = CommandDesk(world.log, config, world.codec, world.clock, tail, Action.REPLAY, person)
        tally = await replay.run(desk, world.clock, Pace(ramp=(0.01, 0.1, 1.0), stop_at=0.5, patience_s=300))
        running.result = json.dumps({result: tally.count(result) for result in ("posted", "already_there", "failed")})
        return tally


async def refused(world: World, random: Random, size: int) -> int:
    """So many events that are dead or held, of every flow; how many orders have a dispatch."""
    orders = [f"O{number}" for number in range(size // 2)]
    lines: list[tuple[str, dict[str, Any]]] = [
        ("shop", order(name, order_line(tax_code="GB-5", quantity="1", price="1"))) for name in orders
    ]
    for name in orders[: size // 4]:
        parcel = dispatch(f"D{name}", name, {"line_id": "1", "sku": "A", "quantity": "1"})
        lines.append(("warehouse", parcel | ({"carrier": "snail"} if random.random() < 0.5 else {})))
    lines += [("warehouse", stock(f"S{number}", "A", "1", location="ANNEX")) for number in range(size - len(lines))]
    for start in range(0, len(lines), 2_000):
        for source in ("shop", "warehouse"):
            if part := [line for of, line in lines[start : start + 2_000] if of == source]:
                await world.says(source, *part)
    return size // 4


@pytest.mark.parametrize(
    ("size", "seed"),
    [*((60, seed) for seed in range(4)), pytest.param(10_000, 7, marks=pytest.mark.long)],
    ids=str,
)
async def test_each_is_posted_once_however_often_the_replay_is_killed_and_by_whom_it_is_run(
    open_world: Callable[..., Awaitable[World]], size: int, seed: int
) -> None:
    world, random = await open_world(), Random(seed)
    world.b1.load({"stock": [{"item": "A", "warehouse": "LON1", "quantity": str(size)}]})
    dispatched = await refused(world, random, size)
    letters = [one.state for one in await world.letters()]
    assert Counter(one.state for one in letters) == {"dead": size - dispatched, "held": dispatched}
    plan = ReplayPlan(world.clock.now(), "ada", {}, tuple(PlannedLetter(one.id, "post") for one in letters))
    await world.stop_worker()
    await world.start_worker(**_FIX)

    interrupted = 0
    for _ in range(2):  # killed, with the worker under it
        killed = asyncio.create_task(run_plan(world, plan, "ada"))
        await asyncio.sleep(random.uniform(0.1, 3.0) * max(1.0, size / 1000))
        interrupted += not killed.done()
        killed.cancel()
        await asyncio.gather(killed, return_exceptions=True)
        await world.kill_worker()
        await world.start_worker()
    assert interrupted, "the test shows nothing"
    tallies = await asyncio.gather(run_plan(world, plan, "ada"), run_plan(world, plan, "bob"))
    await world.settled()

    for tally in tallies:
        assert Counter(tally.results.values()).keys() <= {"posted", "already_there"}, tally.why
        assert tally.results.keys() == {one.id for one in plan.letters}
    orders, deliveries = world.documents("Orders"), world.documents("DeliveryNotes")
    assert Counter(one["NumAtCard"] for one in orders) == {f"O{number}": 1 for number in range(size // 2)}
    assert len({one["U_STREAMS_KEY"] for one in deliveries}) == len(deliveries) == dispatched
    entered = {one["U_STREAMS_KEY"]: one["sequence"] for one in orders}
    assert all(entered[one["U_STREAMS_ORDER"]] < one["sequence"] for one in deliveries)
    assert world.on_hand("A", "RET1") == size - size // 2 - dispatched
    ended = [one.state for one in await world.letters()]
    assert Counter(one.state for one in ended) == {
        "posted": size // 2 + dispatched,
        "replayed": size - size // 2 - dispatched,
    }
    assert {one.id for one in ended} == {one.id for one in letters}
    seen = (await world.status()).flows
    assert sum(flow.received for flow in seen.values()) == size
    trail = AuditTrail(world.log, world.config, world.codec, world.clock)
    records = await trail.records()
    assert {record.selection_hash for record in records} == {plan.hash}
    results = [json.loads(record.result) for record in records if record.result and record.result.startswith("{")]
    assert [sum(result.values()) for result in results] == [size, size]
    assert (await trail.verify()).broken_at is None
