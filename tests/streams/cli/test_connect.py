"""`streams connect try`, and that the command alone still runs connectors."""

import json

import pytest

from streams.cli import connect, service

AT = "2026-11-20T10:00:00"
HEADER = "Ref,Item,Whse,Qty,Why,When"


def order(number, **changes):
    line = {"line_id": "1", "sku": "A", "quantity": "2", "unit_price": "5"}
    event = {"type": "order_placed", "order_id": number, "occurred_at": f"{AT}Z", "currency": "GBP", "lines": [line]}
    return json.dumps(event | {"ship_to": {"name": "Canary Person"}, "grand_total": "12.00"} | changes)


@pytest.fixture
def adjustments(folder):
    rows = [HEADER, f"r1,A,MAIN,-2.5,DMG,{AT}", f"r2,A,MAIN,0,DMG,{AT}", "", f"r3,A,NOPE,1,FND,{AT}"]
    (folder / "adj-1.csv").write_text("\n".join(rows))


@pytest.mark.usefixtures("adjustments")
def test_try_shows_what_every_line_becomes_and_why_not(streams):
    ran = streams("connect", "try", "warehouse", "adj-1.csv")
    assert ran.code == 1
    lines = [" ".join(line.split()) for line in ran.out.splitlines()]
    assert "2 stock_adjusted r1 A MAIN -2.5 (damaged) published" in lines
    assert any("3 stock_adjusted r2 A refused, invalid_event: delta must not be 0" in line for line in lines)
    assert any("5 stock_adjusted r3 A NOPE +1 (found) refused, unmapped_location" in line for line in lines)
    assert "1 event, 2 refused" in lines[-1]
    assert "Nothing was published" in lines[-1]


@pytest.mark.usefixtures("adjustments")
def test_try_prints_json_for_machines(streams):
    ran = streams("connect", "try", "warehouse", "adj-1.csv", "--json")
    assert (ran.code, ran.data["ok"], ran.data["file"]) == (1, False, "adj-1.csv")
    assert [(each["line"], each["reason"]) for each in ran.data["records"]] == [
        (2, None),
        (3, "invalid_event"),
        (5, "unmapped_location"),
    ]
    assert ran.data["records"][0]["identity"] == ["r1", "A", "MAIN"]
    assert ran.data["totals"] == {
        "events": {"stock_adjusted": 1},
        "refused": {"invalid_event": 1, "unmapped_location": 1},
        "skipped": 2,
    }


def test_try_needs_neither_kafka_nor_b1_and_touches_nothing(streams, folder):
    file = folder / "elsewhere" / "a.jsonl"
    file.parent.mkdir()
    file.write_text("\n".join(order(f"o{number}") for number in range(3)))
    before = sorted(folder.rglob("*"))
    ran = streams("connect", "try", "shop", str(file))
    assert ran.code == 0
    assert "1 line, 12 GBP" in ran.out
    assert "3 events, 0 refused" in ran.out
    assert "Canary" not in ran.out
    assert sorted(folder.rglob("*")) == before


def test_try_tells_what_will_be_a_no_op(streams, folder, monkeypatch):
    monkeypatch.setenv("STREAMS__CONNECTORS__SHOP__START_AT", "2026-12-01T00:00:00Z")
    (folder / "a.jsonl").write_text(order("o1"))
    ran = streams("connect", "try", "shop", "a.jsonl", "--json")
    assert ran.data["records"][0]["no_op"] == "before start_at"


def test_try_shows_every_kind_of_event(streams, folder):
    base = {"occurred_at": f"{AT}Z", "order_id": "o1"}
    stock = {"type": "stock_adjusted", "occurred_at": f"{AT}Z", "sku": "A", "location": "MAIN", "reason": "count"}
    refunded = {"sku": "A", "quantity": "1", "amount": "5", "restock": True}
    events = [
        base | {"type": "order_cancelled", "event_id": "c1"},
        base | {"type": "dispatch_confirmed", "shipment_id": "s1", "location": "MAIN", "carrier": "dpd"}
        | {"service": "next-day", "lines": [{"sku": "A", "quantity": "1"}]},
        base | {"type": "refund_issued", "refund_id": "f1", "currency": "GBP", "lines": [refunded], "total": "5"},
        stock | {"event_id": "l1", "level": "90.0", "sequence": 7},
        stock | {"event_id": "m1", "delta": "3"},
    ]  # fmt: skip
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, events)))
    ran = streams("connect", "try", "warehouse", "a.jsonl", "--json")
    assert [each["says"] for each in ran.data["records"]] == [
        "order o1, all of it",
        "order o1, 1 line from MAIN",
        "order o1, 1 line, 5 GBP",
        "level 90 (sequence 7): its change to the last one",
        "+3 (count)",
    ]
    assert (ran.code, ran.data["ok"]) == (0, True)


def test_try_shows_no_more_than_it_is_asked_for_and_counts_all(streams, folder):
    lines = [order(f"o{number}") if number % 2 else "{}" for number in range(100)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    ran = streams("connect", "try", "shop", "a.jsonl", "--limit", "3", "--json")
    assert len(ran.data["records"]) == 6
    assert ran.data["totals"]["events"] == {"order_placed": 50}
    assert "94 more are not shown" in streams("connect", "try", "shop", "a.jsonl", "--limit", "3").out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("nobody", "a.jsonl"), "no connector nobody that reads files"),
        (("warehouse", "x.csv"), "does not read files of the name x.csv"),
        (("warehouse", "nowhere.jsonl"), "cannot be opened"),
    ],
)
def test_try_of_what_cannot_be_tried_is_wrong_use(streams, arguments, told):
    ran = streams("connect", "try", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert "next" in ran.err


def test_connect_alone_runs_connectors(streams, folder, monkeypatch):
    served = []
    monkeypatch.setattr(service, "serve", lambda config, parts: served.append((config.folder, list(parts))))
    assert streams("connect").code == 0
    assert streams("connect", "-c", "streams.toml").code == 0
    assert served == [(folder, ["connect"])] * 2


def test_a_configuration_that_would_not_reach_the_command_is_refused(streams, folder):
    (folder / "a.jsonl").touch()
    ran = streams("connect", "-c", "streams.toml", "try", "shop", "a.jsonl")
    assert ran.code == 2
    assert "-c before try would not reach it" in ran.err
    assert streams("connect", "try", "shop", "a.jsonl", "-c", "streams.toml").code == 0
    assert connect.app.registered_commands
