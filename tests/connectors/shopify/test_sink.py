"""What a shop is told, each once, whatever becomes of an answer."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from connectors.base.errors import CredentialsRefusedError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.shopify.sink import ShopifySink
from lab.simulators.shopify.faults import InjectedAnswer
from schemas.events import DispatchConfirmed, StockAdjusted
from tests.connectors.shopify.conftest import Play
from tests.connectors.shopify.events import of
from tests.connectors.wire import Wire

OUT = {"stock": True, "location": "31", "tracking": True, "prices": 1, "items": True}
LOST = ("drop", "late", "throttled_late")


def mutations_lost(operation: str) -> list[Any]:
    """Answers of a mutation that get lost: before it is carried out, and after."""
    faults = [InjectedAnswer(kind, operation=operation) for kind in LOST]
    return [*faults, InjectedAnswer("graphql", code="THROTTLED", operation=operation)]


@dataclass
class Told:
    """A shop and its sink; a retry is as `streams.delivery` makes it."""

    play: Play
    sink: ShopifySink
    numbers: Counter[str] = field(default_factory=Counter)

    def effect(self, kind: Any, content: dict[str, Any], **fields: Any) -> ChannelEffect:
        self.numbers[kind] += 1
        k = fields.pop("k", f"{kind}-{self.numbers[kind]}")
        return ChannelEffect(k=k, type=kind, content=content, as_of=self.play.time.now(), **fields)

    def level(self, sku: str, sellable: str, **content: Any) -> ChannelEffect:
        return self.effect("stock_level", {"sku": sku, "sellable": sellable, **content})

    def price(self, sku: str, price: str, currency: str = "GBP") -> ChannelEffect:
        return self.effect("price_changed", {"sku": sku, "list": 1, "price": price, "currency": currency})

    def shipment(self, order: str, lines: dict[int, int], number: str = "1Z", **content: Any) -> ChannelEffect:
        rows = self.play.shop.orders[order]["lineItems"]
        told = [
            {"line_id": rows[at]["id"].rpartition("/")[2], "sku": rows[at]["sku"], "quantity": str(quantity)}
            for at, quantity in lines.items()
        ]
        content = {"order_id": order, "shipment_id": "s1", "tracking_numbers": [number], "lines": told, **content}
        return self.effect("delivery_posted", content, order_source="shop")

    async def deliver(self, *effects: ChannelEffect) -> dict[str, Delivered]:
        results = await self.sink.deliver(effects)
        assert Counter(each.k for each in results) == Counter(each.k for each in effects)
        return {each.k: each for each in results}

    async def until_known(self, effect: ChannelEffect) -> Delivered:
        """Told again, in doubt, as long as nobody knows its end."""
        for _ in range(5):
            try:
                (result,) = (await self.deliver(effect)).values()
            except RetriableError:
                continue
            if result.outcome not in ("unknown", "away"):
                return result
            effect = replace(effect, doubtful=True)
            self.play.time.at += timedelta(seconds=result.retry_after_s or 1)
        raise AssertionError("it never had an end")

    def fulfilled(self, order: str) -> list[tuple[dict[str, int], list[str]]]:
        return [
            (
                {row["lineItem"]["sku"]: row["quantity"] for row in one["fulfillmentLineItems"]},
                [each["number"] for each in one["trackingInfo"]],
            )
            for one in self.play.shop.orders[order]["fulfillments"]
        ]


@pytest.fixture
async def make_told(make_play):
    opened = []

    def make(play: Play | None = None, **changes: Any) -> Told:
        table = {"out": {**OUT, **changes.pop("out", {})}, **changes}
        made = make_play(shop=play.shop if play else None, **table)
        if play is None:
            made.shop.products.add("TEA", "TEA-2")
            made.shop.products.add("MUG")
            for sku in ("TEA", "TEA-2", "MUG"):
                made.shop.set_level(sku, "31", 5)
        else:
            made.time = play.time
        sink = ShopifySink("shop", made.settings, made.time, transport=Wire(made.shop), sleep=made.time.sleep)
        opened.append(sink)
        return Told(made, sink)

    yield make
    for sink in opened:
        await sink.close()


@pytest.fixture
def told(make_told) -> Told:
    return make_told()


def on_hand(told: Told, sku: str = "TEA", location: str = "31") -> int:
    return told.play.shop.levels[sku, location]["on_hand"]


# ---- levels


async def test_levels_are_set_in_one_mutation_and_what_is_so_already_is_not(told):
    effects = [told.level("TEA", "12.9"), told.level("TEA-2", "0"), told.level("MUG", "5")]
    results = await told.deliver(*effects)
    assert {each.outcome for each in results.values()} == {"sent"}
    assert [on_hand(told, sku) for sku in ("TEA", "TEA-2", "MUG")] == [12, 0, 5]
    assert told.play.shop.mutations.done == Counter(
        {("inventorySetQuantities", "TEA/31"): 1, ("inventorySetQuantities", "TEA-2/31"): 1}
    )
    assert told.play.shop.calls == ["Variants", "Quantities", "SetQuantities"]
    assert results["stock_level-1"].ref == told.play.shop.products.items["TEA"]["id"]


async def test_where_the_channels_orders_are_off_the_figure_it_is_what_is_available(make_told):
    told = make_told(out={"reserves": False})
    told.play.shop.levels["TEA", "31"]["committed"] = 3
    await told.deliver(told.level("TEA", "7"))
    assert on_hand(told) == 10


@pytest.mark.parametrize("fault", mutations_lost("SetQuantities"), ids=lambda each: each.kind)
async def test_a_level_whose_answer_is_lost_is_set_once(told, fault):
    told.play.shop.faults.append(fault)
    result = await told.until_known(told.level("TEA", "12"))
    assert (result.outcome, on_hand(told)) == ("sent", 12)
    assert told.play.shop.mutations.done["inventorySetQuantities", "TEA/31"] == 1


async def test_a_lost_level_that_was_overtaken_by_a_sale_is_compared_with_what_is_there_now(told):
    told.play.shop.faults.append(InjectedAnswer("late", operation="SetQuantities"))
    effect = told.level("TEA", "12")
    assert (await told.deliver(effect))[effect.k].outcome == "unknown"
    told.play.shop.set_level("TEA", "31", 11)
    assert (await told.until_known(replace(effect, doubtful=True))).outcome == "sent"
    assert on_hand(told) == 12


async def test_a_figure_that_moves_under_our_hands_is_decided_anew_once(told):
    moves = iter((6, 7))

    def move(operation: str) -> None:
        if operation == "SetQuantities" and (figure := next(moves, None)):
            told.play.shop.set_level("TEA", "31", figure)

    told.play.shop.before = move
    result = (await told.deliver(told.level("TEA", "12")))["stock_level-1"]
    assert (result.outcome, result.reason) == ("refused", "channel_refused")
    assert "CHANGE_FROM_QUANTITY_STALE" in result.error
    assert on_hand(told) == 7

    moves = iter((8,))
    assert (await told.deliver(told.level("TEA", "12")))["stock_level-2"].outcome == "sent"
    assert on_hand(told) == 12


async def test_one_bad_row_stops_only_itself(told):
    told.play.shop.products.items["TEA-2"]["tracked"] = False
    told.play.shop.products.add("SPOON")
    effects = [
        told.level("TEA", "12"),
        told.level("NOTHING", "1"),
        told.level("TEA-2", "1"),
        told.level("SPOON", "1"),
        told.level("MUG", "1", location="MAIN"),
    ]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["sent", *["refused"] * 4]
    errors = [results[each.k].error for each in effects[1:]]
    assert "no variant with the sku NOTHING" in errors[0]
    assert "does not track" in errors[1]
    assert "not stocked at location 31" in errors[2]
    assert "MAIN is no id of a location" in errors[3]
    assert all("replay" in error or "name it" in error for error in errors)


async def test_a_row_that_the_shop_refuses_leaves_the_others_to_be_set(told):
    told.play.shop.set_level("MUG", "32", 1)

    def vanish(operation: str) -> None:
        if operation == "SetQuantities":
            told.play.shop.locations.pop("32", None)

    told.play.shop.before = vanish
    results = await told.deliver(told.level("TEA", "12"), told.level("MUG", "4", location="32"))
    assert [each.outcome for each in results.values()].count("sent") == 1
    assert "INVALID_LOCATION" in results["stock_level-2"].error
    assert on_hand(told) == 12


async def test_since_2026_10_a_level_stocks_an_item(make_told):
    told = make_told(api_version="2026-10")
    told.play.shop.products.add("SPOON")
    assert (await told.deliver(told.level("SPOON", "3")))["stock_level-1"].outcome == "sent"
    assert on_hand(told, "SPOON") == 3


async def test_skus_that_only_look_alike_and_skus_of_two_variants_are_told_apart(make_told):
    told = make_told(inventory_skus={})
    told.play.shop.products.add("tea", "it's \\ odd")
    told.play.shop.set_level("it's \\ odd", "31", 1)
    told.play.shop.products.add("MUG")
    effects = [told.level("TEA", "9"), told.level("it's \\ odd", "2"), told.level("MUG", "1")]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["sent", "sent", "refused"]
    assert "2 variants" in results[effects[2].k].error
    assert on_hand(told, "it's \\ odd") == 2


async def test_a_sku_is_looked_up_once_an_hour(told):
    for _ in range(3):
        await told.deliver(told.level("TEA", str(7 + told.numbers["stock_level"])))
    assert told.play.shop.calls.count("Variants") == 1
    told.play.time.at += timedelta(hours=1, seconds=1)
    await told.deliver(told.level("TEA", "3"))
    assert told.play.shop.calls.count("Variants") == 2


async def test_a_variant_that_was_made_anew_is_found_at_the_next_try(told):
    await told.deliver(told.level("TEA", "9"))
    shop = told.play.shop
    shop.products.variants = [each for each in shop.products.variants if each["sku"] != "TEA"]
    del shop.products.items["TEA"], shop.levels["TEA", "31"]
    shop.products.add("TEA")
    shop.set_level("TEA", "31", 0)
    effect = told.level("TEA", "8")
    assert (await told.deliver(effect))[effect.k].outcome == "away"
    assert (await told.deliver(effect))[effect.k].outcome == "sent"
    assert on_hand(told) == 8


async def test_what_we_set_is_no_event_of_ours_and_a_counted_location_is_not_set(make_told):
    told = make_told(stock_locations=["32"])
    told.play.shop.set_level("TEA", "32", 5)
    await told.play.look()
    result = await told.deliver(told.level("TEA", "12"), told.level("MUG", "4", location="32"))
    assert [each.outcome for each in result.values()].count("sent") == 1
    assert "owns the count of location 32" in result["stock_level-2"].error
    assert await told.play.look(600) == []


# ---- prices and items


async def test_prices_are_written_product_by_product_and_only_where_they_differ(told):
    effects = [told.price("TEA", "13.5"), told.price("TEA-2", "14.999"), told.price("MUG", "12")]
    results = await told.deliver(*effects)
    assert {each.outcome for each in results.values()} == {"sent"}
    shop = told.play.shop
    assert [shop.products.variant(sku)["price"] for sku in ("TEA", "TEA-2", "MUG")] == ["13.50", "15.00", "12.00"]
    assert shop.calls.count("UpdateVariants") == 1


@pytest.mark.parametrize("fault", mutations_lost("UpdateVariants"), ids=lambda each: each.kind)
async def test_a_price_whose_answer_is_lost_is_written_once(told, fault):
    told.play.shop.faults.append(fault)
    assert (await told.until_known(told.price("TEA", "13.50"))).outcome == "sent"
    assert told.play.shop.mutations.done["productVariantsBulkUpdate", "TEA"] == 1


async def test_a_price_in_another_currency_or_below_zero_is_refused_and_no_other_with_it(told):
    effects = [told.price("TEA", "-1"), told.price("TEA-2", "14", "EUR"), told.price("MUG", "3")]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["refused", "refused", "sent"]
    assert results[effects[0].k].reason == "format_refused"
    assert "in EUR and the shop sells in GBP" in results[effects[1].k].error


async def test_of_an_item_only_the_owned_fields_are_written(make_told):
    told = make_told(out={"item_fields": ["barcode", "tracked"]})
    told.play.shop.products.items["TEA"]["tracked"] = False
    content = {"sku": "TEA", "item_code": "A1", "name": "not for the shop", "barcode": "5000000000017", "active": True}
    too_long = {"sku": "TEA-2", "item_code": "A2", "barcode": "9" * 300, "active": True}
    effects = [told.effect("item_changed", content), told.effect("item_changed", too_long), told.price("TEA", "3")]
    results = await told.deliver(*effects)
    assert [results[each.k].outcome for each in effects] == ["sent", "refused", "sent"]
    variant = told.play.shop.products.variant("TEA")
    assert (variant["barcode"], variant["inventoryItem"]["tracked"], variant["price"]) == (
        "5000000000017",
        True,
        "3.00",
    )
    assert told.play.shop.calls.count("UpdateVariants") == 1
    assert not any("name" in each for each in told.play.shop.products.variants)


# ---- shipments


async def test_a_shipment_is_a_fulfilment_with_its_numbers_and_the_customer_hears_of_it(make_told):
    told = make_told(out={"carriers": {"dpd": "DPD UK"}})
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    result = (await told.deliver(told.shipment(order, {0: 2}, carrier="dpd")))["delivery_posted-1"]
    (one,) = told.play.shop.orders[order]["fulfillments"]
    assert (result.outcome, result.ref) == ("sent", one["id"].rpartition("/")[2])
    assert told.fulfilled(order) == [({"TEA": 2}, ["1Z"])]
    assert one["trackingInfo"][0]["company"] == "DPD UK"
    assert told.play.shop.mutations.notified[order] == 1
    assert on_hand(told) == 3


@pytest.mark.parametrize("operation", ["SetMark", "CreateFulfillment"])
@pytest.mark.parametrize("kind", [*LOST, "THROTTLED"])
async def test_a_shipment_whose_answer_is_lost_is_fulfilled_once(told, kind, operation):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    fault = (
        InjectedAnswer("graphql", code=kind, operation=operation)
        if kind == "THROTTLED"
        else InjectedAnswer(kind, operation=operation)
    )
    told.play.shop.faults.append(fault)
    assert (await told.until_known(told.shipment(order, {0: 1}))).outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["1Z"])]
    assert told.play.shop.mutations.notified[order] == 1


async def test_two_shipments_that_look_alike_are_two_fulfilments(told):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    first, second = told.shipment(order, {0: 1}), told.shipment(order, {0: 1}, shipment_id="s2")
    told.play.shop.faults.append(InjectedAnswer("late", operation="CreateFulfillment"))
    assert (await told.until_known(first)).outcome == "sent"
    assert (await told.until_known(second)).outcome == "sent"
    assert (await told.until_known(replace(second, doubtful=True))).outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["1Z"])] * 2


async def test_two_sinks_at_once_fulfil_a_shipment_once(told, make_told):
    other = make_told(play=told.play)
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    effect = told.shipment(order, {0: 1})
    mutate, came = told.sink._client.mutate, list[str]()

    async def after_the_other(document: str, variables: Any) -> Any:
        """The second comes when the first has read and not yet entered its shipment."""
        if not came:
            came.append("other")
            assert (await other.deliver(effect))[effect.k].outcome == "sent"
        return await mutate(document, variables)

    told.sink._client.mutate = after_the_other  # type: ignore[method-assign]
    with pytest.raises(RetriableError, match="changed by somebody else"):
        await told.deliver(effect)
    assert (await told.until_known(effect)).outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["1Z"])]


async def test_a_shipment_that_another_is_about_to_report_waits(told):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    told.play.shop.faults.append(InjectedAnswer("drop", operation="CreateFulfillment"))
    effect = told.shipment(order, {0: 1})
    assert (await told.deliver(effect))[effect.k].outcome == "unknown"
    again = (await told.deliver(replace(effect, doubtful=True)))[effect.k]
    assert (again.outcome, again.retry_after_s) == ("unknown", 60.0)
    told.play.time.at += timedelta(seconds=61)
    assert (await told.deliver(replace(effect, doubtful=True)))[effect.k].outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["1Z"])]


async def test_goods_of_two_locations_are_two_fulfilments_and_half_of_them_is_gone_on_with(told):
    line = {"quantity": 2, "price": "10"}
    order = told.play.shop.place_order({"sku": "TEA", **line}, {"sku": "MUG", **line})
    told.play.shop.orders[order]["_assigned"] = {1: "32"}
    told.play.shop.faults.append(InjectedAnswer("late", operation="CreateFulfillment"))
    result = await told.until_known(told.shipment(order, {0: 2, 1: 1}))
    assert result.outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 2}, ["1Z"]), ({"MUG": 1}, ["1Z"])]
    assert len(result.ref.split(",")) == 2


async def test_units_come_from_the_shipments_own_location_first(told):
    order = told.play.shop.place_order(
        {"sku": "TEA", "quantity": 2, "price": "10"}, {"sku": "TEA", "quantity": 2, "price": "10"}
    )
    told.play.shop.orders[order]["_assigned"] = {0: "31", 1: "32"}
    effect = told.shipment(order, {1: 1})
    lines = [{**effect.content["lines"][0], "location": "32", "line_id": "7"}]
    result = (await told.deliver(replace(effect, content={**effect.content, "lines": lines})))[effect.k]
    # A line that people keyed has no id of the shop's: it is found by its sku, and that is the first of the two.
    assert result.outcome == "sent"
    assert told.play.shop.orders[order]["lineItems"][0]["unfulfilledQuantity"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"_fulfillment_status": "ON_HOLD"}, "on no line of the order that is still to be fulfilled"),
        ({"fulfil": {0: 3}}, "were shipped and 0 are still to be fulfilled"),
        ({"gone": True}, "has no order"),
        ({"metafield": {"value": "[]", "compareDigest": "x"}}, "is not as we write it"),
    ],
)
async def test_a_shipment_that_the_order_has_no_room_for_is_refused_with_what_to_do(told, change, words):
    shop = told.play.shop
    order = shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    effect = told.shipment(order, {0: 1})
    if lines := change.pop("fulfil", None):
        shop.fulfil(order, "31", lines)
    if change.pop("gone", None):
        del shop.orders[order]
    else:
        shop.orders[order].update(change)
    result = (await told.deliver(effect))[effect.k]
    assert (result.outcome, result.reason) == ("refused", "channel_refused")
    assert words in result.error
    assert told.play.shop.mutations.notified == Counter()


async def test_a_part_of_a_unit_cannot_be_fulfilled(told):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    effect = told.shipment(order, {0: 1})
    lines = [{**effect.content["lines"][0], "quantity": "0.5"}]
    result = (await told.deliver(replace(effect, content={**effect.content, "lines": lines})))[effect.k]
    assert (result.outcome, result.reason) == ("refused", "format_refused")


async def test_what_was_fulfilled_by_hand_with_the_same_number_is_not_fulfilled_again(told):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    told.play.shop.fulfil(order, "31", {0: 1}, tracking="1Z")
    effect = told.shipment(order, {0: 1})
    assert (await told.deliver(effect))[effect.k].outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["1Z"])]


@pytest.mark.parametrize("kind", [*LOST, "none"])
async def test_a_corrected_number_replaces_the_old_one_once(told, kind):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    await told.deliver(told.shipment(order, {0: 1}))
    if kind != "none":
        told.play.shop.faults.append(InjectedAnswer(kind, operation="UpdateTracking"))
    assert (await told.until_known(told.shipment(order, {0: 1}, "2Z", corrected=True))).outcome == "sent"
    assert told.fulfilled(order) == [({"TEA": 1}, ["2Z"])]
    (one,) = told.play.shop.orders[order]["fulfillments"]
    assert told.play.shop.mutations.done["fulfillmentTrackingInfoUpdate", one["id"].rpartition("/")[2]] == 1
    assert told.play.shop.mutations.notified[order] == 2


async def test_a_fulfilment_of_ours_does_not_come_back_and_the_shops_own_does(told):
    shop = told.play.shop
    order = shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    await told.play.look()
    await told.deliver(told.shipment(order, {0: 1}))
    assert await told.play.look() == []
    await told.deliver(told.shipment(order, {0: 1}, "2Z", corrected=True))
    assert await told.play.look() == []
    shop.fulfil(order, "31", {0: 2}, tracking="9Z")
    (event,) = await told.play.look()
    assert isinstance(event, DispatchConfirmed)
    assert event.tracking_numbers == ("9Z",)


async def test_the_count_of_a_location_is_evened_out_for_our_fulfilment_too(make_told):
    """B1's delivery takes the units off and so does the next count, whoever made the fulfilment."""
    told = make_told(stock_locations=["32"])
    shop = told.play.shop
    shop.set_level("TEA", "32", 5)
    order = shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    shop.orders[order]["_assigned"] = {0: "32"}
    await told.play.look()
    told.play.time.at += timedelta(seconds=60)
    await told.deliver(told.shipment(order, {0: 2}))
    items = await told.play.look()
    assert of(DispatchConfirmed, items) == []
    assert sum(each.delta for each in of(StockAdjusted, items)) == 0
    assert len(of(StockAdjusted, items)) == 2


async def test_refunds_still_know_what_our_fulfilment_sent(told):
    shop = told.play.shop
    order = shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    await told.deliver(told.shipment(order, {0: 2}))
    await told.play.look()
    shop.refund(order, [(0, 2, "NO_RESTOCK", None)])
    names = [type(each).__name__ for each in await told.play.look()]
    # One unit is still unsent, and that one is what is cancelled first.
    assert names == ["OrderCancelled", "RefundIssued"]


# ---- the whole


async def test_everything_of_a_call_has_a_result_though_the_shop_goes_away_in_between(told):
    order = told.play.shop.place_order({"sku": "TEA", "quantity": 3, "price": "10"})
    told.play.shop.faults.extend(InjectedAnswer("http", 503, operation="Quantities") for _ in range(3))
    shipment, level = told.shipment(order, {0: 1}), told.level("TEA", "9")
    results = await told.deliver(level, shipment)
    assert (results[shipment.k].outcome, results[level.k].outcome) == ("sent", "away")
    assert (await told.deliver(level))[level.k].outcome == "sent"
    assert on_hand(told) == 9


async def test_a_throttled_mutation_may_have_been_carried_out(told):
    told.play.shop.faults.append(InjectedAnswer("throttled_late", operation="SetQuantities"))
    effect = told.level("TEA", "9")
    result = (await told.deliver(effect))[effect.k]
    assert result.outcome == "unknown"
    assert result.retry_after_s is not None
    assert on_hand(told) == 9


async def test_a_mutation_waits_for_points_instead_of_being_throttled(make_told):
    told = make_told()
    skus = [f"SKU-{number}" for number in range(100)]
    for sku in skus:
        told.play.shop.products.add(sku)
    told.play.shop.available = 150
    results = await told.deliver(*(told.price(sku, "3") for sku in skus))
    assert {each.outcome for each in results.values()} == {"sent"}
    assert told.play.shop.calls.count("UpdateVariants") == 100


async def test_a_scope_that_lacks_needs_a_person(told):
    told.play.shop.scopes.remove("write_inventory")
    with pytest.raises(CredentialsRefusedError, match="inventorySetQuantities"):
        await told.deliver(told.level("TEA", "9"))


async def test_orders_are_not_for_a_shop(told):
    effect = told.effect("order_released", {"order_id": "o1", "lines": []})
    assert (await told.deliver(effect))[effect.k].outcome == "refused"


async def test_reports_say_what_the_shop_shows(told):
    effects = [told.level("TEA", "9"), told.level("NOTHING", "9"), told.price("TEA", "3"), told.price("NOTHING", "3")]
    shown = await told.sink.current(effects)
    assert shown == {effects[0].k: "5", effects[1].k: None, effects[2].k: "12.00", effects[3].k: None}
    assert told.play.shop.mutations.done == Counter()


async def test_many_skus_are_few_queries(told):
    skus = [f"SKU-{number}" for number in range(200)]
    told.play.shop.products.add(*skus)
    for sku in skus:
        told.play.shop.set_level(sku, "31", 1)
    results = await told.deliver(*(told.level(sku, "3") for sku in skus))
    assert {each.outcome for each in results.values()} == {"sent"}
    assert Counter(told.play.shop.calls)["SetQuantities"] == 1
    assert len(told.play.shop.calls) <= 40


@pytest.mark.parametrize(
    ("out", "changes", "words"),
    [
        ({"location": None}, {}, "name it as out.location"),
        ({}, {"stock_locations": ["31"]}, "owns the count"),
        ({"orders": True}, {}, "told of no orders"),
        ({}, {"api_version": "2026-01"}, "api_version 2026-04"),
    ],
)
def test_what_cannot_work_is_a_problem_of_the_configuration(make_told, out, changes, words):
    with pytest.raises(ValueError, match=words):
        make_told(out=out, **changes)
