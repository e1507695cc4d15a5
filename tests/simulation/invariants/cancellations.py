"""I5: a dispatch that was published before its order was cancelled is not refused because of that."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from schemas.events import (
    DispatchConfirmed,
    OrderCancelled,
    OrderPlaced,
    StockAdjusted,
)
from streams.chain.keys import event_key
from tests.simulation.invariants.view import View, order_of, units_of


def check_cancellations(view: View, first: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """I5: a dispatch that was published before its order was cancelled is not refused because of that."""
    stamps: dict[str, int] = {}
    cancelled: dict[tuple[str, str], int] = {}
    for place, fact in sorted(view.facts.items(), key=lambda item: item[0]):
        if fact.event is None or isinstance(fact.event, StockAdjusted):
            continue
        stamp = view.broker.partitions[place[0], place[1]].records[place[2]].timestamp_ms
        stamps.setdefault(event_key(fact.event), stamp)
        if isinstance(fact.event, OrderCancelled):
            cancelled[order_of(fact.event)] = min(stamp, cancelled.get(order_of(fact.event), stamp))
    shipped: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    ordered: dict[tuple[str, str], Any] = {}
    for k, event in first.items():
        if isinstance(event, OrderPlaced) and len({line.sku for line in event.lines}) == len(event.lines):
            if stamps[k] <= cancelled.get(order_of(event), -1):
                ordered[order_of(event)] = event
        elif isinstance(event, DispatchConfirmed) and k in documents:
            shipped[order_of(event)] += units_of(event.lines)
    for letter in view.letters.values():
        event = first.get(letter.k or "")
        if (
            letter.reason != "over_delivered"
            or letter.state != "dead"
            or event is None
            or order_of(event) not in ordered
        ):
            continue
        units = units_of(event.lines) + shipped[order_of(event)]
        room = all(count <= units_of(ordered[order_of(event)].lines)[sku] for sku, count in units.items())
        if room and stamps[letter.k or ""] < cancelled[order_of(event)]:
            view.report(f"I5: {letter.k} was refused for a cancellation that was published after it")
