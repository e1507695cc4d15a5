"""What belongs to one company stays out of another's B1; what has an order has one place."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from connectors.base.publisher import key_of
from schemas.events import DispatchConfirmed, StockAdjusted
from streams.chain.keys import event_key, invoice_key
from tests.simulation.broker import Place
from tests.simulation.invariants.view import View


def check_companies(view: View, documents: Mapping[str, list[Mapping[str, Any]]]) -> None:
    """I2 across companies: every document and every claim in a B1 is of an event of its company."""
    owner: dict[str, str] = {}
    for fact in view.facts.values():
        event = fact.event
        if event is None or isinstance(event, StockAdjusted):
            continue
        owner[event_key(event)] = event.company
        if isinstance(event, DispatchConfirmed):
            owner[invoice_key(event.company, event.source, event.shipment_id)] = event.company
    for chain in view.documents.values():
        owner.update({document.k: document.company for _, document in chain.accepted})
    for k, lying in documents.items():
        for document in lying:
            if owner.get(k) != document["company"]:
                view.report(f"I2: {document['company']} has {document['entity']} {k}, which is {owner.get(k)}'s")
    for name, company in view.companies.items():
        for k in view.claims_of(company):
            if owner.get(k) != name:
                view.report(f"I2: {name} has the claim {k}, which is {owner.get(k)}'s")
    for partition, chain in view.sealed.items():
        for _, epoch in chain.accepted:
            for batch in epoch.batches:
                places = [("stock-adjusted", partition, offset) for offset in batch.offsets]
                theirs = {(event.company, event.source) for place in places if (event := view.facts[place].event)}
                if theirs != {(batch.company, batch.source)}:
                    view.report(f"I2: a batch of {batch.company}/{batch.source} has members of {sorted(theirs)}")


def check_keys(view: View) -> None:
    """I5: the events of one sku, and of one order, lie on one partition of their topic, in the source's order."""
    places: defaultdict[tuple[str, ...], set[Place]] = defaultdict(set)
    for (topic, partition, _), fact in view.facts.items():
        event = fact.event
        if event is None:
            continue
        if fact.key != key_of(event):
            view.report(f"I5: {topic}/{partition} has an event of {event.event_id} under another key")
        named = event.sku if isinstance(event, StockAdjusted) else event.order_id
        places[topic, event.company, event.source, named or ""].add((topic, partition))
    for named, lying in places.items():
        if len(lying) > 1:
            view.report(f"I5: events of {named} lie on {sorted(lying)}")
