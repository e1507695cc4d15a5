"""What a source says reaches the broker in its order; what no topic takes is a dead letter, and the rest goes on."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from connectors.base.dead_letters import DeadLetters
from connectors.base.delivery import deliver
from connectors.base.metrics import NoMetrics
from connectors.base.publisher import Publisher
from connectors.base.source import RefusedRecord
from schemas.events import OrderLine, OrderPlaced, digest_of

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Shop:
    name: str = "shop"
    company: str = "acme"


def order(number: str, lines: int = 1) -> OrderPlaced:
    line = OrderLine(line_id="1", sku="TEA", name="x" * 200, quantity=Decimal(1), unit_price=Decimal(1))
    made = OrderPlaced(
        source="shop",
        company="acme",
        event_id=number,
        occurred_at=NOW,
        observed_at=NOW,
        order_id=number,
        currency="GBP",
        lines=tuple(replace(line, line_id=str(n)) for n in range(lines)),
        digest=b"",
    )
    return replace(made, digest=digest_of(made))


async def test_an_order_too_large_for_its_topic_is_a_letter_and_those_around_it_are_published(broker, codec, clock):
    events = [order("1"), order("2", lines=10_000), order("3")]
    publisher, letters = Publisher(broker, codec, clock, str), DeadLetters(broker, codec, clock, str, lambda _: 0)
    for _ in range(2):  # said again it is the same dead letter
        told = await deliver(events, Shop(), publisher, letters, NoMetrics())
    assert [type(each) for each in told] == [OrderPlaced, RefusedRecord, OrderPlaced]
    assert (told[1].reason, told[1].order_id, told[1].event_type) == ("invalid_event", "2", "order_placed")  # type: ignore[union-attr]
    assert "split it" in told[1].error  # type: ignore[union-attr]
    published = [each.value for (topic, _), log in broker.logs.items() if topic == "order-placed" for each in log]
    assert {codec.decode(value, OrderPlaced).order_id for value in published} == {"1", "3"}
    kept = [each for (topic, _), log in broker.logs.items() if topic == "order-placed-dead-letter" for each in log]
    assert len({dict(each.headers)["b1streams.id"] for each in kept}) == 1
    assert kept[0].value.startswith(b'{"')


async def test_the_order_of_what_is_said_is_the_order_of_what_is_sent(broker, codec, clock):
    refused = RefusedRecord(
        event_type="order_placed", reason="invalid_event", error="no", value=b"x", origin="o", digest="d", number=1
    )
    publisher, letters = Publisher(broker, codec, clock, str), DeadLetters(broker, codec, clock, str, lambda _: 0)
    await deliver([order("1"), refused, order("2")], Shop(), publisher, letters, NoMetrics())
    assert broker.calls == [
        "send order-placed",
        "send order-placed-dead-letter",
        "send dead-letter-state",
        "send order-placed",
    ]
