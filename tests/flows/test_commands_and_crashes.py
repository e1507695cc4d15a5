"""People who replay, retry and discard the same dead letters, several times and against each other, while workers die.

Whatever they do, an event ends once: as its document, or as discarded, never as both.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from schemas.records import DeadLetterState, LetterCommand
from streams.dead_letters.commands import Action, submit
from tests.flows.company import INSTALLATIONS
from tests.flows.world import World, dispatch, order, order_line

ORDERS = 12
LATE = {"kind": FaultKind.LATE_COMMIT, "after_s": 20}


def command_of(world: World, random: Random, letter: DeadLetterState, number: int) -> LetterCommand:
    action = random.choice([Action.REPLAY, Action.REPLAY, Action.RETRY, Action.DISCARD])
    return LetterCommand(
        id=f"c{number}",
        action=action.value,
        letter=letter.id,
        company="acme",
        by=random.choice(["ada", "bob"]),
        why="by hand",
        seen_at=letter.at,
        at=world.clock.now(),
    )


@pytest.mark.parametrize("tier", INSTALLATIONS)
@pytest.mark.parametrize("seed", range(5))
async def test_an_event_ends_once_whatever_people_do_and_whoever_dies(
    open_world: Callable[..., Awaitable[World]], seed: int, tier: str
) -> None:
    world, random = await open_world(idempotency=tier), Random(seed)
    await world.says("shop", *(order(str(n), order_line(tax_code="GB-5", quantity="1")) for n in range(ORDERS)))
    parcels = [dispatch(f"D{n}", str(n), {"line_id": "1", "sku": "A", "quantity": "1"}) for n in range(ORDERS)]
    await world.says("warehouse", *parcels)
    await world.stop_worker()
    await world.start_worker(tax={"codes": {"GB-5": "O1"}})
    scripted = 0
    for number in range(40):
        known = [one.state for one in await world.letters() if one.state.state in ("dead", "parked", "held")]
        if known:
            sent = [command_of(world, random, letter, number) for letter in random.choices(known, k=3)]
            await submit(world.log, world.config, world.codec, sent)
        if random.random() < 0.3:
            fault = random.choice([{"kind": FaultKind.LOST_AFTER}, {"kind": FaultKind.LOST_BEFORE}, LATE])
            path = random.choice(["Orders", "DeliveryNotes", "U_STREAMS_CLAIM"])
            world.faults.script(**fault, path=path, method="POST")
            scripted += 1
        await world.passes(random.choice([0.01, 0.1, 1.0, 5.0]))
        if random.random() < 0.15:
            await world.kill_worker()
            await world.start_worker()
    await world.settled()
    await world.simulator.settle()
    await world.passes(4_000)  # what was applied late is taken over within the hour
    documents = Counter(
        one["U_STREAMS_KEY"] for entity in ("Orders", "DeliveryNotes") for one in world.documents(entity)
    )
    assert set(documents.values()) <= {1}
    claims = {code: claim["U_STATE"] for code, claim in world.claims().items()}
    ends = Counter(one.state.state for one in await world.letters())
    posted = {"posted"} if tier == "claim" else {"posted", "intent"}
    assert ends["posted"] and ends["discarded"] and world.faults.scripts_left < scripted, "the test shows nothing"
    for one in await world.letters():
        k, state = one.state.k or "", one.state.state
        assert (documents[k] == 1) is (state == "posted"), one.state
        assert (claims.get(k) == "discarded") is (state == "discarded"), one.state
        assert (claims.get(k) in posted) is (state == "posted"), one.state
    entered = {one["U_STREAMS_KEY"]: one["sequence"] for one in world.documents("Orders")}
    assert all(entered[one["U_STREAMS_ORDER"]] < one["sequence"] for one in world.documents("DeliveryNotes"))
