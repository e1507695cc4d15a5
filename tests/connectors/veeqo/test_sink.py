"""What Veeqo is told: nothing twice, nothing that is so already, and nothing that would come back."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.errors import CredentialsRefusedError, FatalError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.veeqo import catalogue
from connectors.veeqo.sink import VeeqoSink
from lab.simulators.veeqo.faults import VeeqoFault
from lab.simulators.veeqo.state import Line
from schemas.events import DispatchConfirmed, OrderPlaced
from tests.connectors.veeqo.conftest import KEY, MAIN, NORTH, QuotingWire, Stand, settings

AT = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
OUR_CHANNEL = 77
OUT: dict[str, Any] = {
    "stock": True,
    "warehouse": MAIN,
    "items": True,
    "prices": 1,
    "orders": True,
    "channel": OUR_CHANNEL,
    "customer_id": 91,
    "tracking": True,
    "ships_from": [MAIN],
}
SHIP_TO = {"name": "Zoë van Ødum", "street": "4 Lime Row", "city": "Leeds", "postcode": "LS1 4XX", "country": "GB"}
ORDER = {
    "order_id": "1001",
    "order_number": "#1001",
    "doc_entry": 12,
    "company": "acme",
    "ship_to": SHIP_TO,
    "carrier": "dpd",
    "service": "next-day",
    "lines": [
        {"line_id": "1", "sku": "TEA", "item_code": "TEA", "quantity": "2", "location": str(NORTH)},
        {"line_id": "2", "sku": "CUP", "item_code": "CUP", "quantity": "1", "location": str(NORTH)},
    ],
}
ITEM = {
    "sku": "JAR",
    "item_code": "JAR",
    "name": "Jam jar",
    "barcode": "50001",
    "active": True,
    "prices": {"1": "9.90"},
}


def effect(type_: Any, content: dict[str, Any], k: str = "", **changes: Any) -> ChannelEffect:
    return ChannelEffect(k=k or f"{type_}-AAA", type=type_, content=content, as_of=AT, **changes)


def order(k: str = "order_released-AAA", **changes: Any) -> ChannelEffect:
    return effect("order_released", {**ORDER, **changes}, k)


def level(sellable: str, sku: str = "TEA", k: str = "", **fields: Any) -> ChannelEffect:
    return effect("stock_level", {"sku": sku, "sellable": sellable, **fields}, k or f"stock_level-{sku}")


def price(amount: str, sku: str = "TEA") -> ChannelEffect:
    return effect("price_changed", {"sku": sku, "list": 1, "price": amount, "currency": "GBP"})


def item(**changes: Any) -> ChannelEffect:
    return effect("item_changed", {**ITEM, **changes})


def withdrawal(ref: str | None = None, reason: str = "cancelled") -> ChannelEffect:
    content = {"order_id": "1001", "doc_entry": 12, "company": "acme", "reason": reason}
    return effect("order_withdrawn", content, before=ORDER, ref=ref)


def delivery(number: int, **changes: Any) -> ChannelEffect:
    content = {
        "order_id": str(number),
        "shipment_id": "B1-7",
        "tracking_numbers": ["155"],
        "carrier": "royal-mail",
        "lines": [{"sku": "TEA", "quantity": "2", "location": str(MAIN)}],
        **changes,
    }
    return effect("delivery_posted", content, order_source="vq")


@pytest.fixture
def stand(make_stand: Any) -> Stand:
    stand: Stand = make_stand()
    stand.account.add_channel(OUR_CHANNEL, "direct")
    return stand


def sink_of(stand: Stand, **out: Any) -> VeeqoSink:
    return VeeqoSink("vq", settings(out={**OUT, **out}), stand.clock, transport=QuotingWire(stand.server))


async def tell(stand: Stand, one: ChannelEffect, **out: Any) -> Delivered:
    sink = sink_of(stand, **out)
    (told,) = await sink.deliver([one])
    await sink.close()
    return told


def writes(stand: Stand) -> list[str]:
    return [f"{method} {path}" for method, path, _ in stand.server.served if method != "GET"]


def lost(kind: Any, path: str, method: str) -> VeeqoFault:
    return VeeqoFault(kind, path, method=method)


def products(stand: Stand, sku: str) -> list[Any]:
    return [each for row in stand.account.products for each in row["sellables"] if each["sku_code"] == sku]


# ---- stock


async def test_a_level_is_set_in_whole_units_and_only_where_it_differs(stand: Stand) -> None:
    assert (await tell(stand, level("12.9"))).outcome == "sent"
    assert stand.account.physical("TEA", MAIN) == 12
    assert (await tell(stand, level("12"))).outcome == "sent"
    assert len(writes(stand)) == 1
    assert stand.account.physical("TEA", NORTH) == 50


async def test_a_level_goes_where_it_belongs_and_one_without_a_limit_gets_it(stand: Stand) -> None:
    out = {"levels_by_location": True, "warehouse": ""}
    sink = VeeqoSink(
        "vq",
        settings(out={**OUT, **out}, ignored_warehouses=[NORTH]),
        stand.clock,
        transport=QuotingWire(stand.server),
    )
    entry = stand.account.entry("TEA", NORTH)
    entry["infinite"] = True
    (told,) = await sink.deliver([level("50", location=str(NORTH))])
    await sink.close()
    assert told.outcome == "sent"
    assert writes(stand) == [f"PUT /sellables/{products(stand, 'TEA')[0]['id']}/warehouses/{NORTH}/stock_entry"]


async def test_a_level_where_veeqo_counts_is_refused_for_it_would_come_back(stand: Stand) -> None:
    told = await tell(stand, level("5", location=str(NORTH)), levels_by_location=True, warehouse="")
    assert told.outcome == "refused"
    assert "would come back as a count" in str(told.error)
    assert writes(stand) == []


@pytest.mark.parametrize("kind", ["drop", "lost", "html_503"])
async def test_a_level_whose_answer_is_lost_is_looked_at_again(stand: Stand, kind: str) -> None:
    stand.server.faults.append(lost(kind, "/sellables", "PUT"))
    assert (await tell(stand, level("12"))).outcome == "unknown"
    assert (await tell(stand, replace(level("12"), doubtful=True))).outcome == "sent"
    assert stand.account.physical("TEA", MAIN) == 12
    assert len(writes(stand)) == (1 if kind == "lost" else 2)


async def test_a_level_that_is_another_when_it_is_read_back_is_not_said_to_be_set(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand.account, "set_stock", lambda *_: None)
    assert (await tell(stand, level("12"))).outcome == "unknown"


async def test_a_sku_that_veeqo_lacks_or_has_twice_stops_only_itself(stand: Stand) -> None:
    stand.account.add_product("CUP", {MAIN: 1})
    sink = sink_of(stand)
    told = await sink.deliver([level("1", "NONE"), level("2", "CUP"), level("3", "TEA")])
    await sink.close()
    assert [each.outcome for each in told] == ["refused", "refused", "sent"]
    assert "has no sellable of SKU NONE" in str(told[0].error)
    assert "have the SKU CUP" in str(told[1].error)


@pytest.mark.parametrize("most", [0, 20])
async def test_many_skus_are_found_by_walking_over_all_products(
    stand: Stand, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(catalogue, "MAX_ASKED", most)
    monkeypatch.setattr(catalogue, "PAGE_SIZE", 2)
    sink = sink_of(stand)
    told = await sink.deliver([level("1", "TEA"), level("2", "CUP"), level("3", "POT")])
    await sink.close()
    assert {each.outcome for each in told} == {"sent"}
    queries = [query for method, path, query in stand.server.served if (method, path) == ("GET", "/products")]
    assert ["query" in each for each in queries] == ([False, False] if most == 0 else [True] * 3)
    assert [int(stand.account.physical(sku, MAIN)) for sku in ("TEA", "CUP", "POT")] == [1, 2, 3]


# ---- products


async def test_a_new_item_is_made_with_what_b1_owns_and_can_be_priced_and_stocked_at_once(stand: Stand) -> None:
    sink = sink_of(stand)
    told = await sink.deliver([item(), price("11.50", "JAR"), level("7", "JAR")])
    await sink.close()
    (jar,) = products(stand, "JAR")
    assert [(each.outcome, each.ref) for each in told] == [("sent", str(jar["id"]))] * 3
    assert (jar["title"], jar["upc_code"], jar["price"]) == ("Jam jar", "50001", Decimal("11.50"))
    assert stand.account.physical("JAR", MAIN) == 7


async def test_only_the_fields_that_b1_owns_are_touched_and_only_where_they_differ(stand: Stand) -> None:
    product = stand.account.products[-1]
    product |= {"description": "ours to keep", "title": "Old"}
    one = item(sku="TEA", name="Tea 250 g")
    assert (await tell(stand, one)).outcome == "sent"
    assert (product["title"], product["description"]) == ("Tea 250 g", "ours to keep")
    assert product["sellables"][0]["upc_code"] == "50001"
    assert len(product["sellables"]) == 1
    assert (await tell(stand, one)).outcome == "sent"
    assert (await tell(stand, item(sku="TEA", name="Other", barcode="9"), owned=[])).outcome == "sent"
    assert len(writes(stand)) == 1


async def test_a_title_that_several_variants_share_is_not_ours(stand: Stand) -> None:
    product = stand.account.products[-1]
    product["sellables"].append({**product["sellables"][0], "id": 5, "sku_code": "TEA-L"})
    assert (await tell(stand, item(sku="TEA", name="Other"))).outcome == "sent"
    assert product["title"] == "Tea"


@pytest.mark.parametrize("kind", ["drop", "lost", "html_500"])
async def test_a_product_whose_answer_is_lost_is_made_once(stand: Stand, kind: str) -> None:
    stand.server.faults.append(lost(kind, "/products", "POST"))
    assert (await tell(stand, item())).outcome == "unknown"
    assert (await tell(stand, replace(item(), doubtful=True))).outcome == "sent"
    assert len(products(stand, "JAR")) == 1


async def test_what_veeqo_lacks_is_made_only_where_that_is_wanted(stand: Stand) -> None:
    assert "out.creates is false" in str((await tell(stand, item(), creates=False)).error)
    assert (await tell(stand, item(active=False))).outcome == "sent"
    assert products(stand, "JAR") == []


async def test_a_price_is_written_where_it_differs(stand: Stand) -> None:
    assert (await tell(stand, price("9.90"))).outcome == "sent"
    assert products(stand, "TEA")[0]["price"] == Decimal("9.90")
    assert (await tell(stand, price("9.9"))).outcome == "sent"
    assert len(writes(stand)) == 1


# ---- orders


async def test_an_order_of_another_channel_is_made_and_reserved_where_b1_has_it(stand: Stand) -> None:
    products(stand, "TEA")[0]["price"] = Decimal("20.00")
    told = await tell(stand, order(), delivery_methods={"dpd/next-day": 5})
    (made,) = stand.account.orders.values()
    assert told == Delivered(k="order_released-AAA", outcome="sent", ref=str(made["id"]))
    assert (made["number"], made["status"], made["channel"]["id"]) == ("1001", "awaiting_fulfillment", OUR_CHANNEL)
    assert made["payment"] == {"payment_type": "bank_transfer", "reference_number": "order_released-AAA"}
    assert made["delivery_method"]["id"] == 5
    assert [made["deliver_to"][name] for name in ("first_name", "last_name", "address1", "city", "zip", "country")] == [
        *("Zoë van", "Ødum", "4 Lime Row", "Leeds", "LS1 4XX", "GB")
    ]
    sold = [(each["sellable"]["sku_code"], each["quantity"], each["price_per_unit"]) for each in made["line_items"]]
    assert sold == [("TEA", 2, Decimal("20.00")), ("CUP", 1, Decimal(0))]
    assert [each["warehouse"]["id"] for each in made["allocations"]] == [NORTH]
    assert stand.account.entry("TEA", NORTH)["allocated_stock_level"] == 2


async def test_lots_are_noted_for_the_picker(stand: Stand) -> None:
    line = {**ORDER["lines"][0], "batches": [{"number": "L1", "quantity": "2"}]}  # type: ignore[dict-item, index]
    await tell(stand, order(lines=[line]))
    (made,) = stand.account.orders.values()
    assert made["customer_note"] == {"text": "lots of TEA: L1 x 2"}


@pytest.mark.parametrize("kind", ["drop", "lost", "html_503", "html_500"])
@pytest.mark.parametrize("path", ["/orders", "/orders/7"])
async def test_an_order_whose_answer_is_lost_is_made_and_reserved_once(stand: Stand, kind: str, path: str) -> None:
    # The second path is that of its allocation.
    stand.server.faults.append(lost(kind, path, "POST"))
    assert (await tell(stand, order())).outcome == "unknown"
    assert (await tell(stand, replace(order(), doubtful=True))).outcome == "sent"
    (made,) = stand.account.orders.values()
    assert len(made["allocations"]) == 1
    assert stand.account.entry("TEA", NORTH)["allocated_stock_level"] == 2


async def test_an_order_that_is_sent_again_is_found(stand: Stand) -> None:
    first = await tell(stand, order())
    assert await tell(stand, order()) == first
    assert len(stand.account.orders) == 1


async def test_an_order_that_the_shop_has_brought_itself_is_not_made_a_second_time(stand: Stand) -> None:
    stand.account.place_order(Line("TEA", 2, "10.00"), number="1001")
    stand.account.place_order(Line("TEA", 2, "10.00"), number="10011")  # a near hit of the search
    told = await tell(stand, order())
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert "has an order 1001 already" in str(told.error)
    assert len(stand.account.orders) == 2


async def test_veeqos_own_order_does_not_go_back_to_it(stand: Stand) -> None:
    told = await tell(stand, replace(order(), order_source="vq"))
    assert "is Veeqo's own" in str(told.error)
    assert stand.account.orders == {}


async def test_what_veeqo_has_reserved_by_its_own_rules_stays_so(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    place = stand.account.place_order

    def place_and_allocate(*lines: Any, **changes: Any) -> int:
        made = place(*lines, **changes)
        stand.account.allocate(made, MAIN, {"TEA": 2})
        return made

    monkeypatch.setattr(stand.account, "place_order", place_and_allocate)
    await tell(stand, order())
    (made,) = stand.account.orders.values()
    assert [each["warehouse"]["id"] for each in made["allocations"]] == [MAIN]


async def test_two_processes_that_make_the_same_order_at_once_leave_one(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = sink_of(stand), sink_of(stand)
    both_looked = asyncio.Barrier(2)
    for sink in (one, other):
        write, seen = sink._client.write, []

        async def at_once(method: str, path: str, body: Any, write: Any = write, seen: Any = seen) -> Any:
            if (method, path) == ("POST", "/orders") and not seen:
                seen.append(path)
                await both_looked.wait()
            return await write(method, path, body)

        monkeypatch.setattr(sink._client, "write", at_once)
    both = await asyncio.gather(one.deliver([order()]), other.deliver([order()]))
    assert {each.outcome for told in both for each in told} == {"sent"}
    assert len({each.ref for told in both for each in told}) == 1
    assert sorted(each["status"] for each in stand.account.orders.values()) == ["awaiting_fulfillment", "cancelled"]
    assert stand.account.entry("TEA", NORTH)["allocated_stock_level"] == 2
    await one.close()
    await other.close()


@pytest.mark.parametrize(
    ("changes", "reason", "words"),
    [
        ({"lines": [{"sku": "NONE", "quantity": "1"}]}, "channel_refused", "no sellable of SKU NONE"),
        ({"lines": [{"sku": "TEA", "quantity": "1.5"}]}, "format_refused", "lines[0].quantity"),
    ],
)
async def test_an_order_that_cannot_be_made_is_refused(
    stand: Stand, changes: dict[str, Any], reason: str, words: str
) -> None:
    told = await tell(stand, order(**changes))
    assert (told.outcome, told.reason) == ("refused", reason)
    assert words in str(told.error)


async def test_what_veeqo_refuses_is_refused_in_its_words(stand: Stand) -> None:
    told = await tell(stand, order(), channel=5)
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert 'Veeqo answers 400, "Channel must exist"' in str(told.error)


@pytest.mark.parametrize("has_ref", [True, False])
async def test_a_withdrawn_order_is_cancelled_and_its_goods_are_free(stand: Stand, has_ref: bool) -> None:
    ref = (await tell(stand, order())).ref
    for _ in range(2):
        assert (await tell(stand, withdrawal(ref if has_ref else None))).outcome == "sent"
    (made,) = stand.account.orders.values()
    assert (made["status"], made["cancel_reason"]) == ("cancelled", "cancelled")
    assert stand.account.entry("TEA", NORTH)["allocated_stock_level"] == 0
    assert len([each for each in writes(stand) if each.endswith("cancel")]) == 1
    # Released again with other lines, it is another order of the same number.
    assert (await tell(stand, order("order_released-BBB", revision=1))).outcome == "sent"
    assert len(stand.account.orders) == 2


@pytest.mark.parametrize("kind", ["drop", "lost"])
async def test_a_cancellation_whose_answer_is_lost_ends_the_same(stand: Stand, kind: str) -> None:
    ref = (await tell(stand, order())).ref
    stand.server.faults.append(lost(kind, "/orders", "PUT"))
    assert (await tell(stand, withdrawal(ref))).outcome == "unknown"
    assert (await tell(stand, replace(withdrawal(ref), doubtful=True))).outcome == "sent"
    assert [each["status"] for each in stand.account.orders.values()] == ["cancelled"]


async def test_an_order_that_has_left_cannot_be_withdrawn_and_one_that_is_gone_need_not_be(stand: Stand) -> None:
    ref = (await tell(stand, order())).ref
    (made,) = stand.account.orders.values()
    stand.account.ship(made["id"], made["allocations"][0]["id"])
    stand.account.touch(made["id"], status="awaiting_fulfillment")
    assert "has left Veeqo" in str((await tell(stand, withdrawal(ref))).error)
    assert (await tell(stand, withdrawal(ref, "closed"))).outcome == "refused"  # a part of it is still there
    stand.account.touch(made["id"], status="shipped")
    assert (await tell(stand, withdrawal(ref, "closed"))).outcome == "sent"
    stand.account.delete_order(made["id"])
    assert (await tell(stand, withdrawal(ref))).outcome == "sent"


# ---- shipments


async def test_a_delivery_of_veeqos_order_is_a_shipment_there_and_the_shop_is_not_told_twice(stand: Stand) -> None:
    number = stand.account.place_order(Line("TEA", 2, "10.00"))
    told = await tell(stand, delivery(number))
    (allocation,) = stand.account.orders[number]["allocations"]
    shipment = allocation["shipment"]
    assert told == Delivered(k="delivery_posted-AAA", outcome="sent", ref=str(shipment["id"]))
    assert shipment["tracking_number"]["tracking_number"].strip() == "155"
    assert (shipment["carrier_id"], shipment["update_remote_order"], shipment["notify_customer"]) == (1, False, True)
    assert stand.account.shipped() == {(number, "TEA", MAIN): 2}


@pytest.mark.parametrize("kind", ["drop", "lost", "html_503"])
@pytest.mark.parametrize("path", ["/orders", "/shipments"])
async def test_a_shipment_whose_answer_is_lost_is_made_once(stand: Stand, kind: str, path: str) -> None:
    number = stand.account.place_order(Line("TEA", 5, "10.00"))
    stand.server.faults.append(lost(kind, path, "POST"))
    assert (await tell(stand, delivery(number))).outcome == "unknown"
    assert (await tell(stand, replace(delivery(number), doubtful=True))).outcome == "sent"
    assert (await tell(stand, delivery(number))).outcome == "sent"
    assert stand.account.shipped() == {(number, "TEA", MAIN): 2}
    assert len(stand.account.orders[number]["allocations"]) == 1


@pytest.mark.parametrize(("warehouse", "reserved"), [(MAIN, 5), (NORTH, 5), (NORTH, 2)])
async def test_what_veeqo_has_reserved_becomes_what_has_left(stand: Stand, warehouse: int, reserved: int) -> None:
    number = stand.account.place_order(Line("TEA", 5, "10.00"))
    stand.account.allocate(number, warehouse, {"TEA": reserved})
    assert (await tell(stand, delivery(number))).outcome == "sent"
    second = delivery(number, tracking_numbers=["156"])
    assert (await tell(stand, second)).outcome == "sent"
    assert stand.account.shipped() == {(number, "TEA", MAIN): 4}
    assert stand.account.entry("TEA", NORTH)["allocated_stock_level"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"corrected": True}, "cannot change the number"),
        ({"lines": [{"sku": "TEA", "quantity": "2", "location": str(NORTH)}]}, "it left 12, which out.ships_from"),
        ({"lines": [{"sku": "TEA", "quantity": "2"}]}, "out.ships_from"),
        ({"lines": [{"sku": "TEA", "quantity": "9", "location": str(MAIN)}]}, "exceeds what is ordered"),
        ({"order_id": "4"}, "has no order 4"),
        ({"order_id": "B1-4"}, "has no order B1-4"),
    ],
)
async def test_a_shipment_that_veeqo_cannot_take_is_refused(stand: Stand, changes: dict[str, Any], words: str) -> None:
    number = stand.account.place_order(Line("TEA", 2, "10.00"))
    told = await tell(stand, delivery(number, **changes))
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert words in str(told.error)
    assert stand.account.shipped() == {}


# ---- what we wrote does not come back


async def test_nothing_that_we_write_comes_back_as_news(stand: Stand) -> None:
    source = stand.source(out=OUT)
    own = stand.account.place_order(Line("TEA", 2, "10.00"))
    await stand.look(source)
    assert [type(each) for each in stand.said] == [OrderPlaced]
    sink = sink_of(stand)
    told = await sink.deliver([level("7"), order(), delivery(own), item(), price("3", "CUP")])
    await sink.close()
    assert {each.outcome for each in told} == {"sent"}
    assert await stand.later(source) == []
    assert (stand.deltas, stand.refused) == ([], [])


async def test_what_veeqo_ships_of_an_order_that_we_made_is_a_dispatch_of_that_order(stand: Stand) -> None:
    source = stand.source(out=OUT)
    await stand.look(source)
    await tell(stand, order())
    (made,) = stand.account.orders.values()
    stand.account.ship(made["id"], made["allocations"][0]["id"])
    (event,) = await stand.later(source)
    assert isinstance(event, DispatchConfirmed)
    assert (event.order_id, event.location) == ("1001", str(NORTH))
    assert stand.deltas == []


# ---- a Veeqo that is away, figures, settings


async def test_a_throttled_veeqo_is_asked_again_later_and_nothing_is_lost(stand: Stand) -> None:
    sink = sink_of(stand)
    stand.server.faults.append(VeeqoFault("throttle"))
    with pytest.raises(RetriableError) as caught:
        await sink.deliver([level("1")])
    assert caught.value.retry_after_s == 1
    stand.server.faults.append(VeeqoFault("throttle", "/sellables", skip=1))
    told = await sink.deliver([level("1"), level("2", "CUP"), price("3", "POT")])
    assert [each.outcome for each in told] == ["sent", "away", "away"]
    again = await sink.deliver([level("2", "CUP"), price("3", "POT")])
    await sink.close()
    assert {each.outcome for each in again} == {"sent"}


async def test_a_key_that_may_not_write_is_said_and_never_shown(stand: Stand) -> None:
    stand.server.faults.append(VeeqoFault("unauthorized", "/sellables"))
    with pytest.raises(CredentialsRefusedError) as caught:
        await tell(stand, level("1"))
    assert KEY not in str(caught.value)


async def test_it_shows_what_veeqo_has_now(stand: Stand) -> None:
    products(stand, "CUP")[0]["price"] = Decimal("9.90")
    stand.account.add_product("POT")
    asked = [
        level("1"),
        replace(price("1", "CUP"), k="p"),
        level("1", "NONE"),
        replace(price("1"), k="none"),
        level("1", "POT"),
        order(),
    ]
    sink = sink_of(stand)
    figures = await sink.current(asked)
    await sink.close()
    assert figures == {"stock_level-TEA": "100", "p": "9.9", "stock_level-NONE": None, "none": None}
    assert writes(stand) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"stock": True}, "one warehouse id"),
        ({"stock": True, "warehouse": "11", "levels_by_location": True}, "one warehouse id"),
        ({"orders": True, "channel": 7}, "customer_id"),
        ({"orders": True, "customer_id": 7}, "a channel of their own"),
        ({"tracking": True}, "ships_from"),
        ({"owned": ["description"]}, "Input should be"),
    ],
)
def test_settings_that_do_not_fit_are_refused(out: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(out=out)


def test_what_is_written_is_not_counted_unless_nothing_goes_out() -> None:
    live, off = settings(out=OUT), settings(out={**OUT, "mode": "off"})
    assert [live.counts(str(each)) for each in (MAIN, NORTH)] == [False, True]
    assert [off.counts(str(each)) for each in (MAIN, NORTH)] == [True, True]
    assert (live.relays("77", None), off.relays("77", None)) == (True, False)
    assert (live.ships(str(MAIN)), off.ships(str(MAIN))) == (False, True)


def test_a_sink_of_a_connector_that_receives_nothing_is_a_fault_of_the_configuration(stand: Stand) -> None:
    with pytest.raises(FatalError, match=r"connectors\.vq\.out"):
        VeeqoSink("vq", settings(), stand.clock)
