"""What a shop is told, each once, whatever becomes of an answer."""

from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.magento.sink import MagentoSink
from lab.simulators.magento.catalogue import ShopCatalogue
from lab.simulators.magento.faults import MagentoFault, MagentoFaultKind
from lab.simulators.magento.prices import BundlePart
from schemas.events import DispatchConfirmed, RefundIssued
from tests.connectors.magento.conftest import Stall, settings_of
from tests.connectors.wire import Wire

OUT = {"stock": True, "source": "default", "tracking": True, "prices": 1, "price_currency": "GBP"}
KINDS = MagentoFaultKind
#: Answers of a write that get lost: before it is carried out, and after.
LOST = (KINDS.DROPPED, KINDS.LATE, KINDS.TRUNCATED, KINDS.INTERNAL, KINDS.MAINTENANCE)


@dataclass
class Told:
    """A shop and its sink; a retry is as `streams.delivery` makes it."""

    stall: Stall
    sink: MagentoSink
    numbers: Counter[str] = field(default_factory=Counter)

    @property
    def catalogue(self) -> ShopCatalogue:
        return self.stall.app.catalogue

    def effect(self, kind: Any, content: dict[str, Any], **fields: Any) -> ChannelEffect:
        self.numbers[kind] += 1
        k = f"{kind}-{self.numbers[kind]}"
        return ChannelEffect(k=k, type=kind, content=content, as_of=self.stall.clock.now(), **fields)

    def level(self, sku: str, sellable: str, **content: Any) -> ChannelEffect:
        return self.effect("stock_level", {"sku": sku, "sellable": sellable, **content})

    def price(self, sku: str, price: str, currency: str = "GBP") -> ChannelEffect:
        return self.effect("price_changed", {"sku": sku, "list": 1, "price": price, "currency": currency})

    def shipment(self, order: int, lines: dict[str, str], number: str = "1Z", **content: Any) -> ChannelEffect:
        told = [
            {"line_id": str(self.stall.shop.item_ids(order, sku)[0]), "sku": sku, "quantity": quantity}
            for sku, quantity in lines.items()
        ]
        content = {
            "order_id": str(order),
            "shipment_id": "s1",
            "tracking_numbers": [number],
            "carrier": "dpd",
            "lines": told,
            **content,
        }
        return self.effect("delivery_posted", content, order_source="shop")

    async def deliver(self, *effects: ChannelEffect) -> dict[str, Delivered]:
        results = await self.sink.deliver(effects)
        assert Counter(each.k for each in results) == Counter(each.k for each in effects)
        return {each.k: each for each in results}

    async def until_known(self, effect: ChannelEffect) -> Delivered:
        """Told again, in doubt, as long as nobody knows its end."""
        for _ in range(5):
            (result,) = (await self.deliver(effect)).values()
            if result.outcome not in ("unknown", "away"):
                return result
            effect = replace(effect, doubtful=True)
            self.stall.clock.passes(seconds=result.retry_after_s or 1)
        raise AssertionError("it never had an end")

    def fail(self, path: str, *kinds: MagentoFaultKind) -> None:
        self.stall.app.faults += [MagentoFault(kind, f"*/V1/{path}") for kind in kinds]

    def place(self, *cart: Any) -> int:
        return self.stall.shop.place(*cart, state="processing")

    def shipped(self, order: int) -> list[tuple[dict[str, Decimal], list[str]]]:
        return [
            (
                {row["sku"]: row["qty"] for row in each["items"]},
                [row["track_number"] for row in each["tracks"]],
            )
            for each in self.stall.shop.lists["shipments"].values()
            if each["order_id"] == order
        ]


@pytest.fixture
async def make_told(stall):
    opened = []

    def make(**changes: Any) -> Told:
        settings = settings_of(out={**OUT, **changes.pop("out", {})}, **changes)
        sink = MagentoSink("shop", settings, stall.clock, transport=Wire(stall.app))
        opened.append(sink)
        return Told(stall, sink)

    stall.app.catalogue.add("TEA-250", "MUG", "SPOON")
    yield make
    for sink in opened:
        await sink.close()


@pytest.fixture
def told(make_told) -> Told:
    return make_told()


# ---- levels


async def test_levels_are_set_in_one_call_and_what_is_so_already_is_not(told):
    told.catalogue.quantities["MUG", "default"] = (Decimal(5), 1)
    effects = [told.level("TEA-250", "12.56789"), told.level("MUG", "5"), told.level("SPOON", "0")]
    results = await told.deliver(*effects)
    assert {each.outcome for each in results.values()} == {"sent"}
    assert told.catalogue.quantities == {
        ("TEA-250", "default"): (Decimal("12.5678"), 1),
        ("MUG", "default"): (Decimal(5), 1),
        ("SPOON", "default"): (Decimal(0), 0),
    }
    assert told.catalogue.done == Counter(
        {("source-items", "TEA-250@default"): 1, ("source-items", "SPOON@default"): 1}
    )
    assert len(told.stall.app.requests) == 3


@pytest.mark.parametrize("kind", LOST)
async def test_a_level_whose_answer_is_lost_is_set_once(told, kind):
    told.stall.app.faults.append(MagentoFault(kind, "*/source-items", skip=1))
    assert (await told.until_known(told.level("TEA-250", "12"))).outcome == "sent"
    assert told.catalogue.quantities["TEA-250", "default"] == (Decimal(12), 1)
    assert told.catalogue.done["source-items", "TEA-250@default"] == 1


async def test_one_bad_row_is_found_and_the_others_are_set(told):
    told.catalogue.add("SET", type_id="configurable")
    effects = [
        told.level("TEA-250", "3"),
        told.level("MUG", "4", location="nowhere"),
        told.level("SPOON", "5"),
        told.level("NOTHING", "1"),
        told.level("tea-250", "1"),
        told.level("SET", "1"),
    ]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["sent", "refused", "sent", "refused", "refused", "refused"]
    assert "Could not save Source Item" in results[effects[1].k].error
    assert "no product NOTHING" in results[effects[3].k].error
    assert "has no quantity" in results[effects[5].k].error
    # The shop would have taken it without a word, and shown it nowhere.
    assert ("NOTHING", "default") not in told.catalogue.quantities


async def test_a_shop_that_limits_arrays_gets_smaller_calls(told):
    told.stall.app.settings.array_limit = 2
    skus = [f"SKU-{number}" for number in range(7)]
    told.catalogue.add(*skus)
    results = await told.deliver(*(told.level(sku, "3") for sku in skus))
    assert {each.outcome for each in results.values()} == {"sent"}


async def test_skus_with_commas_and_slashes_are_found(told):
    told.catalogue.add("A,B", "C/D#1")
    results = await told.deliver(told.level("A,B", "3"), told.level("C/D#1", "4"))
    assert {each.outcome for each in results.values()} == {"sent"}


async def test_where_a_shop_takes_backorders_the_status_at_zero_is_its_own(make_told):
    told = make_told(out={"backorders": True})
    told.catalogue.quantities["TEA-250", "default"] = (Decimal(5), 1)
    await told.deliver(told.level("TEA-250", "0"))
    assert told.catalogue.quantities["TEA-250", "default"] == (Decimal(0), 1)


async def test_an_older_figure_that_somebody_set_is_healed(told):
    await told.deliver(told.level("TEA-250", "12"))
    told.catalogue.quantities["TEA-250", "default"] = (Decimal(7), 1)
    await told.deliver(told.level("TEA-250", "12"))
    assert told.catalogue.quantities["TEA-250", "default"] == (Decimal(12), 1)


# ---- prices


async def test_prices_that_differ_are_written_and_use_up_no_more_than_they_must(told):
    effects = [told.price("TEA-250", "13.5"), told.price("MUG", "12"), told.price("SPOON", "2.999")]
    results = await told.deliver(*effects)
    assert {each.outcome for each in results.values()} == {"sent"}
    assert [told.catalogue.products[sku]["price"] for sku in ("TEA-250", "SPOON")] == [Decimal("13.5"), Decimal(3)]
    assert told.catalogue.value_ids == 2


@pytest.mark.parametrize("kind", LOST)
async def test_a_price_whose_answer_is_lost_is_written_once(told, kind):
    told.fail("products/base-prices", kind)
    assert (await told.until_known(told.price("TEA-250", "13.5"))).outcome == "sent"
    assert told.catalogue.value_ids == 1


async def test_a_price_below_zero_never_takes_the_others_with_it(told):
    effects = [told.price("TEA-250", "-1"), told.price("MUG", "3"), told.price("SPOON", "4", "EUR")]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["refused", "sent", "refused"]
    assert results[effects[0].k].reason == "format_refused"
    assert "in EUR and the shop's are in GBP" in results[effects[2].k].error


async def test_a_row_that_the_shop_refuses_is_told_from_those_that_it_took(told):
    told.catalogue.add("BOX", type_id="bundle")
    told.catalogue.products["BOX"]["_dynamic"] = True
    results = await told.deliver(told.price("BOX", "3"), told.price("MUG", "4"))
    assert (results["price_changed-1"].outcome, results["price_changed-2"].outcome) == ("refused", "sent")
    assert "Invalid attribute SKU = BOX." in results["price_changed-1"].error


# ---- items


async def test_of_a_product_only_owned_attributes_are_written(make_told):
    told = make_told(out={"items": True, "item_attributes": {"barcode": "ean"}})
    content = {"sku": "TEA-250", "name": "not for the shop", "barcode": "5000000000017", "active": True}
    effects = [told.effect("item_changed", content), told.effect("item_changed", {**content, "sku": "NOTHING"})]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["sent", "refused"]
    product = told.catalogue.products["TEA-250"]
    assert product["name"] == "All about TEA-250"
    assert {each["attribute_code"]: each["value"] for each in product["custom_attributes"]} == {
        "description": "Long",
        "ean": "5000000000017",
    }
    assert "NOTHING" not in told.catalogue.products
    await told.deliver(told.effect("item_changed", content))
    assert told.catalogue.done["products", "TEA-250"] == 1


@pytest.mark.parametrize("kind", LOST)
async def test_an_item_whose_answer_is_lost_is_written_once(make_told, kind):
    told = make_told(out={"items": True, "item_attributes": {"barcode": "ean"}})
    told.stall.app.faults.append(MagentoFault(kind, "*/V1/products", skip=1))
    assert (await told.until_known(told.effect("item_changed", {"sku": "MUG", "barcode": "5"}))).outcome == "sent"
    assert told.catalogue.done["products", "MUG"] == 1


# ---- shipments


async def test_a_shipment_has_its_tracks_its_mark_and_a_mail_to_the_customer(make_told, cart_item):
    told = make_told(out={"carrier_titles": {"dpd": "DPD UK"}})
    told.catalogue.quantities["TEA-250", "wh-uk"] = (Decimal(9), 1)
    order = told.place(cart_item())
    effect = told.shipment(order, {"TEA-250": "1"})
    lines = [{**effect.content["lines"][0], "location": "wh-uk"}]
    result = (await told.deliver(replace(effect, content={**effect.content, "lines": lines})))[effect.k]
    assert (result.outcome, result.ref) == ("sent", "1")
    assert told.shipped(order) == [({"TEA-250": 1}, ["1Z"])]
    shipment = told.stall.shop.lists["shipments"][1]
    assert shipment["comments"][0]["comment"] == "b1-streams: shipment s1"
    assert shipment["tracks"][0]["title"] == "DPD UK"
    assert shipment["extension_attributes"] == {"source_code": "wh-uk"}
    assert told.catalogue.notified[order] == 1
    assert told.catalogue.quantities["TEA-250", "wh-uk"] == (Decimal(8), 1)


@pytest.mark.parametrize("kind", LOST)
async def test_a_shipment_whose_answer_is_lost_is_made_once(told, cart_item, kind):
    order = told.place(cart_item(quantity="3"))
    told.fail("order/*/ship", kind)
    assert (await told.until_known(told.shipment(order, {"TEA-250": "1"}))).outcome == "sent"
    assert told.shipped(order) == [({"TEA-250": 1}, ["1Z"])]
    assert told.catalogue.notified[order] == 1


async def test_a_request_that_may_still_be_at_work_is_not_repeated_yet(told, make_told, cart_item):
    order = told.place(cart_item(quantity="3"))
    told.fail("order/*/ship", KINDS.DROPPED)
    effect = told.shipment(order, {"TEA-250": "1"})
    assert (await told.deliver(effect))[effect.k].outcome == "unknown"
    again = replace(effect, doubtful=True)
    told.stall.clock.passes(seconds=20)
    result = (await told.deliver(again))[effect.k]
    assert (result.outcome, result.retry_after_s) == ("unknown", 40.0)
    # Whoever takes over knows nothing of when it was sent.
    other = make_told()
    assert (await other.deliver(again))[effect.k].retry_after_s == 60.0
    told.stall.clock.passes(seconds=60)
    assert (await other.deliver(again))[effect.k].outcome == "sent"
    assert (await told.deliver(again))[effect.k].outcome == "sent"
    assert told.shipped(order) == [({"TEA-250": 1}, ["1Z"])]


async def test_two_shipments_that_look_alike_are_two_shipments(told, cart_item):
    order = told.place(cart_item(quantity="3"))
    effects = [told.shipment(order, {"TEA-250": "1"}), told.shipment(order, {"TEA-250": "1"}, shipment_id="s2")]
    for effect in (*effects, *(replace(each, doubtful=True) for each in effects)):
        assert (await told.deliver(effect))[effect.k].outcome == "sent"
    assert told.shipped(order) == [({"TEA-250": 1}, ["1Z"])] * 2


async def test_goods_of_two_sources_are_two_shipments_and_half_of_them_is_gone_on_with(told, cart_item):
    order = told.place(cart_item("TEA-250"), cart_item("MUG"))
    effect = told.shipment(order, {"TEA-250": "2", "MUG": "1"})
    places = ("wh-uk", "wh-de")
    lines = [{**line, "location": place} for line, place in zip(effect.content["lines"], places, strict=True)]
    told.stall.app.faults.append(MagentoFault(KINDS.LATE, "*/ship", skip=1))
    result = await told.until_known(replace(effect, content={**effect.content, "lines": lines}))
    assert (result.outcome, result.ref) == ("sent", "1,2")
    assert told.shipped(order) == [({"TEA-250": 2}, ["1Z"]), ({"MUG": 1}, ["1Z"])]


async def test_what_was_shipped_by_hand_with_the_same_number_is_not_shipped_again(told, cart_item):
    order = told.place(cart_item(quantity="3"))
    item = told.stall.shop.item_ids(order, "TEA-250")[0]
    told.stall.shop.ship(order, {item: Decimal(1)}, tracks=[("1Z", "DPD", "custom")])
    effect = told.shipment(order, {"TEA-250": "1"})
    assert (await told.deliver(effect))[effect.k].outcome == "sent"
    assert told.shipped(order) == [({"TEA-250": 1}, ["1Z"])]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": "holded"}, "The order is holded"),
        ({"shipped": True}, "is more than is left"),
        ({"gone": True}, "has no order"),
    ],
)
async def test_a_shipment_that_the_order_has_no_room_for_is_refused_with_what_to_do(told, cart_item, change, words):
    order = told.place(cart_item())
    effect = told.shipment(order, {"TEA-250": "2"})
    if change.get("shipped"):
        told.stall.shop.ship(order)
    elif change.get("gone"):
        del told.stall.shop.lists["orders"][order]
    else:
        told.stall.shop.touch("orders", order, **change)
    result = (await told.deliver(effect))[effect.k]
    assert (result.outcome, result.reason) == ("refused", "channel_refused")
    assert words in result.error
    assert "discard this" in result.error


async def test_a_line_keyed_by_people_is_found_by_its_sku(told, cart_item):
    order = told.place(cart_item("TEA-250"), cart_item("MUG"))
    effect = told.shipment(order, {"MUG": "1"})
    for sku, outcome in (("MUG", "sent"), ("SPOON", "refused")):
        lines = [{"line_id": "0", "sku": sku, "quantity": "1"}]
        content = {**effect.content, "lines": lines, "shipment_id": sku}
        told_now = replace(effect, content=content)
        assert (await told.deliver(told_now))[effect.k].outcome == outcome
    assert told.shipped(order) == [({"MUG": 1}, ["1Z"])]


async def test_a_bundle_is_shipped_by_its_own_row(told, cart_item):
    parts = (BundlePart(sku="TEA-250", quantity=Decimal(2)), BundlePart(sku="MUG", quantity=Decimal(1)))
    order = told.place(cart_item("BOX", quantity="3", kind="bundle", parts=parts))
    whole = told.shipment(order, {"TEA-250": "4", "MUG": "2"})
    half = told.shipment(order, {"TEA-250": "1"}, shipment_id="s2")
    results = await told.deliver(whole, half)
    assert [each.outcome for each in results.values()] == ["sent", "refused"]
    assert "the shop ships bundles whole" in results[half.k].error
    bundle = told.stall.shop.item_ids(order, "BOX")[0]
    assert next(each for each in told.stall.shop.order(order)["items"] if each["item_id"] == bundle)["qty_shipped"] == 2


@pytest.mark.parametrize("kind", [*LOST, None])
async def test_a_corrected_number_replaces_ours_and_leaves_what_others_added(told, cart_item, kind):
    order = told.place(cart_item(quantity="3"))
    first = told.shipment(order, {"TEA-250": "1"})
    await told.deliver(first)
    told.stall.shop.track(1, "BY-HAND")
    told.catalogue._number_tracks(told.stall.shop.lists["shipments"][1])
    if kind is not None:
        told.fail("shipment/track", kind)
    corrected = replace(told.shipment(order, {"TEA-250": "1"}, "2Z", corrected=True), before=first.content)
    assert (await told.until_known(corrected)).outcome == "sent"
    assert told.shipped(order) == [({"TEA-250": 1}, ["BY-HAND", "2Z"])]
    assert told.catalogue.done["track", "2Z"] == 1


async def test_a_shipment_of_ours_does_not_come_back_and_the_shops_own_does(told, cart_item):
    order = told.place(cart_item(quantity="3"))
    source = told.stall.source()
    await told.stall.events(source)
    told.stall.clock.passes(seconds=60)
    await told.deliver(told.shipment(order, {"TEA-250": "1"}))
    assert await told.stall.events(source) == []
    told.stall.clock.passes(seconds=60)
    item = told.stall.shop.item_ids(order, "TEA-250")[0]
    told.stall.shop.ship(order, {item: Decimal(1)})
    (event,) = await told.stall.events(source)
    assert isinstance(event, DispatchConfirmed)
    # Of three units two were sent, one of them by us: the one that was not is what is cancelled first.
    told.stall.shop.invoice(order)
    told.stall.clock.passes(seconds=60)
    told.stall.shop.refund(order, {item: Decimal(2)})
    (refund,) = [each for each in await told.stall.events(source) if isinstance(each, RefundIssued)]
    assert [line.quantity for line in refund.lines] == [1]


async def test_the_shops_own_history_of_an_order_is_not_rewritten(told, cart_item):
    order = told.place(cart_item(quantity="3"))
    told.stall.clock.passes(seconds=60)
    before = {**told.stall.shop.order(order), "items": [dict(each) for each in told.stall.shop.order(order)["items"]]}
    await told.deliver(told.shipment(order, {"TEA-250": "1"}), told.level("TEA-250", "4"), told.price("TEA-250", "9"))
    after = told.stall.shop.order(order)
    # What a shipment moves is all that has changed.
    assert {name for name in after if after[name] != before[name]} == {"items", "updated_at"}
    (changed,) = [set(new) for new, old in zip(after["items"], before["items"], strict=True) if new != old]
    assert {name for name in changed if after["items"][0][name] != before["items"][0][name]} == {"qty_shipped"}


# ---- the whole


async def test_everything_of_a_call_has_a_result_though_the_shop_goes_away_in_between(told, cart_item):
    order = told.place(cart_item())
    told.fail("products", KINDS.MAINTENANCE)
    shipment, level = told.shipment(order, {"TEA-250": "1"}), told.level("MUG", "9")
    results = await told.deliver(level, shipment)
    assert (results[shipment.k].outcome, results[level.k].outcome) == ("sent", "away")
    told.fail("products", KINDS.MAINTENANCE)
    with pytest.raises(RetriableError):
        await told.deliver(level)


async def test_credentials_that_are_refused_need_a_person(told):
    told.fail("products", KINDS.EXPIRED)
    with pytest.raises(FatalError):
        await told.deliver(told.level("MUG", "9"))


async def test_reports_say_what_the_shop_shows(told):
    told.catalogue.quantities["MUG", "default"] = (Decimal("5.5"), 1)
    effects = [told.level("MUG", "9"), told.level("NOTHING", "9"), told.level("SPOON", "1"), told.price("MUG", "3")]
    shown = await told.sink.current(effects)
    assert shown == {effects[0].k: "5.5", effects[1].k: None, effects[2].k: None, effects[3].k: "12"}
    assert told.catalogue.done == Counter()


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ({"source": None}, "name it as out.source"),
        ({"orders": True}, "told of no orders"),
        ({"items": True}, "names none"),
        ({"item_attributes": {"barcode": "meta_title"}}, "which the shop owns"),
    ],
)
def test_what_cannot_work_is_a_problem_of_the_configuration(out, words):
    with pytest.raises(ValueError, match=words):
        settings_of(out={**OUT, **out})
