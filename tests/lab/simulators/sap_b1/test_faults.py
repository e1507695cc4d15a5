"""What goes wrong, as a client sees it."""

import asyncio
from typing import Any

import pytest

from lab.simulators.wire import ConnectionDroppedError
from tests.lab.simulators.sap_b1.http import World, claimed, code, issue, order, request_part, send_batch


async def test_machinery_that_fails_says_so_under_400_and_does_nothing(world: World) -> None:
    world.faults.script("machinery", method="POST", path="Orders")
    text = (await send_batch(world, claimed("K"))).text
    assert ("400 Bad Request" in text, '"code":"-1116"' in text) == (True, True)
    assert (world.company.ledger()["documents"], world.company.ledger()["claims"]) == ([], [])


async def test_the_notification_procedure_refuses_in_its_own_words_or_kills_the_node(world: World) -> None:
    world.company.load({"rules": {"notification": [{"entity": "Orders", "contains": "A1", "number": 7, "text": "no"}]}})
    assert '"message":"(7) no"' in (await send_batch(world, claimed("K"))).text
    rule = {"entity": "Orders", "contains": "A1", "breaks": True}
    world.company.load({"rules": {"notification": [rule]}})
    reply = await send_batch(world, claimed("K"))
    assert (reply.status_code, "Proxy Error" in reply.text) == (502, True)
    assert (world.company.ledger()["documents"], world.company.ledger()["claims"]) == ([], [])
    world.company.load({"rules": {"notification": [{**rule, "contains": "B9"}]}})
    assert (await send_batch(world, claimed("K"))).text.count("201 Created") == 2


async def test_a_reply_lost_before_commit_leaves_nothing(world: World) -> None:
    world.faults.script("lost_reply_before_commit", method="POST", path="Orders")
    assert (await world.client.get("Items")).status_code == 200
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    assert world.company.ledger()["documents"] == []
    assert (await send_batch(world, claimed("K"))).text.count("201 Created") == 2


@pytest.mark.parametrize("at", ["before_first_byte", "mid_body"])
async def test_a_reply_lost_after_commit_leaves_the_document(world: World, at: str) -> None:
    world.faults.script("lost_reply_after_commit", path="$batch", at=at)
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    assert len(world.company.ledger()["documents"]) == 1
    assert '"code":"-2035"' in (await send_batch(world, claimed("K"))).text


@pytest.mark.parametrize("holds", [False, True])
async def test_a_late_commit_happens_after_the_client_is_gone(world: World, holds: bool) -> None:
    world.clock.gate = asyncio.Event()
    world.faults.script("late_commit", path="Orders", after_s=45, holds=holds)
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(world.company.ledger()["documents"]), world.company.holder("A1") is not None) == (0, holds)
    world.clock.gate.set()
    await world.app.settle()
    assert len(world.company.ledger()["documents"]) == 1
    assert 45 in world.clock.slept


async def test_a_truncated_batch_is_a_whole_response_with_half_its_text(world: World) -> None:
    world.faults.script("truncated_batch")
    answer = await send_batch(world, claimed("K"))
    assert (answer.status_code, answer.text.endswith("--\r\n")) == (200, False)
    assert len(world.company.ledger()["documents"]) == 1


async def test_a_reordered_batch_answers_backwards(world: World) -> None:
    world.faults.script("reordered_batch")
    answer = await send_batch(world, request_part("GET", "Items('A1')"), request_part("GET", "Items('A2')"))
    assert answer.text.index('"A2"') < answer.text.index('"A1"')


@pytest.mark.parametrize(("kind", "status"), [("html_502", 502), ("html_503", 503)])
async def test_apaches_page_comes_before_or_after_the_commit(world: World, kind: str, status: int) -> None:
    world.faults.script(kind, path="Orders")
    answer = await world.post("Orders", order())
    assert (answer.status_code, answer.text.startswith("<!DOCTYPE HTML")) == (status, True)
    assert world.company.ledger()["documents"] == []
    world.faults.script(kind, path="Orders", commit=True)
    assert (await world.post("Orders", order())).status_code == status
    assert len(world.company.ledger()["documents"]) == 1


async def test_a_login_collides_and_a_session_dies_by_script(world: World) -> None:
    world.faults.script("session_kill", skip=1)
    assert (await world.client.get("Items")).status_code == 200
    assert code(await world.client.get("Items")) == 301
    world.faults.script("login_collision")
    assert code(await world.login()) == 299
    assert (await world.login()).status_code == 200


@pytest.mark.parametrize(
    ("script", "wanted", "text"),
    [
        ({"kind": "duplicate"}, -2035, "already exists"),
        ({"kind": "locked"}, -2035, "Object locked"),
        ({"kind": "conflict"}, -2039, "modified data"),
        ({"kind": "closed_period"}, -4013, "Posting period locked"),
        ({"kind": "error", "status": 500, "code": 407, "text": "Table definition not found"}, 407, "definition"),
    ],
)
async def test_b1s_refusals_are_played_alone_and_inside_a_batch(
    world: World, script: dict[str, Any], wanted: int, text: str
) -> None:
    await world.admin("faults", {"scripts": [{**script, "path": "Orders", "times": 2}]})
    answer = await world.post("Orders", order())
    assert (code(answer), text in answer.json()["error"]["message"]) == (wanted, True)
    answer = await send_batch(world, claimed("K"))
    assert (answer.status_code, f'"code":"{wanted}"' in answer.text) == (200, True)
    assert world.company.ledger()["documents"] == []
    assert (await send_batch(world, claimed("K"))).text.count("201 Created") == 2


async def test_approval_makes_a_draft_by_script(world: World) -> None:
    world.faults.script("approval", path="Orders")
    assert code(await world.post("Orders", order())) == -2028
    assert len(world.company.ledger()["drafts"]) == 1
    assert (await world.post("Orders", order())).status_code == 201


async def test_slow_adds_its_seconds(world: World) -> None:
    world.faults.script("slow", after_s=30)
    await world.client.get("Items")
    assert 30 in world.clock.slept


@pytest.mark.parametrize("mode", ["html_503", "drop"])
async def test_an_outage_lasts_until_it_is_switched_off(world: World, mode: str) -> None:
    await world.admin("outage", {"on": True, "mode": mode})
    if mode == "drop":
        with pytest.raises(ConnectionDroppedError):
            await world.client.get("Items")
    else:
        assert (await world.client.get("Items")).status_code == 503
        assert (await world.client.get("https://b1.example/ping/")).status_code == 503
    await world.admin("outage", {"on": False})
    assert (await world.client.get("Items")).status_code == 200


async def test_serialised_sessions_run_one_request_at_a_time() -> None:
    world = World(serialise_sessions=True)
    await world.login()
    answers = await asyncio.gather(*(world.post("InventoryGenExits", issue(f"A{n}")) for n in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    await world.client.aclose()
