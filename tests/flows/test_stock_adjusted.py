"""`stock_adjusted`, from the warehouse's line through window and group commit to stock documents in B1."""

import copy
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from tests.flows.world import World, at, dispatch, order, order_line, stock

OpenWorld = Callable[..., Awaitable[World]]
ENTITIES = ("InventoryGenEntries", "InventoryGenExits", "StockTransfers")


def moved(world: World) -> Counter[tuple[str, str]]:
    """What our documents moved, by item and warehouse."""
    sums: Counter[tuple[str, str]] = Counter()
    for movement in world.b1.ledger()["movements"]:
        if movement["object"] != 0:
            sums[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])  # type: ignore[assignment]
    return Counter({place: total for place, total in sums.items() if total})


def stock_documents(world: World) -> list[dict[str, Any]]:
    return [
        document for entity in ENTITIES for document in world.b1.ledger()["documents"] if document["entity"] == entity
    ]


# ---- documents


async def test_deltas_of_a_window_become_one_netted_line_per_item_warehouse_and_reason(world: World) -> None:
    await world.says(
        "warehouse",
        *(stock(f"f{n}", "A", "1.25") for n in range(4)),
        stock("b", "B", "7", reason="receipt"),
        stock("d", "A", "-2", reason="damaged"),
    )
    entries, exits = world.documents("InventoryGenEntries"), world.documents("InventoryGenExits")
    lines = [
        (line["ItemCode"], line["Quantity"], line["WarehouseCode"], line.get("AccountCode"))
        for document in entries
        for line in document["DocumentLines"]
    ]
    assert sorted(lines, key=str) == [("A", "5", "LON1", "4900"), ("B", "7", "LON1", None)]
    (out,) = exits
    assert [(line["ItemCode"], line["Quantity"], line.get("AccountCode")) for line in out["DocumentLines"]] == [
        ("A", "2", "5100")
    ]
    assert {one["DocDate"][:10] for one in (*entries, *exits)} == {"2026-11-21"}
    for document in (*entries, *exits):
        assert world.claims()[document["U_STREAMS_KEY"]]["U_KIND"] == "stock_document"
    assert moved(world) == {("A", "LON1"): 3, ("B", "LON1"): 7}
    assert await world.ends("stock_adjusted") == {"posted": 6}


async def test_what_is_too_much_for_one_line_goes_into_several_documents(world: World) -> None:
    most = "9999999999999"
    await world.says(
        "warehouse", *(stock(f"m{n}", "A", most, reason="receipt") for n in range(3)), stock("b", "B", "7")
    )
    assert len(stock_documents(world)) == 4
    assert moved(world) == {("A", "LON1"): 3 * Decimal(most), ("B", "LON1"): 7}
    assert await world.ends("stock_adjusted") == {"posted": 4}


async def test_a_document_never_mixes_directions_dates_or_accounts(world: World) -> None:
    reasons = ("found", "count", "receipt", "damaged", "other")
    lines = [
        stock(f"{reason}{delta}{day}{sku}", sku, delta, reason=reason, occurred_at=at(-day * 1440))
        for reason in reasons
        for delta in ("3", "-1")
        for day in (0, 1)
        for sku in ("A", "B")
    ]
    await world.says("warehouse", *lines)
    for document in stock_documents(world):
        assert len({line.get("AccountCode") for line in document["DocumentLines"]}) == 1
    posted: Counter[tuple[str, str, str]] = Counter()
    for document in stock_documents(world):
        sign = 1 if document["entity"] == "InventoryGenEntries" else -1
        for line in document["DocumentLines"]:
            posted[line["ItemCode"], line["FreeText"], document["DocDate"][:10]] += sign * int(line["Quantity"])
    assert posted == {
        (sku, reason, day): 2 for sku in ("A", "B") for reason in reasons for day in ("2026-11-21", "2026-11-20")
    }
    assert await world.ends("stock_adjusted") == {"posted": len(lines)}


async def test_a_transfer_is_a_transfer_and_never_netted_with_anything(world: World) -> None:
    transfer = {"reason": "transfer", "to_location": "RETURNS"}
    await world.says(
        "warehouse", stock("t1", "A", "-3", **transfer), stock("t2", "A", "-2", **transfer), stock("f", "A", "1")
    )
    (document,) = world.documents("StockTransfers")
    (line,) = document["StockTransferLines"]
    assert (line["ItemCode"], line["Quantity"], line["FromWarehouseCode"], line["WarehouseCode"]) == (
        "A",
        "5",
        "LON1",
        "RET1",
    )
    assert (document["FromWarehouse"], document["ToWarehouse"]) == ("LON1", "RET1")
    assert moved(world) == {("A", "LON1"): -4, ("A", "RET1"): 5}


@pytest.mark.parametrize(
    "wrong", [{"reason": "transfer"}, {"reason": "transfer", "to_location": "MAIN"}, {"to_location": "RETURNS"}]
)
async def test_half_a_transfer_is_an_invalid_event(world: World, wrong: dict[str, str]) -> None:
    await world.says("warehouse", stock("t", "A", "-1", **wrong))
    await world.letter("invalid_event")


async def test_what_nets_to_nothing_is_recorded_and_not_posted(world: World) -> None:
    await world.says("warehouse", stock("a", "A", "0.1"), stock("b", "A", "0.2"), stock("c", "A", "-0.3"))
    assert not stock_documents(world)
    assert await world.ends("stock_adjusted") == {"no_op": 3}


async def test_lots_never_net_against_each_other_and_serials_stand_alone(world: World) -> None:
    lot = lambda number, quantity: [{"number": number, "quantity": quantity}]  # noqa: E731
    await world.says(
        "warehouse",
        stock("a", "LOT", "5", batches=[{"number": "L2", "quantity": "5", "expires_on": "2027-01-31"}]),
        stock("b", "LOT", "-2", batches=lot("L1", "2")),
        stock("c", "LOT", "-1", batches=lot("L1", "1")),
        stock("s", "SER", "-1", serials=["S1"], reason="lost"),
    )
    (entry,) = world.documents("InventoryGenEntries")
    assert entry["DocumentLines"][0]["BatchNumbers"][0]["ExpiryDate"][:10] == "2027-01-31"
    lots = {(one["batch"], one["quantity"]) for one in world.b1.ledger()["batches"]}
    assert lots == {("L1", "47"), ("L2", "5")}
    serials = {one["serial"]: one["warehouse"] for one in world.b1.ledger()["serials"]}
    assert (serials["S1"], serials["S2"]) == (None, "LON1")


async def test_two_spellings_of_a_code_are_two_items_and_two_skus_of_one_item_one(open_world: OpenWorld) -> None:
    world = await open_world()
    await world.says("warehouse", stock("a", "85123A", "1"), stock("b", "85123a", "-2"), stock("c", "85123a", "-3"))
    assert moved(world) == {("85123A", "LON1"): 1, ("85123a", "LON1"): -5}
    world = await open_world(items={"85123a": "85123A"})
    await world.says("warehouse", stock("a", "85123A", "1"), stock("b", "85123a", "2"))
    (document,) = world.documents("InventoryGenEntries")
    assert [(line["ItemCode"], line["Quantity"]) for line in document["DocumentLines"]] == [("85123A", "3")]


async def test_six_decimals_arrive_as_six_decimals(world: World) -> None:
    deltas = ["0.000001", "0.1", "0.2", "12345.654321", "-0.300001"]
    await world.says("warehouse", *(stock(f"e{n}", "A", delta) for n, delta in enumerate(deltas)))
    assert moved(world)["A", "LON1"] == sum(map(Decimal, deltas))


async def test_more_decimals_than_the_company_keeps_are_refused_before_posting(world: World) -> None:
    world.b1.rules = world.b1.rules.changed({"quantity_decimals": 2})
    await world.says("warehouse", stock("a", "A", "0.125"), stock("b", "B", "0.25"))
    letter = await world.letter("erp_refused")
    assert "Decimal" in (letter.state.error or "")
    assert moved(world) == {("B", "LON1"): Decimal("0.25")}


# ---- identity


async def test_an_event_is_counted_once_in_the_window_in_later_ones_and_after_a_restart(world: World) -> None:
    line = stock("e1", "A", "5")
    await world.says("warehouse", line, line, {**line, "delta": "5.000"})
    await world.says("warehouse", line)
    await world.kill_worker()
    await world.start_worker()
    await world.says("warehouse", line)
    assert moved(world) == {("A", "LON1"): 5}
    assert await world.ends("stock_adjusted") == {"posted": 1, "no_op": 4}
    await world.says("warehouse", {**line, "delta": "6"})
    letter = await world.letter("id_reuse")
    assert letter.record.topic == "stock-adjusted-dead-letter"


async def test_one_document_of_the_source_may_have_many_lines_under_one_event_id(world: World) -> None:
    await world.says("warehouse", stock("e", "A"), stock("e", "B"), stock("e", "A", location="RETURNS"))
    assert moved(world) == {("A", "LON1"): 1, ("B", "LON1"): 1, ("A", "RET1"): 1}


async def test_a_repeat_is_known_before_too_old_is_judged(open_world: OpenWorld) -> None:
    world = await open_world(dedupe_horizon_days=1)
    line = stock("e", "A", "1", occurred_at=at(-23 * 60))
    await world.says("warehouse", line)
    await world.passes(2 * 3600)
    await world.says("warehouse", line, stock("new", "A", "1", occurred_at=at(-23 * 60)))
    await world.letter("too_old")
    assert await world.ends("stock_adjusted") == {"posted": 1, "no_op": 1, "dead": 1}


# ---- levels


async def test_levels_become_deltas_and_baseline_stale_and_unchanged_are_no_ops(world: World) -> None:
    level = lambda n, level, sequence: stock(f"l{n}", "A", None, level=level, sequence=sequence, reason="count")  # noqa: E731
    await world.says(
        "warehouse",
        level(1, "100", 1),
        level(2, "103.5", 2),
        level(3, "103.5", 3),
        level(4, "90", 2),
        level(5, "101", 9),
    )
    assert moved(world) == {("A", "LON1"): 1}
    assert [(batch.net, batch.reason) for epoch in world.epochs() for batch in epoch.batches] == [
        (Decimal("1.0"), "count")
    ]


# ---- refused by the configuration


@pytest.mark.parametrize(
    ("reason", "fields"),
    [
        ("unmapped_location", {"location": "NOWHERE"}),
        ("location_not_owned", {"location": "STORE"}),
        ("too_old", {"occurred_at": at(-36 * 1440)}),
    ],
)
async def test_what_the_configuration_refuses_is_a_letter_and_the_rest_of_the_window_counts(
    world: World, reason: str, fields: dict[str, Any]
) -> None:
    await world.says("warehouse", stock("bad", "A", "5", **fields), stock("good", "A", "1"))
    letter = await world.letter(reason)
    (fact, _) = world.facts("stock_adjusted")
    assert (letter.record.topic, letter.record.partition) == ("stock-adjusted-dead-letter", fact.partition)
    assert (letter.record.key, letter.record.value) == (fact.key, fact.value)
    assert letter.headers["b1streams.sku"] == "A"
    assert letter.headers["b1streams.event_id"] == "bad"
    assert letter.headers["__connect.errors.offset"] == str(fact.offset)
    assert moved(world) == {("A", "LON1"): 1}
    assert await world.ends("stock_adjusted") == {"posted": 1, "dead": 1}
    await world.says("warehouse", stock("bad", "A", "5", **fields))
    assert await world.ends("stock_adjusted") == {"posted": 1, "dead": 1, "no_op": 1}


async def test_unreadable_bytes_in_the_window_are_a_letter(world: World) -> None:
    await world.log.send("stock-adjusted", 0, b"A", b"\x00\x00")
    await world.says("warehouse", stock("good"))
    assert (await world.letter("unreadable")).record.value == b"\x00\x00"
    assert moved(world) == {("A", "LON1"): 1}


async def test_flow_off_start_at_and_returns_by_refund_end_as_no_op(open_world: OpenWorld) -> None:
    world = await open_world(connectors={"warehouse": {"start_at": at(-60)}})
    await world.says(
        "warehouse",
        stock("old", occurred_at=at(-61)),
        stock("r", reason="return"),
        stock("r2", reason="return", location="RETURNS"),
    )
    assert moved(world) == {("A", "RET1"): 1}
    assert await world.ends("stock_adjusted") == {"no_op": 2, "posted": 1}
    world = await open_world(flows={"stock_adjusted": "off"})
    await world.says("warehouse", stock("a"))
    assert await world.ends("stock_adjusted") == {"no_op": 1}


# ---- refused by B1


@pytest.mark.parametrize("reason", ["unknown_item", "inactive_item"])
async def test_a_batch_that_its_item_stops_is_one_letter_with_its_members_and_is_released_by_it(
    world: World, reason: str
) -> None:
    code = {"unknown_item": "NEW", "inactive_item": "OLD"}[reason]
    await world.says("warehouse", *(stock(f"e{n}", code, "2") for n in range(3)), stock("good"))
    letter = await world.letter(reason)
    assert (letter.record.topic, letter.state.event_type) == ("erp-stock-dead-letter", "stock_batch")
    assert letter.state.members == ("e0", "e1", "e2")
    assert letter.state.waits_for == f"item:{code}"
    assert (letter.headers["b1streams.sku"], letter.headers["b1streams.state"]) == (code, "parked")
    assert await world.ends("stock_adjusted") == {"posted": 1, "parked": 3}
    world.b1.load({"Items": [{"ItemCode": code, "Valid": "tYES", "Frozen": "tNO"}]})
    await world.until(lambda: (code, "LON1") in moved(world))
    assert moved(world) == {("A", "LON1"): 1, (code, "LON1"): 6}
    assert await world.ends("stock_adjusted") == {"posted": 4}


async def test_an_issue_beyond_the_stock_waits_alone_and_is_never_clipped(world: World) -> None:
    await world.says(
        "warehouse",
        *(stock(code, code, "-1", reason="lost") for code in ("A", "C")),
        stock("much", "B", "-150", reason="lost"),
    )
    letter = await world.letter("negative_stock")
    assert letter.state.members == ("much",)
    assert moved(world) == {("A", "LON1"): -1, ("C", "LON1"): -1}
    world.b1.load({"stock": [{"item": "B", "warehouse": "LON1", "quantity": "50"}]})
    await world.until(lambda: world.on_hand("B") == 0)
    assert await world.ends("stock_adjusted") == {"posted": 3}


async def test_a_document_that_b1_refuses_is_taken_apart_until_only_the_guilty_are_left(world: World) -> None:
    """Every withdrawn document is impossible for ever: its claim lies in B1 as void."""
    codes = [f"P{n:02}" for n in range(12)]
    world.b1.load({"Items": [{"ItemCode": code} for code in codes]})
    guilty = {"P03", "P04", "P11"}
    lines = [
        stock(code, code, "-1" if code in guilty else "1", reason="lost" if code in guilty else "found")
        for code in codes
    ]
    plenty = [stock(f"x{code}", code, "-1", reason="lost") for code in ("A", "B", "C")]
    await world.says("warehouse", *lines, *plenty)
    parked = await world.letters("parked")
    assert {one.state.sku for one in parked} == guilty
    assert {one.state.reason for one in parked} == {"negative_stock"}
    assert moved(world) == {
        **{(code, "LON1"): 1 for code in codes if code not in guilty},
        **{(code, "LON1"): -1 for code in ("A", "B", "C")},
    }
    posted = {document["U_STREAMS_KEY"] for document in stock_documents(world)}
    for document in world.sealed_documents():
        assert (world.claims()[document.k]["U_STATE"] == "void") == (document.k not in posted)


async def test_a_traced_item_without_its_numbers_is_named(world: World) -> None:
    await world.says("warehouse", stock("a", "LOT", "3"), stock("b", "SER", "-1", reason="lost"))
    assert {(one.state.sku, one.state.reason) for one in await world.letters("dead")} == {
        ("LOT", "batch_or_serial_missing"),
        ("SER", "batch_or_serial_missing"),
    }


async def test_a_closed_period_parks_the_batches_of_its_days_and_no_others(world: World) -> None:
    world.b1.load(
        {
            "periods": [
                {"start": "2026-10-01", "end": "2026-10-31", "locked": True},
                {"start": "2026-11-01", "end": "2026-11-30"},
            ]
        }
    )
    await world.says("warehouse", stock("old", occurred_at="2026-10-31T12:00:00Z"), stock("new"))
    letter = await world.letter("period_closed")
    assert letter.state.members == ("old",)
    world.b1.load({"periods": []})
    await world.until(lambda: world.on_hand("A") == 102)
    assert {document["DocDate"][:10] for document in stock_documents(world)} == {"2026-10-31", "2026-11-21"}


async def test_an_item_that_a_person_holds_stops_neither_other_items_nor_orders(open_world: OpenWorld) -> None:
    world = await open_world(lock_park_after_s=10)
    world.b1.lock("A", "people:ann")
    world.writes("shop", order("1", order_line(sku="B")))
    await world.says("warehouse", stock("a", "A"), stock("b", "B"), stock("c", "C"))
    letter = await world.letter("item_locked")
    assert letter.state.members == ("a",)
    assert moved(world) == {("B", "LON1"): 1, ("C", "LON1"): 1}
    assert len(world.documents("Orders")) == 1
    world.b1.unlock("A", "people:ann")
    await world.until(lambda: ("A", "LON1") in moved(world))
    assert moved(world)["A", "LON1"] == 1


async def test_a_stock_document_that_needs_approval_moves_its_units_once(world: World) -> None:
    world.needs_approval("InventoryGenExits")
    await world.says(
        "warehouse", stock("a", "A", "-1", reason="lost"), stock("b", "B", "-2", reason="lost"), stock("c", "C")
    )
    parked = await world.letters("parked")
    assert {(one.state.reason, one.state.members) for one in parked} == {
        ("approval_required", ("a",)),
        ("approval_required", ("b",)),
    }
    assert moved(world) == {("C", "LON1"): 1}
    await world.kill_worker()
    await world.start_worker()
    await world.passes(300)
    assert len(world.drafts()) == 1
    world.approve()
    await world.until(lambda: len(world.claims()) == 2)
    await world.settled()
    assert moved(world) == {("A", "LON1"): -1, ("B", "LON1"): -2, ("C", "LON1"): 1}
    assert await world.ends("stock_adjusted") == {"posted": 3}


# ---- the road


async def test_load_becomes_fuller_documents_not_more_of_them(open_world: OpenWorld) -> None:
    world = await open_world(window={"length_s": 1, "max_members": 50})
    codes = [f"P{n:03}" for n in range(60)]
    world.b1.load({"Items": [{"ItemCode": code} for code in codes]})
    await world.says("warehouse", *(stock(f"e{n}", codes[n * n % 60], "1") for n in range(3000)))
    assert sum(moved(world).values()) == 3000
    assert len(stock_documents(world)) < 30
    assert world.b1.counters["lock_waits_own"] == 0
    assert all(len(document["DocumentLines"]) <= 50 for document in stock_documents(world))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": FaultKind.LOST_BEFORE},
        {"kind": FaultKind.LOST_AFTER, "times": 2},
        {"kind": FaultKind.TRUNCATED_BATCH},
        {"kind": FaultKind.HTML_502, "commit": True},
        {"kind": FaultKind.DUPLICATE},
        {"kind": FaultKind.LATE_COMMIT, "after_s": 45},
        {"kind": FaultKind.LATE_COMMIT, "after_s": 45, "holds": True},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
async def test_units_are_counted_once_whatever_becomes_of_the_answers(world: World, fault: dict[str, Any]) -> None:
    world.faults.script(**fault, path="InventoryGenEntries", method="POST")
    await world.says("warehouse", *(stock(f"e{n}", code, "1") for n, code in enumerate("ABCAB")))
    await world.simulator.settle()
    assert moved(world) == {("A", "LON1"): 2, ("B", "LON1"): 2, ("C", "LON1"): 1}
    assert await world.ends("stock_adjusted") == {"posted": 5}
    assert not await world.letters()


async def test_a_worker_that_dies_again_and_again_counts_every_unit_once(world: World) -> None:
    for n in range(12):
        world.writes("warehouse", *(stock(f"{n}-{m}", "ABC"[m % 3], "1") for m in range(6)))
        await world.passes(0.4 + n * 0.37)
        await world.kill_worker()
        await world.start_worker()
    await world.settled()
    assert moved(world) == {(code, "LON1"): 24 for code in "ABC"}
    assert await world.ends("stock_adjusted") == {"posted": 72}


async def test_a_drained_worker_has_sealed_what_was_open(open_world: OpenWorld) -> None:
    world = await open_world(window={"length_s": 300})
    world.writes("warehouse", stock("a"))
    await world.passes(2)
    assert not world.epochs()
    await world.stop_worker()
    assert [epoch.cause for epoch in world.epochs() if epoch.batches] == ["shutdown"]
    await world.start_worker()
    await world.settled()
    assert moved(world) == {("A", "LON1"): 1}


async def test_a_mended_mapping_posts_what_was_sealed_before(open_world: OpenWorld) -> None:
    """Batches carry the source's own names: the mapping in force when they are posted decides."""
    world = await open_world()
    await world.says("warehouse", stock("a", "SHIRT", "4"))
    await world.letter("unknown_item")
    await world.stop_worker()
    await world.start_worker(items={"SHIRT": "TS001-R"})
    await world.until(lambda: ("TS001-R", "LON1") in moved(world))
    assert moved(world) == {("TS001-R", "LON1"): 4}
    (posting,) = {one.k for one in world.postings("erp-stock")}
    assert posting.startswith("stock_batch-")


async def test_no_event_writes_master_data(world: World) -> None:
    """R1."""
    before = copy.deepcopy(world.b1.read("Items").body["value"])
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"), stock("a"), stock("b", "NEW"))
    changed = {
        "QuantityOnStock",
        "QuantityOrderedByCustomers",
        "ItemWarehouseInfoCollection",
        "UpdateDate",
        "UpdateTime",
    }
    after = world.b1.read("Items").body["value"]
    assert [{k: v for k, v in row.items() if k not in changed} for row in after] == [
        {k: v for k, v in row.items() if k not in changed} for row in before
    ]
