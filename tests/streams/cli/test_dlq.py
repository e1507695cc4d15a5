import json
from datetime import timedelta

import pytest

from schemas.records import Attempt
from tests.streams.cli.conftest import Streams, at_once
from tests.streams.facts import NOW, PERSON, World, order

FIELDS = {
    *(
        "id",
        "topic",
        "reason",
        "state",
        "owner",
        "event_type",
        "event_id",
        "members",
        "order_id",
        "sku",
        "company",
        "at",
    ),
    *("attempts", "waits_for", "blocked_by", "error"),
}
LINE = json.dumps({"type": "order_placed", "order_id": "9", "customer": {"email": f"{PERSON}@x", PERSON: 1}}).encode()


@pytest.fixture(autouse=True)
def letters(world: World) -> None:
    async def write() -> None:
        value = world.codec.encode(order("1001"))
        await world.letter("order_placed", value, id="aaa1", order_id="1001", event_id="1001", reason="total_mismatch")
        await world.letter(
            "dispatch_confirmed", id="bbb1", order_id="1001", state="held", blocked_by="aaa1", reason="total_mismatch"
        )
        await world.letter(
            "stock_batch",
            id="ccc1",
            members=("a", "b"),
            sku="TSHIRT",
            state="parked",
            reason="unknown_item",
            waits_for="item:TS001",
            topic="stock-sealed",
            first_failed_at=NOW - timedelta(days=2),
        )
        await world.letter("order_placed", LINE, id="ddd1", reason="invalid_event", partition=-1)
        await world.letter("order_placed", b"\xff\x00", id="eee1", reason="unreadable", partition=-1)
        await world.letter("refund_issued", id="fff1", state="posted")

    at_once(write())


@pytest.mark.parametrize(
    ("selection", "ids"),
    [
        ([], ["ccc1", "aaa1", "bbb1", "ddd1", "eee1"]),
        (["--reason", "total_mismatch"], ["aaa1", "bbb1"]),
        (["--reason", "unreadable", "--reason", "invalid_event"], ["ddd1", "eee1"]),
        (["--topic", "order-placed"], ["aaa1", "ddd1", "eee1"]),
        (["--topic", "erp-stock-dead-letter"], ["ccc1"]),
        (["--owner", "finance"], ["aaa1", "bbb1"]),
        (["--order", "1001"], ["aaa1", "bbb1"]),
        (["--item", "TSHIRT"], ["ccc1"]),
        (["--item", "TS001"], ["ccc1"]),
        (["--since", "2026-11-21"], ["aaa1", "bbb1", "ddd1", "eee1"]),
        (["--until", "2026-11-21"], ["ccc1"]),
        (["--state", "held", "--state", "posted"], ["bbb1", "fff1"]),
        (["--state", "all", "--order", "1001"], ["aaa1", "bbb1"]),
        (["--order", "nobody"], []),
    ],
)
def test_list_takes_selections(streams: Streams, selection: list[str], ids: list[str]) -> None:
    ran = streams("dlq", "list", "--json", *selection)
    assert ran.code == 0
    assert [letter["id"] for letter in ran.data] == ids


def test_list_has_the_fields_of_the_contract(streams: Streams) -> None:
    (letter,) = streams("dlq", "list", "--json", "--item", "TSHIRT").data
    assert set(letter) == FIELDS
    assert (letter["members"], letter["waits_for"], letter["state"]) == (["a", "b"], "item:TS001", "parked")


def test_list_for_people_names_owner_and_error(streams: Streams) -> None:
    ran = streams("dlq", "list")
    assert "finance" in ran.out
    assert "5 dead letters" in ran.out
    assert "nothing is dead" in streams("dlq", "list", "--order", "x").out


@pytest.mark.parametrize(("option", "value"), [("--reason", "unknown"), ("--state", "gone")])
def test_a_selection_nobody_knows_is_wrong_use(streams: Streams, option: str, value: str) -> None:
    ran = streams("dlq", "list", option, value)
    assert ran.code == 2
    assert "write one of" in ran.err


def test_show_masks_everything_about_people(streams: Streams) -> None:
    ran = streams("dlq", "show", "aaa", "--json")
    assert ran.code == 0
    assert ran.data["headers"]["b1streams.reason"] == "total_mismatch"
    assert ran.data["payload"]["order_id"] == "1001"
    assert ran.data["payload"]["lines"][0]["quantity"] == "2.000000"
    assert ran.data["payload"]["ship_to"]["country"] == "GB"
    assert ran.data["payload"]["customer"]["email"] == "***"
    assert "Canary" not in ran.out + streams("dlq", "show", "aaa1").out


def test_show_masks_lines_that_became_no_event(streams: Streams) -> None:
    payload = streams("dlq", "show", "ddd1", "--json").data["payload"]
    assert payload == {"type": "order_placed", "order_id": "9", "customer": {"email": "***", PERSON: "***"}} or (
        PERSON not in json.dumps(payload)
    )
    assert streams("dlq", "show", "eee1", "--json").data["payload"] == "2 bytes that are no event"


@pytest.mark.parametrize(("ident", "words"), [("zzz", "no such dead letter"), ("", "6 dead letters begin")])
def test_show_wants_one_letter(streams: Streams, ident: str, words: str) -> None:
    ran = streams("dlq", "show", ident)
    assert ran.code == 1
    assert words in ran.err


def test_a_letter_whose_bytes_are_gone_still_has_its_state(streams: Streams, world: World) -> None:
    at_once(world.log.delete_records("order-placed-dead-letter", 0, 3))
    ran = streams("dlq", "show", "aaa1", "--json")
    assert (ran.code, ran.data["payload"], ran.data["owner"]) == (0, None, "finance")


def test_group_is_what_there_is_to_act_on_with_units_money_and_what_is_blocked(streams: Streams) -> None:
    ran = streams("dlq", "group", "--json")
    assert ran.code == 0
    assert {*ran.data[0]} >= {
        *("reason", "cause", "state", "owner", "letters", "events", "units", "amount", "oldest", "blocks"),
    }
    rows = {row["reason"]: row for row in ran.data}
    assert next(iter(rows)) == "total_mismatch"
    mismatch = rows["total_mismatch"]
    assert (mismatch["letters"], mismatch["events"], mismatch["orders"], mismatch["blocks"]) == (1, 1, 1, ["bbb1"])
    assert (mismatch["units"], mismatch["amount"], mismatch["owner"]) == ("2", "19", "finance")
    assert (rows["unknown_item"]["events"], rows["unknown_item"]["state"]) == (2, "parked")
    assert rows["unreadable"]["amount"] is None
    assert sum(row["letters"] + len(row["blocks"]) for row in ran.data) == 5


def test_group_for_people_and_of_a_selection(streams: Streams) -> None:
    ran = streams("dlq", "group")
    assert "4 dead letters in 4 groups, 1 wait behind them" in ran.out
    assert "Canary" not in ran.out
    (row,) = streams("dlq", "group", "--json", "--reason", "unknown_item").data
    assert row["subjects"] == ["TSHIRT"]
    assert "nothing is dead" in streams("dlq", "group", "--order", "x").out


def test_show_tells_who_acts_how_what_it_blocks_and_every_attempt(streams: Streams, world: World) -> None:
    tries = (Attempt(at=NOW, reason="erp_refused", error="HTTP 400, code -10: no"),)
    at_once(world.letter("refund_issued", id="ttt1", tries=tries, waited_s=90))
    shown = streams("dlq", "show", "ttt1", "--json").data
    assert shown["tries"] == [{"at": NOW.isoformat(), "reason": "erp_refused", "error": "HTTP 400, code -10: no"}]
    assert (shown["waited_s"], shown["runbook"].startswith("B1 says no in its own words")) == (90, True)
    assert [one["id"] for one in streams("dlq", "show", "aaa1", "--json").data["blocks"]] == ["bbb1"]
    out = streams("dlq", "show", "ttt1").out
    assert "operations acts: B1 says no in its own words" in out
    assert "HTTP 400, code -10: no" in out


def test_show_personal_shows_people_and_is_in_the_audit(streams: Streams) -> None:
    assert streams("audit", "--json").data == []
    shown = streams("dlq", "show", "aaa1", "--personal", "--by", "ada", "--json").data
    assert shown["payload"]["customer"]["name"] == PERSON
    begun, ended = streams("audit", "--json").data
    assert (begun["action"], begun["by"], begun["what"]) == ("dlq show --personal", "ada", "aaa1")
    assert PERSON not in json.dumps([begun, ended])
