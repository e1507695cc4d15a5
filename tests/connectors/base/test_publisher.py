"""Events of one sku, and of one order, lie on one partition: their order is the source's for every reader."""

from connectors.base.publisher import Publisher, key_of
from tests import builders


def test_stock_of_one_sku_has_one_key_whatever_moved_it(broker, codec, clock):
    publisher = Publisher(broker, codec, clock, str)
    events = [builders.adjustment(f"e{n}", "1", "TEA", location=place) for n, place in enumerate(("MAIN", "BACK"))]
    assert {publisher.prepare(event).key for event in events} == {b"TEA"}


def test_everything_that_happens_to_an_order_has_its_key():
    events = [
        builders.order("1001", builders.order_line()),
        builders.dispatch("S1", "1001", builders.dispatch_line("A", 1)),
        builders.cancellation("1001"),
        builders.refund("R1", builders.refund_line("A", "1"), order_id="1001"),
    ]
    assert {key_of(event) for event in events} == {b"1001"}


def test_a_refund_that_names_no_order_stands_for_itself():
    assert key_of(builders.refund("R1", builders.refund_line("A", "1"), order_id=None)) == b"R1"
