from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import stock
from connectors.sap_b1.master import Item, Warehouse
from schemas.events import BatchQuantity
from schemas.records import StockBatch, StockDocument
from tests import builders
from tests.connectors.sap_b1.documents.world import B1, MASTER, company_map

DAY = date(2026, 3, 2)


def batch(net: str = "5", sku: str = "A", reason: str = "found", **fields: Any) -> StockBatch:
    return builders.batch("e", net, sku, **{"reason": reason, "posting_date": DAY, **fields})


def resolve(one: StockBatch, **settings: Any) -> stock.ResolvedBatch:
    return stock.resolve(one, company_map(**settings), MASTER)


def document(*batches: stock.ResolvedBatch, k: str = "stock_document-1") -> StockDocument:
    direction, day, account, _ = batches[0].group
    return StockDocument(
        number=0,
        prev_digest=b"",
        k=k,
        company="acme",
        direction=direction,
        posting_date=day,
        account=account,
        lines=stock.merge(batches),
        sealed_at=datetime.now(UTC),
        config_version="x",
    )


def reason(one: StockBatch, master: Any = MASTER) -> str:
    with pytest.raises(Refusal) as caught:
        stock.resolve(one, company_map(), master)
    assert ";" in caught.value.error
    return caught.value.reason


def test_what_is_found_is_an_entry_and_what_is_lost_an_exit(b1: B1) -> None:
    for net, reason_name, entity in (("5", "found", "InventoryGenEntries"), ("-5", "damaged", "InventoryGenExits")):
        sealed = document(resolve(batch(net, reason=reason_name)))
        plan = stock.build(sealed, b1.map, MASTER)
        assert plan.requests[0].path == entity
        assert plan.items == {"A"}
        made = b1.write(plan)
        (row,) = made["DocumentLines"]
        assert (row["Quantity"], row["WarehouseCode"], row["FreeText"]) == (5, "LON1", reason_name)
        assert row.get("AccountCode") == ("5100" if reason_name == "damaged" else None)
        assert "UnitPrice" not in plan.body["DocumentLines"][0]  # type: ignore[index]
        assert (made["DocDate"][:10], made["U_STREAMS_KEY"]) == ("2026-03-02", "stock_document-1")
    assert b1.company.on_hand("A", "LON1") == 1000


def test_a_transfer_moves_from_one_warehouse_to_the_other(b1: B1) -> None:
    moved = resolve(batch("-5", reason="transfer", to_location="RETURNS"))
    plan = stock.build(document(moved), b1.map, MASTER)
    assert plan.requests[0].path == "StockTransfers"
    assert (plan.body["DueDate"], "DocDueDate" in plan.body) == ("2026-03-02", False)
    b1.write(plan)
    assert (b1.company.on_hand("A", "LON1"), b1.company.on_hand("A", "RET1")) == (995, 5)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (batch(sku="NEW"), "unknown_item"),
        (batch(location="MOON"), "unmapped_location"),
        (batch(source="shop"), "location_not_owned"),
        (batch("-1", reason="transfer"), "invalid_event"),
        (batch("1", reason="transfer", to_location="RETURNS"), "invalid_event"),
        (batch("-1", reason="transfer", to_location="MAIN"), "invalid_event"),
        (batch("-1", reason="transfer", to_location="MOON"), "unmapped_location"),
        (batch(to_location="RETURNS"), "invalid_event"),
        (batch(sku="LOT"), "batch_or_serial_missing"),
        (batch(sku="LOT", batches=(BatchQuantity(number="L", quantity=Decimal(4)),)), "batch_or_serial_missing"),
        (batch(sku="SER", serials=("a",)), "batch_or_serial_missing"),
        (batch(serials=("a",)), "batch_or_serial_missing"),
    ],
)
def test_a_batch_that_cannot_be_posted_is_refused(one: StockBatch, expected: str) -> None:
    assert reason(one) == expected


def test_items_and_warehouses_are_checked_in_b1_s_words() -> None:
    assert reason(batch(), replace(MASTER, items={"A": Item("A", frozen=True)})) == "inactive_item"
    assert reason(batch(), replace(MASTER, items={"A": Item("A", inventory_item=False)})) == "erp_refused"
    assert reason(batch("1.5"), replace(MASTER, quantity_decimals=0)) == "erp_refused"
    # Stock documents count inventory units: the sales unit does not matter.
    assert stock.resolve(batch(), company_map(), replace(MASTER, items={"A": Item("A", sales_factor=Decimal(12))}))
    received = Item("A", serial_managed=True, on_release_only=True)
    assert stock.resolve(batch(), company_map(), replace(MASTER, items={"A": received}))
    assert reason(batch("-5"), replace(MASTER, items={"A": received})) == "batch_or_serial_missing"


def test_a_net_of_nothing_is_never_posted() -> None:
    with pytest.raises(ValueError, match="recorded"):
        resolve(batch("0"))


def test_lots_keep_their_own_lines_and_carry_their_expiry(b1: B1) -> None:
    lots = [BatchQuantity(number=n, quantity=Decimal(5), expires_on=date(2027, 1, 1)) for n in ("L1", "L2", "L1")]
    sealed = document(*(resolve(batch(sku="LOT", batches=(lot,))) for lot in lots))
    rows = b1.write(stock.build(sealed, b1.map, MASTER))["DocumentLines"]
    assert [
        (row["Quantity"], row["BatchNumbers"][0]["BatchNumber"], row["BatchNumbers"][0]["BaseLineNumber"])
        for row in rows
    ] == [
        (10, "L1", 0),
        (5, "L2", 1),
    ]
    assert rows[0]["BatchNumbers"][0]["ExpiryDate"][:10] == "2027-01-01"


def test_a_document_never_mixes_what_b1_or_finance_keeps_apart() -> None:
    one = resolve(batch())
    for other in (
        resolve(batch("-5")),
        resolve(batch(posting_date=date(2026, 3, 3))),
        resolve(batch(), warehouses={"LON1": {"gl_account": {"found": "4000"}}}),
        replace(one, branch=7),
    ):
        with pytest.raises(ValueError, match="mixes"):
            stock.merge([one, other])


def test_the_branch_is_the_warehouse_s() -> None:
    master = replace(MASTER, warehouses={"LON1": Warehouse("LON1", branch=2), "RET1": Warehouse("RET1", branch=3)})
    assert stock.resolve(batch(), company_map(), master).branch == 2
    assert stock.build(document(resolve(batch())), company_map(), master).body["BPL_IDAssignedToInvoice"] == 2
    moved = document(resolve(batch("-5", reason="transfer", to_location="RETURNS")))
    assert stock.build(moved, company_map(), master).body["BPLID"] == 2


def test_what_is_looked_up() -> None:
    moved = batch("-1", "TSHIRT-RED", "transfer", to_location="RETURNS")
    codes = stock.codes_needed(moved, company_map())
    assert (codes.items, codes.warehouses) == ({"TS001-R"}, {"LON1", "RET1"})
    assert stock.codes_needed(document(resolve(moved)), company_map()).warehouses == {"LON1", "RET1"}
    assert stock.codes_needed(batch(location="MOON"), company_map(items_only_mapped=True)).items == set()


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("AB"), st.sampled_from(("found", "count", "receipt")), st.decimals("0.000001", 99, places=6)
        ),
        min_size=1,
        max_size=20,
    )
)
def test_merging_loses_no_unit_and_makes_one_line_per_item_warehouse_and_reason(
    moves: list[tuple[str, str, Decimal]],
) -> None:
    resolved = [resolve(batch(str(net), sku, reason=name)) for sku, name, net in moves]
    sealed = document(*resolved)
    assert len(sealed.lines) == len({(sku, name) for sku, name, _ in moves})
    for sku, name in {(sku, name) for sku, name, _ in moves}:
        posted = sum(line.quantity for line in sealed.lines if (line.item_code, line.reason) == (sku, name))
        assert posted == sum(net for s, n, net in moves if (s, n) == (sku, name))


def test_serial_numbers_of_all_batches_of_a_line_are_on_it() -> None:
    units = [resolve(batch("1", "SER", serials=(number,))) for number in ("S1", "S2", "S3")]
    (line,) = document(*units).lines
    assert (line.quantity, line.serials) == (3, ("S1", "S2", "S3"))
