"""Dead letters that are taken up again: one that cannot be stops no other, whatever is wrong with it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from connectors.base.errors import LogRefusedError, LogUnavailableError
from schemas.codec import UnknownSchemaError
from schemas.events import OrderPlaced
from schemas.records import DeadLetterState
from tests.streams.posting.under_test import CODEC, PosterUnderTest, dispatch, order

LETTERS = "order-placed-dead-letter"


@pytest.fixture
async def desk(desk: PosterUnderTest) -> PosterUnderTest:
    """Orders 1 and 2 are parked for items NEW and NEWER, a dispatch is held by the first."""
    await desk.ended(await desk.take(order("1", "NEW"), order("2", "NEWER"), dispatch("D1", "1", "NEW")))
    return desk


def item_appears(desk: PosterUnderTest, *items: str) -> None:
    desk.b1.company.load({"Items": [{"ItemCode": item} for item in items]})


def of_order(desk: PosterUnderTest, number: str) -> DeadLetterState:
    return next(one for one in desk.states().values() if (one.order_id, one.event_type) == (number, "order_placed"))


async def healthy(desk: PosterUnderTest) -> None:
    """What is not broken goes on."""
    item_appears(desk, "NEWER")
    await asyncio.sleep(700)
    assert desk.poster is not None
    assert not desk.poster.failed.done()
    assert of_order(desk, "2").state == "posted"


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_dead_letter_whose_bytes_are_gone_says_so_and_the_others_go_on(
    desk: PosterUnderTest, restarts: bool
) -> None:
    first = of_order(desk, "1")
    second = await desk.log.send(LETTERS, 0, b"k", CODEC.encode(order("2", "NEWER")))
    await desk.log.send(
        "dead-letter-state",
        0,
        of_order(desk, "2").id.encode(),
        CODEC.encode(replace(of_order(desk, "2"), letter_offset=second.offset)),
    )
    await desk.log.delete_records(LETTERS, 0, 2)
    await desk.close()
    await desk.open()
    await asyncio.sleep(120)
    if restarts:
        await desk.close()
        await desk.open()
    item_appears(desk, "NEW")
    await healthy(desk)
    gone = desk.states()[first.id]
    assert (gone.state, gone.reason, gone.owner) == ("dead", "poison", "integration")
    assert f"bytes are no longer at offset {first.letter_offset} of order-placed-dead-letter/0" in (gone.error or "")
    # Nobody knows what it was: its order waits for a person
    assert [one.state for one in desk.states().values() if one.event_type == "dispatch_confirmed"] == ["held"]


async def test_a_topic_made_anew_gives_nobody_the_bytes_of_another(desk: PosterUnderTest) -> None:
    """The offset is there, and what lies at it is another dead letter's."""
    records = desk.log._records[LETTERS, 0]
    records[0], records[1] = (
        replace(records[1], offset=0),
        replace(records[0], offset=1),
    )
    item_appears(desk, "NEW", "NEWER")
    await asyncio.sleep(700)
    assert {of_order(desk, number).reason for number in "12"} == {"poison"}
    assert desk.b1.documents("Orders") == []


async def test_bytes_that_cannot_be_read_are_as_good_as_gone(desk: PosterUnderTest) -> None:
    at = of_order(desk, "1").letter_offset
    records = desk.log._records[LETTERS, 0]
    records[at] = replace(records[at], value=b"not what it was")
    await healthy(desk)
    assert "cannot be read" in (of_order(desk, "1").error or "")


@pytest.mark.parametrize("error", [LogUnavailableError("away"), LogRefusedError("no such topic"), RuntimeError("?")])
async def test_what_cannot_be_read_now_is_tried_again_and_the_others_go_on(
    desk: PosterUnderTest, error: Exception
) -> None:
    read, broken, at = desk.log.read, True, of_order(desk, "1").letter_offset

    def failing(topic: str, partition: int, start: int, end: int | None = None) -> Any:
        if broken and topic == LETTERS and start == at:
            raise error
        return read(topic, partition, start, end)

    desk.log.read = failing  # type: ignore[method-assign]
    item_appears(desk, "NEW")
    await healthy(desk)
    assert of_order(desk, "1").state == "parked"
    broken = False
    await asyncio.sleep(700)
    assert of_order(desk, "1").state == "posted"


async def test_what_a_newer_version_wrote_is_left_to_it(desk: PosterUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reason, and its bytes' schema, are known to that version only."""
    decode, newer = type(CODEC).decode, desk.log._records[LETTERS, 0][of_order(desk, "1").letter_offset].value

    def decoding(codec: Any, data: bytes, cls: Any) -> Any:
        if data == newer and cls is OrderPlaced:
            raise UnknownSchemaError("deploy readers before writers")
        return decode(codec, data, cls)

    monkeypatch.setattr(type(CODEC), "decode", decoding)
    await desk.close()
    state = replace(of_order(desk, "1"), reason="a_reason_of_tomorrow")
    await desk.log.send("dead-letter-state", 0, state.id.encode(), CODEC.encode(state))
    await desk.open()
    await healthy(desk)
    assert of_order(desk, "1") == state


async def test_what_is_held_goes_on_though_its_wake_up_was_missed(desk: PosterUnderTest) -> None:
    read, failures = desk.log.read, 1

    def failing_once(topic: str, partition: int, start: int, end: int | None = None) -> Any:
        nonlocal failures
        if topic == "dispatch-confirmed-dead-letter" and failures:
            failures -= 1
            raise LogUnavailableError("away")
        return read(topic, partition, start, end)

    desk.log.read = failing_once  # type: ignore[method-assign]
    desk.b1.company.load(
        {"Items": [{"ItemCode": "NEW"}], "stock": [{"item": "NEW", "warehouse": "LON1", "quantity": "5"}]}
    )
    await asyncio.sleep(200)
    assert failures == 0
    assert len(desk.b1.documents("DeliveryNotes")) == 1
