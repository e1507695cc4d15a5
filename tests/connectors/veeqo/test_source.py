"""What the source says of an account, whatever happens meanwhile."""

import itertools
import json
import random
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import FatalError, RetriableError
from lab.simulators.veeqo.faults import VeeqoFault
from lab.simulators.veeqo.state import Line
from schemas.events import DispatchConfirmed, identity

MAIN, NORTH = 11, 12
KEY = "canary-5ecret"


def kinds(events: list[Any]) -> list[tuple[str, ...]]:
    return [(type(event).__name__, *identity(event)) for event in events]


def placed(*order_ids: int) -> set[tuple[str, ...]]:
    return {("OrderPlaced", str(order_id)) for order_id in order_ids}


# ---- orders


async def test_an_order_is_placed_once_however_often_its_status_jumps(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"))
    source = stand.source()
    assert kinds(await stand.look(source)) == [("OrderPlaced", str(order))]
    for status in ("awaiting_stock", "awaiting_fulfillment", "awaiting_stock"):
        stand.clock.pass_s(30)
        stand.account.touch(order, status=status)
        assert await stand.later(source) == []


async def test_an_unpaid_order_is_placed_when_it_is_paid(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"), status="awaiting_payment")
    source = stand.source()
    assert await stand.look(source) == []
    stand.clock.pass_s(60)
    stand.account.touch(order, status="awaiting_fulfillment")
    assert kinds(await stand.later(source)) == [("OrderPlaced", str(order))]


async def test_an_order_that_is_cancelled_before_it_was_placed_is_none(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"), status="awaiting_payment")
    source = stand.source()
    await stand.look(source)
    stand.clock.pass_s(60)
    stand.account.cancel(order)
    assert await stand.later(source) == []


async def test_a_cancelled_order_that_was_never_seen_is_placed_and_cancelled_since_b1_may_have_it(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"))
    stand.account.cancel(order, "changed mind")
    told = await stand.look(stand.source())
    assert kinds(told) == [("OrderPlaced", str(order)), ("OrderCancelled", f"{order}-cancelled")]
    assert (told[1].reason, told[1].occurred_at) == ("changed mind", stand.clock.now())


async def test_a_cancellation_is_said_once(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"))
    source = stand.source()
    await stand.look(source)
    stand.clock.pass_s(60)
    stand.account.cancel(order)
    assert kinds(await stand.later(source)) == [("OrderCancelled", f"{order}-cancelled")]
    stand.account.touch(order, tags=["x"])
    assert await stand.later(source) == []


async def test_a_change_of_what_is_sold_is_said_once_and_one_of_the_address_never(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"))
    source = stand.source()
    await stand.look(source)
    row = stand.account.orders[order]
    stand.clock.pass_s(10)
    stand.account.touch(order, deliver_to={**row["deliver_to"], "city": "York"})
    assert await stand.later(source) == []
    stand.account.touch(order, line_items=[{**row["line_items"][0], "quantity": 3}])
    assert kinds(await stand.later(source)) == [("OrderPlaced", str(order))]
    assert await stand.later(source) == []


async def test_an_order_of_another_connectors_channel_is_left_to_it_and_its_shipment_names_its_number(stand):
    stand.account.add_channel(32, "shopify")
    order = stand.account.place_order(Line("TEA", 2, "20"), channel_id=32, number="#1001")
    written = stand.account.place_order(Line("TEA", 1, "20"), channel_id=31)
    stand.account.dispatch(order, MAIN, {"TEA": 2})
    (dispatch,) = await stand.look(stand.source(relayed_channels=["shopify", 31]))
    assert (dispatch.order_id, dispatch.lines[0].line_id) == ("#1001", None)
    assert str(written) not in {event.order_id for event in stand.said}


async def test_what_is_not_to_be_read_is_not_asked_for(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"))
    stand.account.dispatch(order, MAIN, {"TEA": 2})
    assert kinds(await stand.look(stand.source(reads=["orders"]))) == [("OrderPlaced", str(order))]
    assert {path for _, path, _ in stand.server.served} == {"/orders"}


# ---- shipments


async def test_every_allocation_that_has_left_is_a_dispatch_of_its_own(stand):
    order = stand.account.place_order(Line("TEA", 3, "20"), Line("CUP", 1, "5"))
    source = stand.source()
    await stand.look(source)
    lines = {line["sellable"]["sku_code"]: str(line["id"]) for line in stand.account.orders[order]["line_items"]}
    stand.clock.pass_s(60)
    first = stand.account.dispatch(order, MAIN, {"TEA": 1}, tracking="T1")
    stand.account.allocate(order, NORTH, {"TEA": 1})
    (one,) = await stand.later(source)
    assert isinstance(one, DispatchConfirmed)
    assert (one.shipment_id, one.order_id, one.location) == (str(first), str(order), "11")
    assert (one.carrier, one.tracking_numbers) == ("DPD", ("T1",))
    assert [(line.line_id, line.sku, line.quantity) for line in one.lines] == [(lines["TEA"], "TEA", 1)]
    second = stand.account.dispatch(order, NORTH, {"TEA": 1, "CUP": 1}, tracking=None, carrier=1)
    (two,) = await stand.later(source)
    assert (two.shipment_id, two.location, two.tracking_numbers) == (str(second), "12", ())
    assert [(line.sku, line.quantity) for line in two.lines] == [("TEA", 1), ("CUP", 1)]


async def test_a_sku_on_two_lines_is_left_to_be_filled_in_line_order(stand):
    order = stand.account.place_order(Line("TEA", 1, "20"), Line("TEA", 2, "18"))
    stand.account.dispatch(order, MAIN, {"TEA": 3})
    dispatch = (await stand.look(stand.source()))[-1]
    assert [(line.line_id, line.quantity) for line in dispatch.lines] == [(None, 3)]


async def test_a_shipment_that_does_not_move_updated_at_is_found_by_the_recheck(stand):
    order = stand.account.place_order(Line("TEA", 1, "20"))
    source = stand.source(recheck_interval_s=14_400)
    await stand.look(source)
    newer = stand.account.place_order(Line("CUP", 1, "5"))
    await stand.later(source, 3 * 3600)
    stand.account.touch(newer)
    await stand.later(source, 10)
    stand.account.touches_on_ship = False
    allocation = stand.account.allocate(order, MAIN, {"TEA": 1})
    stand.account.orders[order]["updated_at"] = stand.account.orders[order]["created_at"]
    shipment = stand.account.ship(order, allocation)
    assert await stand.later(source, 60) == []
    assert kinds(await stand.later(source, 3700)) == [("DispatchConfirmed", str(shipment))]


async def test_a_shipment_that_is_taken_back_is_a_letter_that_says_what_to_do(stand):
    order = stand.account.place_order(Line("TEA", 1, "20"))
    shipment = stand.account.dispatch(order, MAIN, {"TEA": 1})
    source = stand.source()
    await stand.look(source)
    stand.clock.pass_s(60)
    stand.account.unship(shipment)
    await stand.later(source)
    await stand.later(source)
    (letter,) = stand.refused
    assert (letter.event_type, letter.event_id, letter.order_id) == ("dispatch_confirmed", str(shipment), str(order))
    assert "credit its invoice" in letter.error


async def test_something_that_has_left_of_an_order_on_hold_places_it(stand):
    order = stand.account.place_order(Line("TEA", 2, "20"), status="on_hold")
    shipment = stand.account.dispatch(order, MAIN, {"TEA": 1})
    told = await stand.look(stand.source())
    assert kinds(told) == [("OrderPlaced", str(order)), ("DispatchConfirmed", str(shipment))]


# ---- what cannot be taken


async def test_a_bad_order_and_a_bad_shipment_are_letters_without_secrets_once_and_the_rest_goes_on(stand):
    bad = stand.account.place_order(Line("TEA", 1, "20"), customer_note={"text": "canary-note"}, line_items=[])
    good = stand.account.place_order(Line("TEA", 1, "20"))
    shipment = stand.account.dispatch(good, MAIN, {"TEA": 1})
    stand.account.orders[good]["allocations"][0]["shipment"]["created_at"] = "yesterday"
    source = stand.source()
    assert kinds(await stand.look(source)) == [("OrderPlaced", str(good))]
    stand.clock.pass_s(20)
    stand.account.touch(bad)
    stand.account.touch(good)
    await stand.later(source)
    dispatch, order = stand.refused
    assert (order.event_type, order.order_id, order.origin) == ("order_placed", str(bad), f"orders/{bad}")
    assert (dispatch.event_type, dispatch.order_id) == ("dispatch_confirmed", str(good))
    assert json.loads(order.value)["id"] == str(bad)
    assert b"canary-market" not in order.value + dispatch.value
    assert "canary" not in order.error + dispatch.error
    stand.account.orders[good]["allocations"][0]["shipment"]["created_at"] = stand.account.now()
    stand.account.touch(good)
    assert kinds(await stand.later(source)) == [("DispatchConfirmed", str(shipment))]


async def test_an_order_without_id_and_things_that_are_no_orders_are_letters(stand):
    stand.account.orders[1] = {"created_at": stand.account.now(), "updated_at": stand.account.now(), "id": None}
    stand.account.orders[1]["secret"] = "canary"
    assert await stand.look(stand.source()) == []
    assert [letter.event_type for letter in stand.refused] == ["order_placed"]
    assert b"canary" not in stand.refused[0].value


async def test_drift_of_shapes_is_understood(make_stand):
    stand = make_stand(numbers_as_texts=True, lists_of_one=True)
    order = stand.account.place_order(Line("TEA", 2, "19.99"))
    stand.account.dispatch(order, MAIN, {"TEA": 2}, tracking="T9")
    order_placed, dispatch = await stand.look(stand.source())
    assert order_placed.lines[0].unit_price == Decimal("19.99")
    assert order_placed.ship_to.city == "Leeds"
    assert dispatch.tracking_numbers == ("T9",)


# ---- paging


@pytest.mark.parametrize("tells_totals", [True, False])
@pytest.mark.parametrize("cut", [100, 3])
async def test_every_order_is_found_page_by_page_also_where_pages_are_cut_shorter(make_stand, tells_totals, cut):
    stand = make_stand(tells_totals=tells_totals, max_page_size=cut)
    orders = []
    for _ in range(23):
        stand.clock.pass_s(1)
        orders.append(stand.account.place_order(Line("TEA", 1, "20")))
    assert set(kinds(await stand.look(stand.source(page_size=5)))) == placed(*orders)


async def test_nothing_is_passed_over_while_rows_come_change_and_go_under_the_reader(make_stand):
    for seed in range(15):
        stand, dice = make_stand(), random.Random(seed)
        for _ in range(40):
            stand.clock.pass_s(dice.randint(1, 90_000))
            stand.account.place_order(Line("TEA", 1, "20"))

        def stir(path, page, stand=stand, dice=dice):
            if path != "/orders" or len(stand.account.orders) > 60:
                return
            stand.clock.pass_s(dice.random() * 3)
            match dice.randint(0, 3):
                case 0:
                    stand.account.place_order(Line("CUP", 1, "5"))
                case 1:
                    stand.account.touch(dice.choice(list(stand.account.orders)), tags=["seen"])
                case 2:
                    stand.account.delete_order(dice.choice(list(stand.account.orders)))

        stand.server.after_page = stir
        source = stand.source(page_size=4, overlap_s=0, memory_days=1)
        batch = await source.read(stand.cursor)
        stand.take(batch)
        while not batch.idle:
            batch = await source.read(stand.cursor)
            stand.take(batch)
            if len(stand.said) > 120:
                break
        stand.server.after_page = lambda _path, _page: None
        await stand.later(source)
        assert set(kinds(stand.said)) >= placed(*stand.account.orders), seed
        assert len({identity(event) for event in stand.said}) == len(stand.said), seed


async def test_behind_the_deepest_page_it_goes_on_with_what_is_older(make_stand):
    stand = make_stand(page_cap=3)
    orders = []
    for _ in range(30):
        stand.clock.pass_s(1.5)
        orders.append(stand.account.place_order(Line("TEA", 1, "20")))
    assert kinds(await stand.look(stand.source(page_size=4, page_cap=3)))[0][1] == str(orders[-1])
    assert set(kinds(stand.said)) == placed(*orders)
    assert len(stand.said) == 30


async def test_where_older_orders_cannot_be_reached_a_person_is_told(make_stand):
    stand = make_stand(page_cap=3, before_filter=False)
    for _ in range(30):
        stand.clock.pass_s(1.5)
        stand.account.place_order(Line("TEA", 1, "20"))
    with pytest.raises(FatalError, match="page_cap"):
        await stand.look(stand.source(page_size=4, page_cap=3))


async def test_the_next_look_begins_where_the_last_one_ended_less_the_overlap(stand):
    stand.account.place_order(Line("TEA", 1, "20"))
    source = stand.source(overlap_s=60, start_at="2026-11-20T00:00:00Z")
    await stand.look(source)
    await stand.later(source, 10)
    asked = [query.get("updated_at_min") for _, path, query in stand.server.served if path == "/orders"]
    assert asked[0] == "2026-11-13 00:00:00"
    assert asked[-1] == "2026-11-21 08:59:00"


async def test_a_walk_of_hours_does_not_move_the_next_one_past_its_own_beginning(stand):
    """The order changes on a page that was read already, hours before the last page brings a newer change."""
    early = stand.account.place_order(Line("TEA", 1, "20"))
    orders = [early]
    for _ in range(9):
        stand.clock.pass_s(10)
        orders.append(stand.account.place_order(Line("TEA", 1, "20")))

    def happen(path, page):
        if (path, page) == ("/orders", 1):
            stand.clock.pass_s(4 * 3600)
            stand.account.cancel(orders[-1])
            stand.clock.pass_s(4 * 3600)
            stand.account.touch(early, tags=["late"])
            stand.server.after_page = lambda _path, _page: None

    stand.server.after_page = happen
    await stand.look(stand.source(page_size=4, overlap_s=60))
    assert ("OrderCancelled", f"{orders[-1]}-cancelled") in kinds(stand.said)


async def test_finished_orders_are_forgotten_and_open_ones_are_not(stand):
    source = stand.source(memory_days=1, overlap_s=3600)
    open_order = stand.account.place_order(Line("TEA", 1, "20"))
    done = stand.account.place_order(Line("TEA", 1, "20"))
    stand.account.dispatch(done, MAIN, {"TEA": 1})
    await stand.look(source)
    for _ in range(5):
        stand.account.place_order(Line("POT", 1, "20"))
        await stand.later(source, 86_400)
    stand.deltas.clear()
    stand.account.touch(open_order)
    stand.account.touch(done)
    again = kinds(await stand.later(source))
    assert again[0] == ("OrderPlaced", str(done))
    assert len(again) == 2  # repeats, harmless
    await stand.later(source)
    assert stand.deltas == []  # and its units are not taken off the shelf twice


# ---- stock


async def test_the_first_count_is_the_baseline_and_then_each_change_is_a_delta(stand):
    source = stand.source(stock_reason="count")
    await stand.look(source)
    assert stand.deltas == []
    stand.account.set_stock("TEA", MAIN, 93)
    stand.account.set_stock("CUP", NORTH, "50.5")
    await stand.later(source)
    assert [(each.sku, each.location, each.delta, each.reason) for each in stand.deltas] == [
        ("CUP", "12", Decimal("0.5"), "count"),
        ("TEA", "11", Decimal(-7), "count"),
    ]
    await stand.later(source)
    assert len(stand.deltas) == 2


async def test_what_shipments_took_is_left_to_their_deliveries(stand):
    order = stand.account.place_order(Line("TEA", 10, "20"))
    source = stand.source()
    await stand.look(source)
    stand.clock.pass_s(20)
    stand.account.dispatch(order, MAIN, {"TEA": 4})
    stand.account.set_stock("TEA", MAIN, 99)  # counted: 3 found
    await stand.later(source)
    assert stand.delta_of("TEA") == 3
    stand.account.dispatch(order, MAIN, {"TEA": 6})
    await stand.later(source)
    assert stand.delta_of("TEA") == 3


async def test_without_dispatches_shipped_units_are_in_the_deltas(stand):
    order = stand.account.place_order(Line("TEA", 10, "20"))
    source = stand.source(reads=["orders", "stock"])
    await stand.look(source)
    stand.account.dispatch(order, MAIN, {"TEA": 4})
    await stand.later(source)
    assert stand.delta_of("TEA") == -4


async def test_a_shipment_between_the_count_and_the_walk_does_not_make_a_delta(stand):
    order = stand.account.place_order(Line("TEA", 50, "20"))
    source = stand.source()
    await stand.look(source)
    for gap_s in (0.0, 0.5, 1.0, 1.9, 2.5, 5.0):

        def ship(path, _page, gap_s=gap_s):
            if path == "/products":
                stand.clock.pass_s(gap_s)
                stand.account.dispatch(order, MAIN, {"TEA": 1})
                stand.server.after_page = lambda _path, _page: None

        stand.account.set_stock("TEA", MAIN, int(stand.account.physical("TEA", MAIN)) + 1)
        stand.server.after_page = ship
        await stand.later(source)
    await stand.later(source)
    assert stand.delta_of("TEA") == 6
    assert all(each.delta > 0 for each in stand.deltas)


async def test_a_shipment_in_the_second_of_the_count_is_counted_at_the_next_sweep(stand):
    """Veeqo's clock tells whole seconds: nobody knows which of the two came first."""
    order = stand.account.place_order(Line("TEA", 50, "20"))
    source = stand.source()
    await stand.look(source)
    stand.clock.pass_s(300.5)
    stand.account.dispatch(order, MAIN, {"TEA": 1})
    stand.account.set_stock("TEA", MAIN, 101)
    await stand.later(source, 0.6)
    assert stand.deltas == []
    await stand.later(source)
    assert [each.delta for each in stand.deltas] == [2]


async def test_b1_follows_the_shelf_whatever_happens_in_between(make_stand):
    """Deliveries and deltas together are what the shelf has done since the baseline, to the unit."""
    for seed in range(12):
        stand, dice = make_stand(), random.Random(seed)
        source = stand.source(page_size=2, overlap_s=600)
        await stand.look(source)
        base = {(sku, wh): stand.account.physical(sku, wh) for sku in ("TEA", "CUP", "POT") for wh in (MAIN, NORTH)}

        def stir(_path=None, _page=None, stand=stand, dice=dice):
            sku, warehouse = dice.choice(("TEA", "CUP", "POT")), dice.choice((MAIN, NORTH))
            stand.clock.pass_s(dice.choice((0, 0.3, 1, 4)))
            match dice.randint(0, 3):
                case 0:
                    order = stand.account.place_order(Line(sku, 3, "20"))
                    stand.account.dispatch(order, warehouse, {sku: dice.randint(1, 3)})
                case 1:
                    stand.account.set_stock(sku, warehouse, dice.randint(0, 200))

        stand.server.after_page = stir
        for _ in range(6):
            for _ in range(3):
                stir()
            stand.clock.pass_s(dice.choice((20, 301)))
            for _ in range(dice.randint(1, 6)):
                cursor = stand.cursor
                batch = await source.read(cursor)
                if dice.random() < 0.2:  # a crash after the levels were written down
                    kept = stand.cursor
                    stand.take(batch)
                    stand.said = [event for event in stand.said if event not in batch.events]
                    stand.cursor = kept
                    source = stand.source(page_size=2, overlap_s=600)
                else:
                    stand.take(batch)
        stand.server.after_page = lambda _path, _page: None
        for _ in range(3):
            await stand.later(source)
        dispatched: dict[Any, Decimal] = {}
        for event in {identity(event): event for event in stand.said if isinstance(event, DispatchConfirmed)}.values():
            for line in event.lines:
                key = (line.sku, int(event.location))
                dispatched[key] = dispatched.get(key, Decimal(0)) + line.quantity
        unique = {identity(each): each for each in stand.deltas}
        for (sku, wh), before in base.items():
            moved = sum(each.delta for each in unique.values() if (each.sku, each.location) == (sku, str(wh)))
            assert before + moved - dispatched.get((sku, wh), 0) == stand.account.physical(sku, wh), (seed, sku, wh)


async def test_stock_that_is_not_ours_or_never_runs_out_is_not_counted(stand):
    stand.account.entry("CUP", MAIN)["infinite"] = True
    source = stand.source(ignored_warehouses=[NORTH])
    await stand.look(source)
    for sku, warehouse in itertools.product(("TEA", "CUP"), (MAIN, NORTH)):
        stand.account.set_stock(sku, warehouse, 1)
    await stand.later(source)
    assert [(each.sku, each.location) for each in stand.deltas] == [("TEA", "11")]


async def test_two_sellables_of_one_sku_are_a_letter_and_only_one_is_counted(stand):
    source = stand.source()
    await stand.look(source)
    stand.account.add_product("TEA", {MAIN: 7, NORTH: 0})
    await stand.later(source)
    await stand.later(source)
    assert {(letter.event_type, letter.sku) for letter in stand.refused} == {("stock_adjusted", "TEA")}
    assert len(stand.refused) == 2  # one per warehouse
    assert stand.deltas == []


async def test_a_product_that_is_made_anew_goes_on_with_the_count_of_the_old_one(stand):
    source = stand.source()
    await stand.look(source)
    stand.account.products = [each for each in stand.account.products if each["title"] != "Tea"]
    await stand.later(source)
    stand.account.add_product("TEA", {MAIN: 90, NORTH: 50})
    await stand.later(source)
    assert stand.refused == []
    assert stand.delta_of("TEA") == -10


async def test_stock_is_swept_at_its_own_interval(stand):
    source = stand.source(stock_interval_s=300)
    await stand.look(source)
    for _ in range(4):
        await stand.later(source, 60)
    assert [path for _, path, _ in stand.server.served].count("/products") == 1
    await stand.later(source, 60)
    assert [path for _, path, _ in stand.server.served].count("/products") == 2


async def test_bad_counts_are_letters_once_and_the_rest_goes_on(stand):
    stand.account.entry("CUP", MAIN)["physical_stock_level"] = None
    stand.account._sellable("POT")["sku_code"] = ""
    source = stand.source()
    await stand.look(source)
    stand.account.set_stock("TEA", MAIN, 101)
    await stand.later(source)
    assert [letter.event_type for letter in stand.refused] == ["stock_adjusted", "stock_adjusted"]
    assert stand.delta_of("TEA") == 1


# ---- the wire


@pytest.mark.parametrize("kind", ["throttle", "html_500", "html_503", "drop", "cut", "not_a_list"])
@pytest.mark.parametrize("path", ["/orders", "/products"])
async def test_what_goes_wrong_on_the_way_is_tried_again_and_nothing_is_lost(stand, kind, path):
    orders = []
    for _ in range(9):
        stand.clock.pass_s(1)
        orders.append(stand.account.place_order(Line("TEA", 1, "20")))
    stand.server.faults = [VeeqoFault(kind, path, skip=1)]
    source, failures = stand.source(page_size=2), 0
    while True:
        try:
            batch = await source.read(stand.cursor)
        except RetriableError as error:
            failures += 1
            assert KEY not in str(error)
            assert error.retry_after_s == (1.0 if kind == "throttle" else error.retry_after_s)
            continue
        stand.take(batch)
        if batch.idle:
            break
    assert failures == 1
    assert set(kinds(stand.said)) == placed(*orders)
    assert len(stand.said) == 9


async def test_a_refused_key_stops_the_process_and_is_not_shown(stand):
    stand.server.keys = frozenset({"another"})
    with pytest.raises(FatalError) as caught:
        await stand.look(stand.source())
    assert "api_key" in str(caught.value)
    assert KEY not in repr(caught.value)


async def test_a_cursor_of_something_else_stops_the_process(stand):
    for cursor in ("x", "{}", '{"v": 2}', '{"v":1,"packed":"!"}', "[]"):
        with pytest.raises(FatalError, match="cursor"):
            await stand.source().read(cursor)


async def test_the_cursor_stays_small_and_still_while_nothing_happens(stand):
    for _ in range(50):
        stand.account.place_order(Line("TEA", 1, "20"))
    source = stand.source()
    await stand.look(source)
    cursor = stand.cursor
    assert len(cursor) < 6000
    await stand.later(source, 60)
    assert stand.cursor == cursor
