"""What B1 says about its own state: what ends by itself waits, what B1 broke on is tried again, B1's words are kept."""

from datetime import timedelta

import pytest

from lab.simulators.sap_b1.faults import FaultKind
from tests.flows.world import NOW, World, dispatch, order, order_line, stock

TAKEN = "This entry already exists in the following tables (ODBC -2035)"


# ---- machinery


async def test_a_machinery_that_fails_as_if_it_refused_costs_no_order(world: World) -> None:
    await world.says("shop", order("0"))
    world.faults.rate(FaultKind.MACHINERY, 1.0)
    world.writes("shop", *[order(str(n)) for n in range(1, 11)])
    await world.passes(600)
    assert not [letter for letter in await world.letters() if letter.state.state == "dead"]
    world.faults.update({"clear": True})
    await world.passes(600)
    await world.settled()
    assert await world.ends("order_placed") == {"posted": 11}
    assert len(world.documents("Orders")) == 11
    assert {letter.state.state for letter in await world.letters()} <= {"posted"}


# ---- states that end by themselves


async def test_an_item_that_a_stock_count_holds_waits_for_its_end(world: World) -> None:
    world.b1.load({"frozen": [{"item": "A", "warehouse": "LON1"}]})
    await world.says("warehouse", stock("e1", "A", "-1", reason="damaged"), stock("e2", "B", "-1", reason="damaged"))
    letter = await world.letter("item_frozen")
    assert (letter.state.sku, letter.state.waits_for, letter.state.owner) == ("A", "item:A", "operations")
    assert "131 - Item A is frozen in warehouse LON1" in letter.state.error
    assert world.on_hand("B") == 99
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    dispatched = next(one for one in await world.letters() if one.state.event_type == "dispatch_confirmed")
    assert (dispatched.state.reason, dispatched.state.waits_for) == ("item_frozen", "item:A")
    world.b1.load({"frozen": []})
    await world.passes(600)
    await world.settled()
    assert world.on_hand("A") == 97
    assert {letter.state.state for letter in await world.letters()} <= {"posted"}
    assert await world.ends("dispatch_confirmed") == {"posted": 1}
    assert await world.ends("stock_adjusted") == {"posted": 2}


async def test_a_posting_date_outside_the_range_waits_for_the_period(world: World) -> None:
    today = NOW.date()
    before = {"start": str(today - timedelta(days=60)), "end": str(today - timedelta(days=30))}
    world.b1.load({"periods": [before]})
    await world.says("shop", order("1"))
    letter = await world.letter("period_closed")
    assert (letter.state.owner, letter.state.waits_for) == ("finance", "period")
    assert "deviates from" in letter.state.error
    world.b1.load({"periods": [before, {"start": str(today), "end": str(today)}]})
    await world.passes(600)
    await world.settled()
    assert await world.ends("order_placed") == {"posted": 1}


async def test_an_order_without_an_exchange_rate_waits_for_the_rate(world: World) -> None:
    await world.says("shop", order("1", currency="EUR"))
    letter = await world.letter("rate_missing")
    assert (letter.state.owner, letter.state.waits_for) == ("finance", "rate")
    assert "Update the exchange rate, 'EUR'" in letter.state.error
    world.b1.load({"rates": {"EUR": "0.85"}})
    await world.passes(600)
    await world.settled()
    assert await world.ends("order_placed") == {"posted": 1}
    assert {letter.state.state for letter in await world.letters()} <= {"posted"}


# ---- what is refused by name before B1 is asked


async def test_a_kit_is_refused_by_name_and_never_reaches_b1(world: World) -> None:
    world.b1.load({"Items": [{"ItemCode": "KIT", "InventoryItem": "tNO", "TreeType": "iSalesTree"}]})
    await world.says("shop", order("1", order_line("1", "KIT", tax_amount="4.00")))
    letter = await world.letter("erp_refused")
    assert "item 'KIT' is a kit" in letter.state.error
    assert not world.documents("Orders")


async def test_a_note_of_emoji_and_a_name_of_emoji_fit_b1s_columns(world: World) -> None:
    smile = "\U0001f600"
    address = {"name": smile * 60, "street": smile * 120, "city": "Bath", "postcode": "BA1", "country": "GB"}
    await world.says("shop", order("1", note=smile * 254, ship_to=address, order_number=smile * 50))
    (placed,) = world.documents("Orders")
    assert placed["Comments"] == smile * 127
    assert placed["NumAtCard"] == smile * 50
    await world.says("shop", order("2", order_number=smile * 51))
    assert "UTF-16" in (await world.letter("invalid_event")).state.error


async def test_a_warehouse_with_bins_needs_a_choice_of_b1s_own(world: World) -> None:
    world.b1.load({"Warehouses": [{"WarehouseCode": "LON1", "EnableBinLocations": "tYES"}]})
    await world.says("warehouse", stock("e1", "A", "1"))
    letter = await world.letter("erp_refused")
    assert '1470000341 - Fully allocate item "A" to bin locations in warehouse "LON1"' in letter.state.error
    world.b1.load({"Warehouses": [{"WarehouseCode": "LON1", "DefaultBin": 3}]})
    await world.says("warehouse", stock("e2", "A", "1"))
    assert world.on_hand("A") == 101


# ---- what is no lock, and whose words they are


@pytest.mark.parametrize("text", ["Order is locked by credit control", "item already exists", "posting period locked"])
async def test_the_words_of_the_notification_procedure_are_a_refusal_at_once(world: World, text: str) -> None:
    world.b1.load({"rules": {"notification": [{"entity": "Orders", "number": 12001, "text": text}]}})
    started = world.clock.monotonic()
    await world.says("shop", order("1"))
    assert world.clock.monotonic() - started < 10
    letter = await world.letter("erp_refused")
    assert f"(12001) {text}" in letter.state.error


async def test_a_key_that_is_taken_without_a_claim_of_ours_is_a_refusal_in_b1s_words(world: World) -> None:
    world.faults.script("error", method="POST", path="Orders", times=10**6, status=400, code=-2035, text=TAKEN)
    await world.says("shop", order("1"))
    letter = await world.letter("erp_refused")
    assert TAKEN in letter.state.error
    assert not world.claims()


async def test_a_serial_number_that_b1_has_already_is_a_refusal_in_b1s_words(world: World) -> None:
    await world.says("warehouse", stock("e1", "SER", "1", serials=["S1"], reason="receipt"), stock("e2", "B", "1"))
    letter = await world.letter("erp_refused")
    assert letter.state.sku == "SER"
    assert "Serial number 'S1' already exists" in letter.state.error
    assert await world.ends("stock_adjusted") == {"posted": 1, "dead": 1}


async def test_a_lock_keeps_b1s_words_beside_ours(world: World) -> None:
    world.b1.lock("A", "people:ada")
    await world.says("warehouse", stock("e1", "A", "1"))
    letter = await world.letter("item_locked")
    assert "item 'A' is held by somebody in B1" in letter.state.error
    assert "Another user or another operation modified data" in letter.state.error
    await world.says("shop", order("1", order_line("1", "A", tax_amount="4.00")))
    placed = next(one for one in await world.letters() if one.state.event_type == "order_placed")
    assert "(ODBC -2039)" in placed.state.error
    world.b1.unlock("A", "people:ada")
    await world.passes(600)
    await world.settled()
    assert {letter.state.state for letter in await world.letters()} <= {"posted"}


async def test_a_refusal_names_the_item_that_b1_named(world: World) -> None:
    text = "10000515 - Item 5012345678900 not found in Warehouse 1824"
    world.faults.script("error", method="POST", path="DeliveryNotes", times=4, status=400, code=-5002, text=text)
    await world.says("shop", order("1"))
    await world.says("warehouse", dispatch("D1", "1"))
    assert text in (await world.letter("erp_refused")).state.error


async def test_an_approval_keeps_b1s_words_beside_ours(world: World) -> None:
    world.needs_approval("Orders", "InventoryGenEntries")
    await world.says("shop", order("1"))
    await world.says("warehouse", stock("e1", "A", "1"))
    letters = await world.letters()
    assert {letter.state.reason for letter in letters} == {"approval_required"}
    for letter in letters:
        assert "approve or reject the draft. B1 refused" in letter.state.error
        assert "No matching records found (ODBC -2028)" in letter.state.error
