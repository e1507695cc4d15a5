"""I9: what still has to happen."""

from schemas.events import (
    DispatchConfirmed,
    StockAdjusted,
)
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState
from schemas.topics import FACTS
from streams.chain.keys import invoice_key
from tests.simulation.invariants.view import View

_WAITS_FOR_EVENT = ("order_not_found", "invoice_not_found")


def undrained(view: View) -> str | None:
    """Why the run is not over: None when nothing more can happen by itself."""
    broker = view.broker
    for (topic, partition), lying in broker.partitions.items():
        if topic in (*FACTS, "stock-sealed", "erp-orders", "erp-stock") and lying.records:
            at = broker.committed.get((topic, partition))
            if at is None or at.offset < len(lying.records):
                return f"{topic}/{partition} is at {at and at.offset} of {len(lying.records)}"
    view.look()
    for letter in view.letters.values():
        if letter.state == "parked" and letter.reason not in _WAITS_FOR_EVENT:
            return f"letter {letter.id} is parked: {letter.reason}: {letter.error}"
        if (
            letter.state == "parked"
            and letter.reason == "order_not_found"
            and view.order_document(letter.company, letter.order_id)
        ):
            return f"letter {letter.id} ({letter.event_type}) waits for order {letter.order_id}, which B1 has"
        if letter.state == "held":
            blocker = view.letters.get(letter.blocked_by or "")
            if blocker is None or blocker.state not in OPEN_STATES:
                return f"letter {letter.id} is held by {letter.blocked_by}, which is {blocker and blocker.state}"
        if letter.state in OPEN_STATES and _is_whole(view, letter):
            return f"letter {letter.id} ({letter.event_type}) is {letter.state}, and B1 has {letter.k}"
    return None


def _is_whole(view: View, letter: DeadLetterState) -> bool:
    """Whether B1 has all of an event whose dead letter is open.

    It landed late, and the dead letter is still to be closed.
    """
    if letter.k not in view.claims or letter.reason in ("id_reuse", "key_conflict"):
        return False
    fact = view.facts.get((letter.topic, letter.partition, letter.offset))
    event = None if fact is None else fact.event
    if isinstance(event, DispatchConfirmed):
        return view.is_posted(invoice_key(event.company, event.source, event.shipment_id))
    return event is not None and not isinstance(event, StockAdjusted)
