"""I3, I1: stock documents move what was accepted and is in no dead letter."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from schemas.events import (
    StockAdjusted,
    identity,
)
from schemas.letters import OPEN_STATES
from streams.chain.keys import batch_key
from tests.simulation.history import WAREHOUSES
from tests.simulation.invariants.view import View

_ZONE = ZoneInfo("Europe/London")


def check_stock(view: View, documents: Mapping[str, list[Mapping[str, Any]]]) -> int:
    """I3: movements of stock documents = deltas of what was accepted and is not in a dead letter.

    Answers how many were posted.
    """
    counted: dict[tuple[str, ...], StockAdjusted] = {}
    known: set[tuple[str, ...]] = set()
    for _, fact in sorted(view.facts.items(), key=lambda item: item[0]):
        event = fact.event
        if isinstance(event, StockAdjusted) and (event.company, *identity(event)) not in known:
            known.add((event.company, *identity(event)))
            old = event.observed_at - event.occurred_at > timedelta(days=35)
            if event.location in WAREHOUSES and event.reason != "return" and not old:
                counted[event.company, *identity(event)] = event
    sealed = {
        (batch.company, event_id, batch.sku, batch.location): (batch_key(batch), batch)
        for chain in view.sealed.values()
        for _, epoch in chain.accepted
        for batch in epoch.batches
        for event_id in batch.event_ids
    }
    if sealed.keys() != counted.keys():
        view.report(
            f"I1: counted {sorted(sealed.keys() - counted.keys())}, not counted "
            f"{sorted(counted.keys() - sealed.keys())}"
        )
        return -1
    letters = {
        letter.k
        for letter in view.letters.values()
        if letter.event_type == "stock_batch" and letter.state in OPEN_STATES
    }
    wanted: Counter[Any] = Counter()
    posted = 0
    for key, event in counted.items():
        k, batch = sealed[key]
        standing = any(view.is_posted(document.k) for document in view.batch_documents[k])
        if batch.net and standing == (k in letters):
            view.report(f"I1: batch {k} is {'posted and a letter' if standing else 'neither posted nor a letter'}")
        if k in letters:
            continue
        posted += bool(batch.net)
        day = event.occurred_at.astimezone(_ZONE).date().isoformat()
        wanted[event.company, event.sku, WAREHOUSES[event.location], event.reason, day] += event.delta
        if event.to_location is not None:
            wanted[event.company, event.sku, WAREHOUSES[event.to_location], event.reason, day] -= event.delta
    moved: Counter[Any] = Counter()
    for lying in documents.values():
        for document in lying:
            day, company = document["DocDate"][:10], document["company"]
            for line in document.get("DocumentLines", ()) if document["object"] in (59, 60) else ():
                sign = 1 if document["object"] == 59 else -1
                place = (company, line["ItemCode"], line["WarehouseCode"], line["FreeText"], day)
                moved[place] += sign * Decimal(line["Quantity"])
            for line in document.get("StockTransferLines", ()):
                moved[company, line["ItemCode"], line["FromWarehouseCode"], "transfer", day] -= Decimal(
                    line["Quantity"]
                )
                moved[company, line["ItemCode"], line["WarehouseCode"], "transfer", day] += Decimal(line["Quantity"])
    for key in wanted.keys() | moved.keys():
        if wanted[key] != moved[key]:
            view.report(f"I3: {key}: {moved[key]} in B1, {wanted[key]} came")
    return posted
