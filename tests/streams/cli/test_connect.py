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
        base
        | {"type": "dispatch_confirmed", "shipment_id": "s1", "location": "MAIN", "carrier": "dpd"}
        | {"service": "next-day", "lines": [{"sku": "A", "quantity": "1"}]},
        base | {"type": "refund_issued", "refund_id": "f1", "currency": "GBP", "lines": [refunded], "total": "5"},
        stock | {"event_id": "l1", "level": "90.0", "sequence": 7},
        stock | {"event_id": "m1", "delta": "3"},
    ]
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


DESPATCHES = """
[connectors.warehouse.csv.despatches]
files = "desp-*.csv"
event = "dispatch_confirmed"
timezone = "Europe/London"
group_by = "Despatch No"
[connectors.warehouse.csv.despatches.columns]
shipment_id = "Despatch No"
order_id = "Order No"
location = "Site"
occurred_at = "Despatched"
"lines.line_id" = "Line"
"lines.sku" = "SKU"
"lines.quantity" = "Qty"
"""
ROWS = (
    "Despatch No,Order No,Line,SKU,Qty,Site,Despatched\nD1,1001,1,A,2,MAIN,2026-11-20\nD1,1001,2,B,1,MAIN,2026-11-20\n"
)


def test_try_shows_rows_that_are_one_event(streams, folder):
    with (folder / "streams.toml").open("a") as config:
        config.write(DESPATCHES)
    (folder / "desp-1.csv").write_text(ROWS)
    ran = streams("connect", "try", "warehouse", "desp-1.csv", "--json")
    assert [(each["line"], each["says"], each["reason"]) for each in ran.data["records"]] == [
        (2, "order 1001, 2 lines from MAIN", None)
    ]


def test_try_shows_what_the_same_identity_in_a_file_comes_to(streams, folder):
    with (folder / "streams.toml").open("a") as config:
        config.write(DESPATCHES.replace('group_by = "Despatch No"', ""))
    (folder / "desp-1.csv").write_text(ROWS + ROWS.splitlines()[1])
    ran = streams("connect", "try", "warehouse", "desp-1.csv", "--json")
    first, other, again = ran.data["records"]
    assert (first["reason"], first["no_op"]) == (None, None)
    assert other["reason"] == "id_reuse"
    assert "line 2 has the same identity with other content" in other["error"]
    assert "set group_by" in other["error"]
    assert again["no_op"] == "repeats line 2"
    assert ran.code == 1


def test_try_compares_the_levels_of_a_file(streams, folder):
    level = {"type": "stock_adjusted", "occurred_at": f"{AT}Z", "sku": "A", "location": "MAIN", "reason": "count"}
    told = [(1, "5"), (3, "7"), (2, "9"), (4, "7")]
    lines = [level | {"event_id": f"l{sequence}", "level": text, "sequence": sequence} for sequence, text in told]
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    records = streams("connect", "try", "warehouse", "a.jsonl", "--json").data["records"]
    assert records[1]["says"] == "level 7 (sequence 3): +2 to line 1"
    assert [each["no_op"] for each in records] == [
        None,
        None,
        "stale: its sequence is not above that of line 2",
        "the same level as line 2",
    ]


@pytest.mark.parametrize(
    "sku",
    ["1.23457E+12", "1,2E+05", "1-Mar", "Mar-01", "03/01/2026", "501234567890120000", "1001.0", '=""00123""', "#N/A"],
)
def test_try_warns_of_what_a_spreadsheet_makes_of_a_sku(streams, folder, sku):
    (folder / "adj-1.csv").write_text(f'{HEADER}\nr1,"{sku}",MAIN,1,DMG,{AT}\n')
    ran = streams("connect", "try", "warehouse", "adj-1.csv", "--json")
    assert (ran.code, ran.data["warned"]) == (0, 1)
    assert "see whether a spreadsheet has changed it" in ran.data["records"][0]["warnings"][0]
    assert "warning: sku looks like" in " ".join(streams("connect", "try", "warehouse", "adj-1.csv").out.split())


def test_try_warns_of_leading_zeros_that_are_gone(streams, folder, monkeypatch):
    text = (folder / "streams.toml").read_text().replace('"TSHIRT-RED" = ', '"00123" = "X"\n"TSHIRT-RED" = ')
    (folder / "streams.toml").write_text(text)
    (folder / "adj-1.csv").write_text(f"{HEADER}\nr1,123,MAIN,1,DMG,{AT}\nr2,00123,MAIN,1,DMG,{AT}\n")
    bad, good = streams("connect", "try", "warehouse", "adj-1.csv", "--json").data["records"]
    assert bad["warnings"] == ["sku is 00123 of companies.acme.items without its leading zeros"]
    assert good["warnings"] == []


@pytest.mark.parametrize("sku", ["A-1", "MAIN-1", "5012345678900", "TSHIRT-RED", "12-34", "MAR", "3EM", "0012"])
def test_try_does_not_warn_of_an_ordinary_sku(streams, folder, sku):
    (folder / "adj-1.csv").write_text(f"{HEADER}\nr1,{sku},MAIN,1,DMG,{AT}\n")
    assert streams("connect", "try", "warehouse", "adj-1.csv", "--json").data["warned"] == 0


def test_try_refuses_a_rate_without_a_code_that_is_not_mapped(streams, folder):
    line = {"line_id": "1", "sku": "A", "quantity": "2", "unit_price": "5", "tax_rate": "0"}
    (folder / "a.jsonl").write_text(order("o1", lines=[line]))
    (record,) = streams("connect", "try", "shop", "a.jsonl", "--json").data["records"]
    assert record["reason"] == "unmapped_tax_code"
    assert 'add "0" to companies.acme.tax.codes' in record["error"]


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
