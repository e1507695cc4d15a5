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
from tests.simulation.invariants.view import View, units_of


def check_cancellations(view: View, first: Mapping[str, Any], documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """I5: a dispatch that was published before its order was cancelled is not refused because of that."""
    stamps: dict[str, int] = {}
    cancelled: dict[str, int] = {}
    for place, fact in sorted(view.facts.items(), key=lambda item: item[0]):
        if fact.event is None or isinstance(fact.event, StockAdjusted):
            continue
        stamp = view.broker.partitions[place[0], place[1]].records[place[2]].timestamp_ms
        stamps.setdefault(event_key(fact.event), stamp)
        if isinstance(fact.event, OrderCancelled):
            cancelled[fact.event.order_id] = min(stamp, cancelled.get(fact.event.order_id, stamp))
    shipped: defaultdict[str, Counter[str]] = defaultdict(Counter)
    ordered: dict[str, Any] = {}
    for k, event in first.items():
        if isinstance(event, OrderPlaced) and len({line.sku for line in event.lines}) == len(event.lines):
            if stamps[k] <= cancelled.get(event.order_id, -1):
                ordered[event.order_id] = event
        elif isinstance(event, DispatchConfirmed) and k in documents:
            shipped[event.order_id] += units_of(event.lines)
    for letter in view.letters.values():
        event = first.get(letter.k or "")
        if (
            letter.reason != "over_delivered"
            or letter.state != "dead"
            or event is None
            or event.order_id not in ordered
        ):
            continue
        units = units_of(event.lines) + shipped[event.order_id]
        room = all(count <= units_of(ordered[event.order_id].lines)[sku] for sku, count in units.items())
        if room and stamps[letter.k or ""] < cancelled[event.order_id]:
            view.report(f"I5: {letter.k} was refused for a cancellation that was published after it")
