"""Pushes: what is not SEKO's is nothing; what is, is published before it is answered."""

import base64
import json

import pytest

from connectors.base.errors import RetriableError
from connectors.seko.hook import hook_of
from lab.simulators.seko.state import AVAILABLE
from tests.connectors.seko.conftest import OLD


async def test_a_push_is_published_then_answered_and_wakes(play):
    had = []
    play.broker.after = lambda _what: had.append(play.woken[:])
    play.hub.load_order("W-1", {"A": 5})
    play.hub.dispatch("W-1")
    play.hub.adjust("B", -2)
    await play.push()
    assert [event.order_id for event in play.pushed("dispatch-confirmed")] == ["W-1"]
    assert play.deltas() == [("B", "DCCL01", -2, "other")]
    assert had[0] == []
    assert play.woken == ["seko", "seko"]
    assert {each.ended for each in play.hub.messages} == {"taken"}


async def test_what_the_broker_does_not_take_is_answered_503_and_comes_again(play):
    def refuse(_what):
        raise RetriableError("no leader")

    play.broker.before = refuse
    play.hub.adjust("B", -2)
    await play.push()
    assert (play.hub.messages[0].tries, play.settings.journal.entries()) == (1, ())
    play.broker.before = lambda _what: None
    await play.push()
    assert play.hub.messages[0].ended == "taken"
    assert play.deltas() == [("B", "DCCL01", -2, "other")]
    assert [entry.message.sequence for entry in play.settings.journal.entries()] == [1]


async def test_both_secrets_are_good_and_every_single_bit_change_of_them_is_refused(play):
    play.hub.adjust("B", -2)
    body = play.hub.body(play.hub.messages)
    assert await play.post({"X-Api-Key": OLD}, body) == 200
    right = play.hub.secret.encode()
    assert await play.post({"X-Api-Key": right}, body) == 200
    for bit in range(len(right) * 8):
        changed = bytearray(right)
        changed[bit // 8] ^= 1 << (bit % 8)
        assert await play.post([(b"X-Api-Key", bytes(changed))], body) == 401
    assert await play.post({}, body) == 401
    assert await play.post({"Authorization": play.hub.secret}, body) == 401


async def test_basic_authentication(make_play, monkeypatch):
    from tests.connectors.seko import conftest

    monkeypatch.setitem(conftest.ENVIRON, "SECRET", "user:päss")
    monkeypatch.setitem(conftest.ENVIRON, "OLD", "user:old")
    play = make_play(push_auth="basic")
    play.hub.adjust("B", -2)
    body = play.hub.body(play.hub.messages)
    for given, status in (("user:päss", 200), ("user:old", 200), ("user:wrong", 401)):
        text = base64.b64encode(given.encode()).decode()
        assert await play.post({"Authorization": f"Basic {text}"}, body) == status


def test_without_a_secret_there_is_no_hook(play):
    assert hook_of("seko", play.settings.model_copy(update={"push_secrets": ()})) is None


async def test_one_bad_message_is_a_letter_and_the_rest_of_its_push_goes_on(play):
    for units in (-1, -2, -3):
        play.hub.adjust("B", units)
    play.hub.messages[1].row["StockAdjustment"]["StockAdjustmentType"] = "Sideways"
    await play.push()
    assert [delta for _, _, delta, _ in play.deltas()] == [-1, -3]
    (letter,) = play.broker.all("stock-adjusted-dead-letter")
    assert json.loads(letter.value)["Responses"][0]["Response"]["StockAdjustment"]["SequenceNumber"] == "2"


@pytest.mark.parametrize(
    "body", [b"<Responses/>", b"[5]", b"", b'"text"', b'{"Responses": [{"Response": {"Parade": {}}}]}']
)
async def test_what_is_genuine_and_cannot_be_read_is_a_letter_and_answered_200(play, body):
    assert await play.post(play.hub.headers(), body) == 200
    assert len(play.broker.all("inbox-dead-letter")) == 1


async def test_services_that_say_nothing_to_b1_are_taken_and_wake(play):
    play.hub.load_order("W-1", {"A": 5})
    play.hub.track("W-1", "155")
    play.hub.end_day("2026-11-20")
    await play.push()
    assert (play.broker.calls, len(play.woken)) == ([], 2)


async def test_the_same_push_again_costs_nothing(play):
    play.hub.adjust("B", -2)
    play.hub.faults.rates = {"twice": 1.0}
    await play.push()
    assert len(play.broker.all("stock-adjusted")) == 1


async def test_traces_of_xml_change_nothing(play):
    play.hub.artefacts = True
    play.hub.stock["DCCL01", AVAILABLE, "12345", ""] = 10
    play.hub.load_order("W-1", {"A": 5, "12345": 1})
    play.hub.dispatch("W-1", {"12345": 1})
    play.hub.adjust("B", -2)
    await play.push()
    assert [line.sku for line in play.pushed("dispatch-confirmed")[0].lines] == ["12345"]
    assert play.deltas() == [("B", "DCCL01", -2, "other")]


async def test_500_messages_in_one_push_are_taken_in_time(play):
    for _ in range(600):
        play.hub.adjust("B", -1)
    await play.push()
    assert len(play.deltas()) == 600
    assert len(play.woken) == 2
