"""A wrong stock journal, stock document or shelf is found."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from lab.proof.dead_letters import DeadLetterSeen
from tests.lab.proof.case import letter_for


def test_a_millionth_of_a_unit_in_the_stock_journal_is_found(case):
    move = next(move for move in case.ledger["movements"] if move["object"] == 15)
    move["quantity"] = str(Decimal(move["quantity"]) + Decimal("0.000001"))
    case.stock_as_moved()
    assert case.kinds() == {"units"}


def test_stock_on_hand_that_the_journal_does_not_explain_is_found(case):
    case.ledger["on_hand"][0]["quantity"] = "7777"
    assert case.kinds() == {"units"}


def test_a_movement_at_the_wrong_warehouse_is_found(case):
    move = next(move for move in case.ledger["movements"] if move["object"] == 15)
    move["warehouse"] = "WEB1" if move["warehouse"] == "LON1" else "LON1"
    case.stock_as_moved()
    assert "units" in case.kinds()


@pytest.mark.parametrize(("name", "value"), [("AccountCode", "9999"), ("ItemCode", "OTHER")])
def test_a_stock_line_on_another_account_or_item_is_found(case, name, value):
    case.documents("InventoryGenExits")[0]["DocumentLines"][0][name] = value
    assert case.kinds() >= {"lost", "double"}


def test_the_members_of_a_stock_batch_that_is_a_letter_are_left_out_of_the_sums(case):
    document = case.documents("InventoryGenExits")[0]
    event_id = document["U_STREAMS_KEY"].removeprefix("stock_document-")
    case.letters.append(
        DeadLetterSeen("b", "erp-stock-dead-letter", "parked", "unknown_item", "stock_batch", b"", (event_id,))
    )
    case.remove(document)
    found = case.prove()
    assert found.flows["stock_adjusted"].parked == 1
    assert found.ok


def test_movements_that_net_to_nothing_need_no_document(case, tmp_path):
    base = {"type": "stock_adjusted", "sku": "22001", "location": "MAIN", "reason": "count"}
    at = datetime(2026, 11, 9, 12, tzinfo=UTC)
    pair = [
        base | {"event_id": f"n{n}", "delta": delta, "occurred_at": (at + timedelta(hours=n)).isoformat()}
        for n, delta in enumerate(("3.5", "-3.50"))
    ]
    before = case.prove().flows["stock_adjusted"].no_op
    case.write(tmp_path, *map(json.dumps, pair))
    found = case.prove()
    assert found.ok
    assert found.flows["stock_adjusted"].no_op == before + 2


def test_a_shelf_that_holds_other_than_b1_is_found_letters_aside(case):
    row = next(row for row in case.ledger["on_hand"] if row["warehouse"] == "LON1")
    slot = (row["item"], "MAIN")
    assert case.prove(shelves={slot: Decimal(row["quantity"])}).ok
    (wrong,) = case.prove(shelves={slot: Decimal(row["quantity"]) + 1}).discrepancies
    assert (wrong.kind, wrong.where) == ("units", f"{row['item']} on the shelf in LON1")
    dead = {"type": "stock_adjusted", "event_id": "c1", "sku": row["item"], "location": "MAIN", "delta": "1"}
    case.letters.append(letter_for(dead | {"reason": "count"}))
    counted = {"till": [dead | {"reason": "count", "occurred_at": "2026-11-20T10:00:00Z"}]}
    assert case.prove(vendor_events=counted, shelves={slot: Decimal(row["quantity"]) + 1}).ok
