"""I1: every order event is posted, a dead letter, or nothing to do."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from schemas.events import (
    TYPE_NAMES,
    DispatchConfirmed,
    StockAdjusted,
)
from schemas.letters import OPEN_STATES
from streams.chain.keys import event_key, invoice_key
from tests.simulation.invariants.content import check_content
from tests.simulation.invariants.sequence import check_sequence
from tests.simulation.invariants.view import View


def check_order_events(view: View, documents: Mapping[str, list[Mapping[str, Any]]]) -> Counter[str]:
    posted: Counter[str] = Counter()
    first: dict[str, Any] = {}
    for _, fact in sorted(view.facts.items(), key=lambda item: item[0]):
        if fact.event is not None and not isinstance(fact.event, StockAdjusted):
            first.setdefault(event_key(fact.event), fact.event)
    open_ = {
        letter.k: letter
        for letter in view.letters.values()
        if letter.k is not None and letter.state in OPEN_STATES and letter.reason not in ("id_reuse", "key_conflict")
    }
    for k, event in first.items():
        kind, row, letter = TYPE_NAMES[type(event)], view.claims.get(k), open_.get(k)
        whole = row is not None
        if isinstance(event, DispatchConfirmed) and whole:
            whole = view.is_posted(invoice_key(event.company, event.source, event.shipment_id))
            if not whole and letter is None:
                view.report(f"I1: {k} has a delivery, no invoice and no letter")
        if whole and letter is not None:
            view.report(f"I1: {k} is posted, and letter {letter.id} is {letter.state}: {letter.reason}")
        if row is None and letter is None and not view.may_be_nothing(event):
            view.report(f"I1: {k} ({event.event_id}) is neither posted nor a letter")
        if row is not None:
            if row["U_DIGEST"] != event.digest.hex():
                view.report(f"I1: {k} was posted with other content than came first")
            posted[kind] += letter is None
            check_content(view, k, event, documents)
    check_sequence(view, first, documents)
    return posted
