"""What people ask of dead letters: decided by the poster, once, whoever asks and however often."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base.dead_letters import NOT_KAFKA
from connectors.sap_b1.claims import ENTITY, Claim
from connectors.sap_b1.service_layer import B1Request
from schemas.events import OrderPlaced
from schemas.letters import REPLAY_HEADER, REPUBLISHED_HEADER
from schemas.records import DeadLetterState, Header, LetterCommand
from streams.chain.keys import event_key
from tests import builders
from tests.streams.posting.under_test import CODEC, PosterUnderTest, dispatch, order
from tests.streams.records import FakeBatch, raw
from tests.streams.virtual import NOW

BAD = "GB-5"  # a tax code that the configuration does not map


class Desk(PosterUnderTest):
    """A poster, and people at it."""

    async def command(self, action: str, letter: DeadLetterState, **fields: Any) -> FakeBatch:
        """Put a command into the queue, as somebody who has just looked at this dead letter."""
        own = {"id": "c1", "company": "acme", "by": "ada", "at": NOW, "seen_at": letter.at}
        command = LetterCommand(action=action, letter=letter.id, **{**own, **fields})
        batch = FakeBatch([raw("erp-orders", self.offset, CODEC.encode(command), b"acme")])
        self.offset += 1
        assert self.poster is not None
        await self.poster.take(batch)
        return batch

    async def dead(self, event: Any) -> DeadLetterState:
        """An event that ends as a dead letter."""
        before = self.states().keys()
        await self.ended(await self.take(event))
        (id_,) = self.states().keys() - before
        return self.states()[id_]

    def orders(self) -> list[str]:
        return [one["NumAtCard"] for one in self.b1.documents("Orders")]

    def claim_state(self, k: str | None) -> str | None:
        return next((row["U_STATE"] for row in self.b1.company.rows(ENTITY).values() if row["Code"] == k), None)


def bad_order(order_id: str = "1", code: str = BAD) -> OrderPlaced:
    line = builders.order_line(sku="A", tax_code=code)
    return builders.order(order_id, line, occurred_at=NOW - timedelta(hours=1))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    await desk.open()
    yield desk
    await desk.close()


async def test_a_replay_that_fails_the_same_way_keeps_its_id_and_says_how_often(desk: Desk) -> None:
    letter = await desk.dead(bad_order())
    for times in (1, 2):
        await desk.ended(await desk.command("replay", desk.states()[letter.id], id=f"c{times}"))
        (state,) = desk.states().values()
        assert (state.id, state.state, state.reason) == (letter.id, "dead", "unmapped_tax_code")
        assert (state.replays, state.by, state.command) == (times, "ada", f"c{times}")
        assert [attempt.reason for attempt in state.tries] == ["unmapped_tax_code"] * times
    assert not desk.orders()


async def test_an_edited_payload_is_posted_once_under_its_own_k(desk: Desk) -> None:
    """F30."""
    letter = await desk.dead(bad_order())
    edited = CODEC.encode(bad_order(code="GB-20"))
    await desk.ended(await desk.command("edit", letter, value=edited))
    (state,) = desk.states().values()
    assert (state.state, state.k, state.letter_offset) == ("dead", letter.k, letter.letter_offset + 1)
    await desk.ended(await desk.command("replay", state))
    assert desk.states()[letter.id].state == "posted"
    assert (desk.orders(), desk.claim_state(letter.k)) == (["1"], "posted")
    repeat = await desk.take(bad_order())
    await desk.ended(repeat)
    assert len(desk.states()) == 1, "the source's own copy is a repeat still"


@pytest.mark.parametrize(
    "other", [bad_order("2", "GB-20"), replace(bad_order(code="GB-20"), company="other"), dispatch()], ids=str
)
async def test_an_edited_key_is_refused(desk: Desk, other: Any) -> None:
    """F30."""
    letter = await desk.dead(bad_order())
    await desk.ended(await desk.command("edit", letter, value=CODEC.encode(other)))
    (state,) = desk.states().values()
    assert (state.state, state.k, state.letter_offset) == ("dead", letter.k, letter.letter_offset)
    assert "the corrected payload" in (state.error or "")
    assert state.command == "c1"


async def test_two_people_at_once_and_one_of_them_twice_are_one_try(desk: Desk) -> None:
    """o1, F29."""
    letter = await desk.dead(bad_order())
    batches = [await desk.command("replay", letter, id=name, by=name) for name in ("ada", "bob", "ada")]
    await desk.ended(*batches)
    assert desk.states()[letter.id].replays == 1
    assert len(desk.states()[letter.id].tries) == 1


async def test_a_replay_of_what_b1_has_adopts_it(desk: Desk) -> None:
    """F29."""
    letter = await desk.dead(bad_order())
    for _ in range(2):
        await desk.ended(
            await desk.command("edit", desk.states()[letter.id], value=CODEC.encode(bad_order(code="GB-20")))
        )
    ends = [await desk.command("replay", desk.states()[letter.id], id=f"c{n}") for n in range(2)]
    await desk.ended(*ends)
    assert (desk.states()[letter.id].state, desk.orders()) == ("posted", ["1"])


async def test_discard_claims_the_key_first_and_lets_the_successors_go(desk: Desk) -> None:
    letter = await desk.dead(bad_order())
    held = await desk.dead(dispatch())
    assert (held.state, held.blocked_by) == ("held", letter.id)
    await desk.ended(await desk.command("discard", letter, why="keyed by hand"))
    state = desk.states()[letter.id]
    assert (state.state, state.by, state.why, state.command) == ("discarded", "ada", "keyed by hand", "c1")
    assert desk.claim_state(letter.k) == "discarded"
    await asyncio.sleep(5)
    assert desk.states()[held.id].state == "parked"
    assert desk.states()[held.id].reason == "order_not_found"
    repeat = await desk.take(bad_order(code=BAD))
    await desk.ended(repeat)
    assert len(desk.states()) == 2


async def test_a_discard_of_what_b1_has_adopts_it(desk: Desk) -> None:
    letter = await desk.dead(bad_order())
    late = Claim(letter.k or "", "order_placed", letter.digest or b"", "1 order-placed/0/0")
    line = {"ItemCode": "A", "Quantity": 2, "WarehouseCode": "LON1", "VatGroup": "O1", "U_STREAMS_LINE": "1"}
    body = {
        "CardCode": "C-WEB",
        "NumAtCard": "1",
        "U_STREAMS_KEY": letter.k,
        "DocDueDate": "2026-11-21",
        "DocumentLines": [line],
    }
    answers = await desk.b1.change_set([late.request(), B1Request("POST", "Orders", body)])
    assert all(answer.ok for answer in answers), answers
    await desk.ended(await desk.command("discard", letter, why="keyed by hand"))
    await asyncio.sleep(5)
    assert desk.states()[letter.id].state == "posted"
    assert desk.claim_state(letter.k) == "posted"


async def test_a_command_outlives_the_process_that_had_it(desk: Desk) -> None:
    letter = await desk.dead(bad_order())
    desk.b1.away = True
    lost = await desk.command("discard", letter, why="keyed by hand")
    await asyncio.sleep(30)
    assert not lost.finished
    await desk.close()
    desk.b1.away = False
    desk.offset -= 1
    await desk.open()
    await desk.ended(await desk.command("discard", desk.states()[letter.id], why="keyed by hand"))
    assert desk.states()[letter.id].state == "discarded"


async def test_what_waits_is_tried_at_once(desk: Desk) -> None:
    letter = await desk.dead(dispatch())
    assert letter.state == "parked"
    started = desk.offset
    await desk.ended(await desk.command("retry", letter))
    state = desk.states()[letter.id]
    assert (state.state, state.command, state.replays) == ("parked", "c1", 0)
    assert desk.offset == started + 1


async def test_a_command_of_another_company_or_of_nothing_does_nothing(desk: Desk) -> None:
    letter = await desk.dead(bad_order())
    await desk.ended(
        await desk.command("discard", letter, company="other"),
        await desk.command("discard", replace(letter, id="nobody")),
        await desk.command("discard", replace(letter, at=letter.at - timedelta(seconds=1))),
    )
    assert desk.states()[letter.id].state == "dead"
    assert desk.claim_state(letter.k) is None


async def test_a_connectors_dead_letter_becomes_the_event_that_was_made_of_it(desk: Desk) -> None:
    """Its order waits until it is posted, not only until it is sent again."""
    line = builders.dead_letter(
        id="line", k=None, digest=None, partition=NOT_KAFKA, offset=3, sequence=0, reason="invalid_event", at=NOW
    )
    sent = await desk.log.send("order-placed-dead-letter", 0, b"shop", b"{}")
    line = replace(line, letter_offset=sent.offset)
    await desk.log.send("dead-letter-state", 0, b"line", CODEC.encode(line))
    held = await desk.dead(dispatch())
    assert held.blocked_by == "line"
    event = order("1")
    await desk.ended(await desk.command("replay", desk.states()["line"], value=CODEC.encode(event)))
    await asyncio.sleep(5)
    states = desk.states()
    assert (states["line"].state, states["line"].k) == ("posted", event_key(event))
    assert states[held.id].state == "posted"
    again = await desk.take(event)
    await desk.ended(again)
    assert desk.orders() == ["1"]


async def test_what_was_published_again_and_fails_again_keeps_its_id(desk: Desk) -> None:
    event = bad_order()
    posting = builders.posting(
        "order_placed",
        k=event_key(event),
        source=event.source,
        order_id=event.order_id,
        digest=event.digest,
        topic="order-placed",
        offset=7,
        timestamp_ms=int(NOW.timestamp() * 1000),
        key=b"1",
        headers=(Header(name=REPLAY_HEADER, value=b"u1"), Header(name=REPUBLISHED_HEADER, value=b"2")),
        value=CODEC.encode(event),
    )
    for again in range(2):
        batch = FakeBatch([raw("erp-orders", desk.offset, CODEC.encode(posting), b"acme")])
        desk.offset += 1
        assert desk.poster is not None
        await desk.poster.take(batch)
        await desk.ended(batch)
        (state,) = desk.states().values()
        assert (state.id, state.state, state.republished, state.offset) == ("u1", "dead", 2, 7), again
        assert len(state.tries) == 0, "it was not tried a second time"


@pytest.mark.parametrize("action", ["discard", "replay"])
async def test_what_was_made_impossible_is_discarded_or_posted_under_its_next_attempt(desk: Desk, action: str) -> None:
    """A dead letter of reason `erp_cannot` has a claim that is void."""
    letter = await desk.dead(bad_order())
    void = Claim(letter.k or "", "order_placed", letter.digest or b"", "1 order-placed/0/0", "void")
    assert all(answer.ok for answer in await desk.b1.change_set([void.request()]))
    await desk.ended(await desk.command("edit", letter, value=CODEC.encode(bad_order(code="GB-20"))))
    await desk.ended(await desk.command(action, desk.states()[letter.id], why="by hand"))
    ended = {"discard": "discarded", "replay": "posted"}[action]
    assert desk.states()[letter.id].state == ended
    assert (desk.claim_state(letter.k), desk.claim_state(f"{letter.k}.1")) == ("void", ended)
    assert desk.orders() == ([] if action == "discard" else ["1"])
