"""I1, I2: every fact has one end."""

from collections.abc import Mapping
from typing import Any

from tests.chaos.generator import NO_OP, POSTED
from tests.chaos.invariants.view import COUNTED_AS, OPEN_STATES, Fact, View, identity_of, key_of, place_name, token_of

_DOCUMENT_OF = {"order_placed": "Orders", "dispatch_confirmed": "DeliveryNotes", "refund_issued": "CreditNotes"}


def check_end(view: View, place: Fact, event: Mapping[str, Any], first: Mapping[tuple[str, ...], Fact]) -> None:
    flow = place[0].replace("-", "_")
    letter = view.letter_of_fact.get(place)
    state = letter.state["state"] if letter is not None else None
    if flow == "stock_adjusted":
        end = _stock_end(view, place)
    elif first[identity_of(place, event)] != place:
        end = OPEN_STATES.get(state or "", NO_OP)
        if end != NO_OP and letter is not None and letter.state["reason"] != "id_reuse":
            view.report(
                "letter", place_name(place), "no letter, or id_reuse, for what came before", letter.state["reason"]
            )
        same = token_of(event) == token_of(view.facts[first[identity_of(place, event)]])
        if (end == NO_OP) != same:
            view.report("lost" if same else "double", place_name(place), NO_OP if same else "dead: id_reuse", end)
    else:
        posted = _is_posted(view, flow, event)
        end = OPEN_STATES.get(state or "", "")
        if posted and end:
            view.report("double", place_name(place), "a document or an open letter", f"both: {end}")
        end = end or (POSTED if posted else COUNTED_AS.get(state or "", ""))
        if state == "posted" and not posted:
            end = ""
    if not end:
        view.report("lost", f"{place_name(place)} ({token_of(event)})", "an end", "none")
    view.end_of_fact[place] = end
    view.ends[flow][end or "lost"] += 1


def _is_posted(view: View, flow: str, event: Mapping[str, Any]) -> bool:
    """Whether B1 has it: its claim and its documents."""
    source = event["source"]
    own = {"order_placed": "order_id", "dispatch_confirmed": "shipment_id", "refund_issued": "refund_id"}
    k = key_of(flow, source, event[own.get(flow, "event_id")])
    if k not in view.claims:
        return False
    view.expected_ks.add(k)
    if flow == "dispatch_confirmed":
        invoice = key_of("invoice", source, event["shipment_id"])
        view.expected_ks.add(invoice)
        if len(view.documents.get(invoice, ())) != 1:
            view.report("lost", f"invoice of dispatch {event['shipment_id']}", 1, len(view.documents.get(invoice, ())))
    if flow in _DOCUMENT_OF:
        found = [one for one in view.documents.get(k, ()) if one["entity"] == _DOCUMENT_OF[flow]]
        if len(found) != 1:
            view.report("double" if len(found) > 1 else "lost", f"{flow} {k}", "1 document", len(found))
    return True


def _stock_end(view: View, place: Fact) -> str:
    _, partition, offset = place
    here = (partition, offset)
    letter = view.letter_of_fact.get(place)
    if here in view.members:
        batch, k = view.members[here]
        if here in view.skipped or letter is not None:
            view.report("double", place_name(place), "a member or skipped", "both")
        if k is None:
            return ""
        letters = [one.state["state"] for one in view.letter_of_k.get(k, ())]
        if any(state in OPEN_STATES for state in letters):
            if view.standing.get(k):
                view.report("double", f"stock batch {k}", "a document or an open letter", "both")
            return next(OPEN_STATES[state] for state in letters if state in OPEN_STATES)
        if view.standing.get(k):
            return POSTED
        return NO_OP if batch["net"] == 0 else ""
    if here in view.skipped:
        if letter is not None:
            return OPEN_STATES.get(letter.state["state"], NO_OP)
        why = view.skipped[here]["why"]
        return NO_OP if why in ("repeat", "flow_off", "before_start", "returned_by_refund") else ""
    return ""
