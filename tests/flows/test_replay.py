"""Replays of dead letters of every kind, through the whole pipeline."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from schemas.events import OrderPlaced
from schemas.letters import REPLAY_HEADER
from schemas.records import DeadLetterState, LetterCommand
from streams.dead_letters.commands import Action, submit
from streams.dead_letters.desk import CommandDesk, Person
from streams.dead_letters.payload import PayloadReader
from streams.dead_letters.plan import PlannedLetter, ReplayPlan
from streams.dead_letters.replay import Replay
from streams.dead_letters.run import Pace, RunTally
from streams.dead_letters.tail import StateTail
from tests.flows.world import World, dispatch, order, order_line, stock


async def replayed(world: World, letters: Sequence[DeadLetterState] | None = None, name: str = "c1") -> RunTally:
    """One person replays these, or all that are open."""
    config = world.config
    tail = StateTail(world.log, world.codec, config.topic("dead-letter-state"), range(config.kafka.company_partitions))
    standing = await tail.read()
    chosen = standing.values() if letters is None else letters
    plan = ReplayPlan(world.clock.now(), "ada", {}, tuple(PlannedLetter(one.id, "post") for one in chosen))
    person = Person(command=name, by="ada")
    desk = CommandDesk(world.log, config, world.codec, world.clock, tail, Action.REPLAY, person)
    return await Replay(plan, standing).run(desk, world.clock, Pace(ramp=(0.01, 0.1, 1.0), patience_s=200))


async def edit(world: World, letter: DeadLetterState, line: bytes) -> None:
    """A person corrects the line that a connector could not take."""
    companies = {name: connector.company for name, connector in world.config.connectors.items()}
    record = next(one for one in world.log.lying(letter.letter_topic) if one.offset == letter.letter_offset)
    event = PayloadReader(world.codec, companies).event_of(letter, replace(record, value=line), world.clock.now())
    command = LetterCommand(
        id="e1",
        action="edit",
        letter=letter.id,
        company="acme",
        by="ada",
        seen_at=letter.at,
        at=world.clock.now(),
        value=world.codec.encode(event),
    )
    await submit(world.log, world.config, world.codec, [command])
    await world.settled()


async def by_reason(world: World) -> dict[str, DeadLetterState]:
    return {one.state.reason: one.state for one in await world.letters() if one.state.state != "held"}


async def test_a_refused_stock_event_is_published_again_and_counts_once(world: World) -> None:
    await world.says("warehouse", stock("s1", "A", "5", location="ANNEX"), stock("s2", "A", "7"))
    letter = (await world.letter("unmapped_location")).state
    assert letter.k is None
    first = await replayed(world)
    again = await world.letter("unmapped_location")
    assert (first.count("failed"), again.state.id) == (1, letter.id), "one that fails again keeps its id"
    await world.stop_worker()
    await world.start_worker(warehouses={"RET1": {"location": "ANNEX"}})
    tally = await replayed(world)
    await world.settled()
    assert (tally.count("posted"), len(tally.results)) == (1, 1)
    facts = world.facts("stock_adjusted")
    assert {one.partition for one in facts} == {facts[0].partition}
    assert {one.key for one in facts} == {b"A"}
    assert dict(facts[-1].headers)[REPLAY_HEADER] == letter.id.encode()
    assert world.on_hand("A", "RET1") == 5
    (left,) = await world.letters()
    assert (left.state.id, left.state.state, left.state.by) == (letter.id, "replayed", "ada")
    assert (await replayed(world)).count("already_there") == 1
    assert world.on_hand("A", "RET1") == 5


async def test_unreadable_facts_are_published_again_to_their_place_and_keep_their_id(world: World) -> None:
    await world.log.send("order-placed", 1, b"77", b"\xffgarbage")
    await world.settled()
    letter = (await world.letter("unreadable")).state
    assert letter.company == ""
    tally = await replayed(world)
    assert tally.count("failed") == 1
    assert "correct it with streams dlq edit" in tally.why[letter.id]
    assert len(world.facts("order_placed")) == 1, "what cannot be read is not published again"


async def test_an_event_of_a_company_that_was_missing_is_published_again(world: World) -> None:
    await world.says("shop", order("1", order_line()))
    (fact,) = world.facts("order_placed")
    event = world.codec.decode(fact.value or b"", OrderPlaced)
    other = replace(event, order_id="2", order_number="2", event_id="2", company="nova")
    await world.log.send("order-placed", 0, b"2", world.codec.encode(other), [("mine", b"1")])
    await world.settled()
    letter = (await world.letter("invalid_event")).state
    tally = await replayed(world)
    assert "company 'nova' is not in the configuration" in tally.why[letter.id]
    assert len(world.facts("order_placed")) == 2


async def test_a_connectors_line_becomes_its_event_and_keeps_its_place_in_the_order(world: World) -> None:
    line: dict[str, Any] = order("1", order_line(tax_amount="4.00"))
    broken = {name: value for name, value in line.items() if name != "currency"}
    await world.says("shop", order("0"), broken)
    await world.says("warehouse", dispatch("D1", "1"))
    letter = (await world.letter("invalid_event")).state
    assert [one.state.blocked_by for one in await world.letters("held")] == [letter.id]
    tally = await replayed(world)
    assert tally.count("failed") == 1, "its line is as it was"
    assert "currency" in tally.why[letter.id]
    await edit(world, letter, json.dumps(line).encode())
    tally = await replayed(world)
    await world.settled()
    assert {one.state.state for one in await world.letters()} == {"posted"}
    assert (len(world.documents("Orders")), len(world.documents("DeliveryNotes"))) == (2, 1)
    assert await world.ends("order_placed") == {"posted": 2}
    assert len(world.facts("order_placed")) == 1, "it never was a fact: the poster made the event of it"
    await world.says("shop", line)
    assert await world.ends("order_placed") == {"posted": 2, "no_op": 1}


async def test_mixed_dead_letters_after_the_mapping_was_fixed(world: World) -> None:
    await world.says("shop", *(order(str(number), order_line(tax_code="GB-5", quantity="1")) for number in range(1, 6)))
    await world.says(
        "warehouse",
        *(dispatch(f"D{number}", str(number), {"line_id": "1", "sku": "A", "quantity": "1"}) for number in range(1, 6)),
        stock("s1", "A", "5", location="ANNEX"),
    )
    await world.stop_worker()
    changes: dict[str, Any] = {"RET1": {"location": "ANNEX"}}
    await world.start_worker(warehouses=changes, tax={"codes": {"GB-5": "O1"}})
    tally = await replayed(world)
    await world.settled()
    assert (tally.count("posted"), len(tally.results)) == (11, 11)
    assert (len(world.documents("Orders")), len(world.documents("DeliveryNotes"))) == (5, 5)
    assert world.on_hand("A", "RET1") == 5
