"""Service time, and who waits for whom."""

import asyncio

import pytest

from lab.simulators.sap_b1.state.rules import Rules
from tests.lab.simulators.sap_b1.http import World, claimed, code, issue, send_batch


async def test_a_document_takes_its_service_time_and_a_claim_its_own(world: World) -> None:
    world.clock.slept.clear()
    await send_batch(world, claimed("K"))
    assert world.clock.slept == [pytest.approx(0.080 + 0.004 + 0.028)]
    await world.admin("settings", {"speed": 0.5})
    world.clock.slept.clear()
    await world.post("InventoryGenExits", issue())
    assert world.clock.slept == [pytest.approx(0.042)]


async def test_a_request_waits_for_an_item_that_another_of_ours_holds(world: World) -> None:
    world.clock.gate = asyncio.Event()
    tasks = [asyncio.create_task(world.post("InventoryGenExits", issue(item))) for item in ("A1", "A1", "A2")]
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.company.counters["lock_waits_own"] == 1
    world.clock.gate.set()
    answers = await asyncio.gather(*tasks)
    # The wait's own timer runs on the same clock, so the second either waited long enough or was refused as locked.
    assert answers[0].status_code == answers[2].status_code == 201
    assert world.company.counters["lock_waits_people"] == 0


async def test_an_item_held_by_a_person_is_refused_after_the_wait_in_both_codes(world: World) -> None:
    assert await world.admin("lock", {"items": ["A1"], "holder": "anna"}) == {"locked": ["A1"]}
    before = world.clock.now
    assert code(await world.post("InventoryGenExits", issue())) == -2039
    assert (world.clock.now - before).total_seconds() >= 5
    world.company.rules = Rules(locked_code=-2035)
    answer = await world.post("InventoryGenExits", issue())
    assert (code(answer), "locked" in answer.json()["error"]["message"]) == (-2035, True)
    assert (await world.post("InventoryGenExits", issue("A2"))).status_code == 201
    assert (world.company.counters["lock_waits_people"], world.company.counters["lock_waits_own"]) == (2, 0)
    await world.admin("unlock", {"items": ["A1"], "holder": "anna"})
    assert (await world.post("InventoryGenExits", issue())).status_code == 201


async def test_an_item_given_back_is_taken_by_who_waits(world: World) -> None:
    await world.admin("lock", {"items": ["A1"], "holder": "anna"})
    world.clock.gate = asyncio.Event()
    task = asyncio.create_task(world.post("InventoryGenExits", issue()))
    for _ in range(20):
        await asyncio.sleep(0)
    await world.admin("unlock", {"items": ["A1"], "holder": "anna"})
    for _ in range(20):
        await asyncio.sleep(0)
    assert str(world.company.holder("A1")).startswith("request:")
    world.clock.gate.set()
    assert (await task).status_code == 201
    assert world.company.holder("A1") is None
