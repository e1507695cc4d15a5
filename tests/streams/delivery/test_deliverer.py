"""What a channel is told, how often, and in which order."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.cursors import LostRaceError
from connectors.base.errors import OutcomeUnknownError
from streams.chain.keys import event_key, order_key
from streams.query import effects, items, shadow
from tests import builders
from tests.streams.delivery.world import (
    ADDRESS,
    AWAY,
    CODEC,
    Channel,
    Delivery,
    content,
    delivery,
    item,
    order,
    order_line,
    posted,
    settings,
    stock,
)
from tests.streams.virtual import NOW, run

LATER = NOW + timedelta(seconds=30)


def told(*steps: Any, **out: Any) -> Channel:
    """What the shop (or the warehouse) was told: a tuple of readings is published, a number is waited for."""

    async def play() -> Channel:
        play = Delivery(settings(**out), out.get("connector", "shop"))
        async with play.running():
            for step in steps:
                if isinstance(step, int | float):
                    await asyncio.sleep(step)
                else:
                    await play.say(*step)
                    await asyncio.sleep(3)
        assert not play.channel.doubles
        return play.channel

    return run(play())


# ---- items, prices, levels ------------------------------------------------------------------------------------------


def test_the_first_reading_is_told_whole_an_item_before_its_stock_and_nothing_twice() -> None:
    channel = told((stock(40, 3), item()), 200, items=True, stock=True, prices=1)

    assert channel.said == [("item_changed", "TSHIRT-RED"), ("price_changed", "12.5"), ("stock_level", "37")]
    (first, price, level) = channel.told
    assert first.content == {
        "sku": "TSHIRT-RED",
        "item_code": "TS001-R",
        "name": "T-shirt",
        "unit": "pcs",
        "active": True,
        "batch_managed": False,
        "serial_managed": False,
        "prices": {"1": "12.5"},
    }
    assert price.content == {"sku": "TSHIRT-RED", "list": 1, "price": "12.5", "currency": "GBP"}
    assert level.content == {"sku": "TSHIRT-RED", "sellable": "37"}
    assert level.as_of == NOW


def test_a_level_waits_for_its_interval_and_the_latest_wins() -> None:
    newer = [replace(stock(figure), reading=2 + n, as_of=LATER) for n, figure in enumerate((39, 38, 41))]
    channel = told((item(), stock(40)), *[(each,) for each in newer], 130, stock=True, interval_s=120)

    assert channel.said == [("stock_level", "40"), ("stock_level", "41")]


def test_a_fall_to_zero_goes_at_once() -> None:
    channel = told((item(), stock(40)), (replace(stock(0), reading=2),), stock=True, interval_s=3600)

    assert channel.said == [("stock_level", "40"), ("stock_level", "0")]


def test_an_older_reading_changes_nothing_whatever_its_place_in_the_log() -> None:
    """A paused process publishes what it read long ago."""
    channel = told(
        (item(), replace(stock(40), reading=5)), (replace(stock(99), reading=4),), 5, stock=True, interval_s=1
    )

    assert channel.said == [("stock_level", "40")]


def test_a_sku_that_was_never_above_zero_has_no_level_and_an_inactive_item_gets_0_once() -> None:
    channel = told(
        (item(), stock(0), item("B"), stock(5, code="B")),
        (replace(item("B"), is_active=False, reading=2),),
        (replace(stock(7, code="B"), reading=3),),
        10,
        stock=True,
        interval_s=1,
    )

    assert channel.said == [("stock_level", "5"), ("stock_level", "0")]
    assert [each.content["sku"] for each in channel.told] == ["B", "B"]


def test_a_buffer_is_kept_back_and_nothing_falls_below_zero() -> None:
    channel = told((item(), stock("10.5", 3)), (replace(stock(2), reading=2),), 5, stock=True, buffer=3, interval_s=1)

    assert channel.said == [("stock_level", "4.5"), ("stock_level", "0")]


def test_orders_of_other_channels_under_way_are_taken_off_until_b1_shows_them() -> None:
    other = builders.order("9", builders.order_line(sku="TSHIRT-RED", quantity=4), source="warehouse")
    other = builders.digested(replace(other, lines=(replace(other.lines[0], location="MAIN"),)))
    at = NOW + timedelta(seconds=20)
    before = [(item(), stock(40)), (other,), (posted(other, at),)]
    shown = (replace(stock(40, 4), reading=2, as_of=at + timedelta(seconds=6)),)
    levels = [("stock_level", "40"), ("stock_level", "36")]

    assert told(*before, 5, stock=True, interval_s=1).said == levels, "not in B1's figure yet"
    assert told(*before, shown, 5, stock=True, interval_s=1).said == levels


def test_an_order_that_b1_shows_is_not_taken_off_twice_however_soon_it_was_read() -> None:
    """A poll a moment after the posting: by the clocks the reading is not clearly younger than it."""
    line = replace(builders.order_line(sku="TSHIRT-RED", quantity=4), location="MAIN")
    other = builders.digested(replace(builders.order("9", line), source="warehouse"))
    read = {"k": event_key(other), "number": "9", "reading": 2}
    channel = told(
        (item(), stock(40)),
        (other,),
        (posted(other), order(9, order_line(4), **read), replace(stock(40, 4), reading=2, as_of=NOW)),
        5,
        stock=True,
        interval_s=1,
    )

    assert channel.said == [("stock_level", "40"), ("stock_level", "36")]


def test_its_own_orders_are_left_to_the_channel_that_reserves_them() -> None:
    """Before they are in B1, and when B1 counts them as committed."""
    own = builders.order("1001", builders.order_line(sku="TSHIRT-RED", quantity=2))
    channel = told(
        (item(), stock(40)),
        (own,),
        (posted(own),),
        (order(reading=2), replace(stock(40, 2), reading=2, as_of=LATER)),
        5,
        stock=True,
        interval_s=1,
    )

    assert channel.said == [("stock_level", "40")]


def test_an_own_order_counts_only_in_stock_read_no_earlier() -> None:
    """Else its units, still free in the older stock, would be added to it."""
    channel = told((item(), stock(40), replace(order(), reading=2)), 5, stock=True, interval_s=1)

    assert channel.said == [("stock_level", "40")]


def test_an_order_that_is_said_again_as_it_stands_changes_no_figure() -> None:
    """The hourly repetition has a higher reading than the stock that shows the order."""
    channel = told(
        (item(), order(), replace(stock(40, 2), reading=2)),
        (replace(order(), reading=9),),
        5,
        stock=True,
        interval_s=1,
    )

    assert channel.said == [("stock_level", "40")]


def test_a_channel_that_reserves_nothing_has_its_own_orders_taken_off() -> None:
    own = builders.order("1001", builders.order_line(sku="TSHIRT-RED", quantity=2))
    channel = told((item(), stock(40)), (own,), 5, stock=True, interval_s=1, reserves=False)

    assert channel.said == [("stock_level", "40"), ("stock_level", "38")]


def test_a_cancelled_order_under_way_holds_nothing_back() -> None:
    own = builders.order("1001", builders.order_line(sku="TSHIRT-RED", quantity=2))
    channel = told(
        (item(), own, stock(40)), (builders.cancellation("1001"),), 5, stock=True, interval_s=1, reserves=False
    )

    assert channel.said == [("stock_level", "38"), ("stock_level", "40")]


# ---- orders ---------------------------------------------------------------------------------------------------------


def test_a_released_order_goes_once_with_its_open_quantity() -> None:
    line = order_line(5, open=Decimal(3))
    channel = told((order(7, line),), (replace(order(7, line), reading=2),), 10, connector="warehouse", orders=True)

    (effect,) = channel.told
    assert effect.order_source == "shop"
    assert effect.content == {
        "order_id": "1001",
        "order_number": "1001",
        "doc_entry": 7,
        "company": "acme",
        "ship_to": {
            "name": "A. Buyer",
            "street": "1 High Street",
            "city": "London",
            "postcode": "N1 1AA",
            "country": "GB",
        },
        "carrier": "dpd",
        "service": "next-day",
        "lines": [
            {
                "line_id": "1",
                "sku": "TSHIRT-RED",
                "item_code": "TS001-R",
                "quantity": "3",
                "ordered": "5",
                "location": "MAIN",
            }
        ],
    }


def test_an_order_that_people_keyed_is_named_by_its_number_in_b1() -> None:
    channel = told((order(7, k=None, number=None),), connector="warehouse", orders=True)

    assert channel.said == [("order_released", "B1-2007")]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"status": "cancelled"}, "cancelled"),
        ({"is_released": False}, "not_released"),
        ({"status": "closed", "lines": (order_line(2, is_closed=True),)}, "closed"),
    ],
)
def test_an_order_that_ends_undelivered_is_withdrawn_once(change: dict[str, Any], why: str) -> None:
    ended = replace(order(), reading=2, **change)
    channel = told((order(),), (ended,), (replace(ended, reading=3),), 10, connector="warehouse", orders=True)

    assert channel.said == [("order_released", "1001"), ("order_withdrawn", why)]


def test_a_delivered_order_is_not_withdrawn() -> None:
    done = replace(order(7, order_line(2, open=Decimal(0), is_closed=True)), status="closed", reading=2)
    channel = told((order(),), (done,), 10, connector="warehouse", orders=True)

    assert channel.said == [("order_released", "1001")]


def test_a_partial_delivery_changes_nothing_but_changed_lines_make_a_revision() -> None:
    partly = replace(order(7, order_line(2, open=Decimal(1))), reading=2)
    more = replace(order(7, order_line(3, open=Decimal(2))), reading=3)
    channel = told((order(),), (partly,), (more,), 10, connector="warehouse", orders=True)

    assert channel.said == [("order_released", "1001"), ("order_withdrawn", "changed"), ("order_released", "1001")]
    assert channel.told[2].content["revision"] == 1
    assert channel.told[2].content["lines"][0]["quantity"] == "2"


def test_an_order_released_again_is_a_revision() -> None:
    held = replace(order(), is_released=False, reading=2)
    channel = told((order(),), (held,), (replace(order(), reading=3),), 10, connector="warehouse", orders=True)

    assert [each.content.get("revision") for each in channel.told] == [None, None, 1]


def test_an_order_without_an_address_is_parked_and_goes_by_itself() -> None:
    async def play() -> None:
        play = Delivery(settings(connector="warehouse", orders=True), "warehouse")
        async with play.running():
            await play.say(order(ship_to=replace(ADDRESS, postcode=None, city=None)))
            await asyncio.sleep(3)
            state = (await play.states())["order", "7"]
            assert (state.state, state.reason) == ("parked", "order_incomplete")
            assert (
                state.error == "order 1001 lacks ship_to.city, ship_to.postcode; add them in B1 and it goes by itself"
            )
            assert not play.channel.told
            await play.say(replace(order(), reading=2))
            await asyncio.sleep(3)
        assert play.channel.said == [("order_released", "1001")]

    run(play())


def test_its_own_order_does_not_come_back_to_a_receiver() -> None:
    assert not told((order(k=None, number=None), order(8)), connector="warehouse", orders=False, items=True).told
    own = order(8)
    own = replace(own, k=order_key("acme", "warehouse", "77"), number="77")
    assert not told((own,), 5, connector="warehouse", orders=True).told


# ---- deliveries -----------------------------------------------------------------------------------------------------


def test_a_delivery_is_told_once_it_has_a_number_and_a_changed_number_is_a_correction() -> None:
    numbers: list[tuple[str, ...]] = [(), ("DPD1",), ("DPD1",), ("DPD2",)]
    channel = told(
        (order(),),
        *[(replace(delivery(), tracking_numbers=each, reading=2 + n),) for n, each in enumerate(numbers)],
        5,
        tracking=True,
    )

    assert [(each.content["tracking_numbers"], each.content.get("corrected")) for each in channel.told] == [
        (["DPD1"], None),
        (["DPD2"], True),
    ]
    assert channel.told[0].content["shipment_id"] == "B1-3005"
    assert channel.told[0].content["lines"] == [
        {"line_id": "1", "sku": "TSHIRT-RED", "quantity": "2", "location": "MAIN"}
    ]


def test_a_delivery_of_ours_has_the_shipment_id_of_its_dispatch() -> None:
    dispatch = builders.dispatch("SH-9", "1001")
    channel = told((dispatch, order()), (delivery(k=event_key(dispatch)),), tracking=True)

    assert [each.content["shipment_id"] for each in channel.told] == ["SH-9"]


def test_a_dispatch_that_the_channel_reported_itself_does_not_come_back() -> None:
    dispatch = builders.digested(replace(builders.dispatch("SH-9", "1001"), source="shop"))
    assert not told((dispatch, order()), (delivery(k=event_key(dispatch)),), 5, tracking=True).told


def test_a_delivery_before_the_start_or_of_another_channels_order_is_not_told() -> None:
    old = delivery(created_at=NOW - timedelta(days=1))
    others = delivery(6, order_k=order_key("acme", "warehouse", "1"), lines=())
    assert not told((order(),), (old, others), 70, tracking=True).told


# ---- crashes, and a channel that does not answer ---------------------------------------------------------------------


def test_an_answer_that_is_lost_is_looked_up_and_not_told_twice() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, items=True, prices=1))
        play.channel.answers = ["late", OutcomeUnknownError("no answer")]
        async with play.running():
            await play.say(item(), stock(40))
            await asyncio.sleep(5)
        assert play.channel.said == [("item_changed", "TSHIRT-RED"), ("price_changed", "12.5"), ("stock_level", "40")]
        assert not play.channel.doubles
        assert all(each.doubtful for each in play.channel.calls[1])

    run(play())


def test_a_process_that_is_killed_while_it_sends_leaves_what_the_next_one_finishes() -> None:
    async def play() -> None:
        play = Delivery(settings(connector="warehouse", orders=True), "warehouse")
        play.channel.answers = ["late"]
        killed = asyncio.create_task(play.make().run(asyncio.Event()))
        await play.say(order())
        await play.channel.called.wait()
        killed.cancel()  # the order is written down and on its way
        await asyncio.gather(killed, return_exceptions=True)
        # B1 has moved on meanwhile
        await play.say(replace(order(), status="cancelled", reading=2))
        async with play.running():
            await asyncio.sleep(5)
        assert play.channel.said == [("order_released", "1001"), ("order_withdrawn", "cancelled")]
        assert not play.channel.doubles

    run(play())


def test_a_process_that_has_lost_the_connector_tells_nothing_more() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, interval_s=1))
        first = asyncio.create_task(play.make().run(asyncio.Event()))
        await play.say(item(), stock(40))
        await asyncio.sleep(3)
        async with play.running():
            await asyncio.sleep(3)
            await play.say(replace(stock(30), reading=2))
            await asyncio.sleep(5)
        with pytest.raises(LostRaceError):
            await asyncio.wait_for(first, 60)
        assert [figure for _, figure in play.channel.said] == ["40", "30"]

    run(play())


def test_one_refusal_stops_nothing_and_is_tried_again_when_the_figure_changes() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, interval_s=1))
        play.channel.answers = ["refused"]
        async with play.running():
            await play.say(item(), stock(40), item("B"), stock(5, code="B"))
            await asyncio.sleep(3)
            states = await play.states()
            assert sorted(each.state for each in states.values()) == ["dead", "sent"]
            dead = next(each for each in states.values() if each.state == "dead")
            assert dead.reason == "channel_refused"
            figure = int(content(dead)["sellable"])
            await asyncio.sleep(60)
            assert len(play.channel.calls) == 1
            code = "TS001-R" if figure == 40 else "B"
            await play.say(replace(stock(figure + 1, code=code), reading=2))
            await asyncio.sleep(5)
        assert len(play.channel.told) == 2

    run(play())


def test_an_effect_without_an_end_does_not_hold_up_the_others_and_is_given_up_in_time() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, interval_s=1))

        class Broken(Channel):
            async def deliver(self, effects: Any) -> Any:
                self.answers = ["unknown" if each.content["sku"] == "B" else "sent" for each in effects]
                return await super().deliver(effects)

        play.channel = Broken()
        async with play.running():
            await play.say(item("B"), stock(5, code="B"), item(), stock(40))
            await asyncio.sleep(5)
            assert play.channel.said == [("stock_level", "40")]
            await asyncio.sleep(1500)
            state = (await play.states())["level", "B"]
            assert (state.state, state.reason) == ("dead", "channel_refused")
            assert 20 <= state.attempts <= 30

    run(play())


def test_a_channel_that_is_away_is_asked_less_and_less_and_gets_the_latest_when_it_is_back() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, interval_s=1))
        play.channel.answers = [AWAY] * 12
        async with play.running():
            await play.say(item(), stock(40))
            await asyncio.sleep(60)
            assert not play.channel.told
            assert len(play.channel.calls) <= 12
            assert "the channel does not answer" in play.why
            await play.say(replace(stock(33), reading=2))
            await asyncio.sleep(600)
            assert play.why[-1] is None
        assert play.channel.said[-1] == ("stock_level", "33")
        assert not play.channel.doubles

    run(play())


# ---- shadow mode ----------------------------------------------------------------------------------------------------


def test_shadow_mode_tells_nothing_and_going_live_tells_what_is_still_true() -> None:
    async def play() -> None:
        shadowed = Delivery(settings(connector="warehouse", orders=True, mode="shadow"), "warehouse")
        async with shadowed.running():
            await shadowed.say(order(), order(8, k=None, number=None))
            await asyncio.sleep(3)
            states = await shadowed.states()
            assert {each.state for each in states.values()} == {"shadow"}
            await shadowed.say(replace(order(), status="cancelled", reading=2))
            await asyncio.sleep(3)
            assert {subject: each.state for subject, each in (await shadowed.states()).items()} == {
                ("order", "7"): "no_op",
                ("order", "8"): "shadow",
            }
        assert not shadowed.channel.calls
        live = Delivery(settings(connector="warehouse", orders=True), "warehouse")
        live.log = shadowed.log
        async with live.running():
            await asyncio.sleep(3)
        assert live.channel.said == [("order_released", "B1-2008")]

    run(play())


def test_the_shadow_report_compares_with_what_the_channel_shows() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, prices=1, mode="shadow"))
        play.channel.figures = {"TSHIRT-RED": "12.50", "B": "9"}
        async with play.running():
            await play.say(item(), stock("40"), item("B", prices=()), stock(9, code="B"))
            await asyncio.sleep(3)
            first = await shadow.report(play.log, play.config, CODEC)
            await play.say(replace(stock(8, code="B"), reading=2))
            await asyncio.sleep(3)
            second = await shadow.report(play.log, play.config, CODEC)
        assert not play.channel.calls
        (level,) = first  # the price, and B's level, are what the channel shows
        assert level.as_json() == {
            "connector": "shop",
            "type": "stock_level",
            "id": "level/TSHIRT-RED",
            "order_id": None,
            "sku": "TSHIRT-RED",
            "from": "12.50",
            "to": "40",
            "since": NOW.isoformat(),
        }
        assert [(each.sku, each.before, each.after) for each in second] == [
            ("TSHIRT-RED", "12.50", "40"),
            ("B", "9", "8"),
        ]

    run(play())


# ---- what people see ------------------------------------------------------------------------------------------------


def test_status_counts_what_was_told_and_is_idle_when_everything_is_seen_through() -> None:
    async def play() -> None:
        play = Delivery(settings(connector="warehouse", orders=True, items=True), "warehouse")
        play.channel.answers = ["sent", "refused"]
        assert (await effects.status(play.log, play.config, CODEC)).busy  # nobody has begun
        async with play.running():
            await play.say(item(), order(), order(8, ship_to=None, k=None, number=None))
            assert (await effects.status(play.log, play.config, CODEC)).busy
            await asyncio.sleep(3)
            told = await effects.status(play.log, play.config, CODEC)
            assert not told.busy
            assert told.counts == {
                "order_released": {"posted": 1, "parked": 1},
                "item_changed": {"dead": 1},
            }
            (parked,) = await effects.of_orders(play.log, play.config, CODEC, {"B1-2008"})
            assert (parked.connector, parked.state, parked.reason) == ("warehouse", "parked", "order_incomplete")
            letters = (await effects.letters(play.log, play.config, CODEC)).values()
            assert sorted((each.state, each.reason, each.owner, each.order_id or each.sku) for each in letters) == [
                ("dead", "channel_refused", "integration", "TSHIRT-RED"),
                ("parked", "order_incomplete", "customer service", "B1-2008"),
            ]
            # The order is cancelled before it was complete, the item gets another name
            await play.say(
                replace(order(8, ship_to=None, k=None, number=None), status="cancelled", reading=2),
                replace(item(), name="T-shirt, red", reading=2),
            )
            await asyncio.sleep(3)
            told = await effects.status(play.log, play.config, CODEC)
            assert told.counts["order_released"] == {"posted": 1, "no_op": 1}
            assert told.counts["item_changed"] == {"posted": 1}

    run(play())


def test_an_item_is_explained_term_by_term() -> None:
    async def play() -> None:
        play = Delivery(settings(stock=True, prices=1, buffer=3))
        other = replace(builders.order("9", builders.order_line(sku="TSHIRT-RED", quantity=4)), source="warehouse")
        other = builders.digested(replace(other, lines=(replace(other.lines[0], location="MAIN"),)))
        play.channel.answers = ["sent", "refused"]
        async with play.running():
            await play.say(item(), order(), replace(stock(40, 2), reading=2), other)
            await asyncio.sleep(3)
            (story,) = await items.stories(play.log, play.config, CODEC, play.clock, "TSHIRT-RED")
            assert [story] == await items.stories(play.log, play.config, CODEC, play.clock, "TS001-R", "shop")
            assert await items.stories(play.log, play.config, CODEC, play.clock, "NONE") == []
        (channel,) = story.as_json()["channels"]
        assert channel["terms"] == [
            {
                "warehouse": "LON1",
                "on_hand": "40",
                "committed": "2",
                "own_open": "2",
                "under_way": "4",
                "figure": "36",
                "as_of": NOW.isoformat(),
            }
        ]
        assert channel["buffer"] == "3"
        assert {(each["id"], each["state"], each["reason"]) for each in channel["told"]} == {
            ("price/TSHIRT-RED", "sent", None),
            ("level/TSHIRT-RED", "dead", "channel_refused"),
        }

    run(play())
