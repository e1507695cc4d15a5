"""Invariant: every line that went in has exactly one end.

Repeats and dead letters get theirs here; what is accepted must be in the books, and gets its end where it is found
there.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.proof.dead_letters import COUNTED_AS, OPEN_STATES, DeadLetterSeen
from lab.proof.events import canonical, identity_of, input_lines, parsed
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings
from lab.proof.verdict import FlowEnds


def accepted_events(
    evidence: Evidence,
    findings: Findings,
    inputs: Mapping[str, Sequence[Path]],
    vendor_events: Mapping[str, Iterable[dict[str, Any]]],
) -> dict[str, list[dict[str, Any]]]:
    """The events that must be in the books; every other line gets its end here."""
    accepted: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: dict[tuple[str, ...], bytes] = {}
    for connector, line in input_lines(inputs):
        event = parsed(line)
        if event is None:
            _refused(
                evidence, findings, "unreadable", evidence.by_bytes.get(line, []), f"{connector}: {line[:40]!r}..."
            )
            continue
        flow = event["type"]
        identity, event_id = identity_of(connector, event)
        content = hashlib.sha256(repr(canonical(event)).encode()).digest()
        found = [*evidence.by_event.get((flow, event_id), ()), *evidence.by_bytes.get(line, ())]
        if flow == "stock_adjusted":
            found = [letter for letter in found if letter.sku in (None, event["sku"])]
        if identity in seen and seen[identity] == content:
            findings.count(flow, "received")
            findings.count(flow, "no_op")
        elif identity in seen:
            _refused(evidence, findings, flow, [one for one in found if one.reason == "id_reuse"], "/".join(identity))
        else:
            seen[identity] = content
            _first_time(
                evidence, findings, connector, event, [one for one in found if one.reason != "id_reuse"], accepted
            )
    for connector, events in vendor_events.items():
        for event in events:
            found = evidence.by_event.get((event["type"], identity_of(connector, event)[1]), [])
            found = [letter for letter in found if letter.sku in (None, event.get("sku"))]
            _first_time(evidence, findings, connector, event, found, accepted)
    return accepted


def _first_time(
    evidence: Evidence,
    findings: Findings,
    connector: str,
    event: dict[str, Any],
    letters: Sequence[DeadLetterSeen],
    accepted: dict[str, list[dict[str, Any]]],
) -> None:
    flow = event["type"]
    findings.judged.update(letter.id for letter in letters)
    findings.count(flow, "received")
    states = {letter.state for letter in letters}
    ended = next((OPEN_STATES[state] for state in ("dead", "parked", "held") if state in states), None)
    returned = flow == "stock_adjusted" and event["reason"] == "return" and evidence.terms.returns_by_refund
    if ended is not None:
        findings.count(flow, ended)
        _leave_open(evidence, findings, {**event, "source": connector})
    elif returned or any(COUNTED_AS.get(state) == "no_op" for state in states):
        findings.count(flow, "no_op")
    else:
        accepted[flow].append({**event, "source": connector})


def _leave_open(evidence: Evidence, findings: Findings, event: Mapping[str, Any]) -> None:
    """What an event in a dead-letter topic would have moved, which a vendor's shelves have and B1 has not."""
    match event["type"]:
        case "dispatch_confirmed":
            for line in event["lines"]:
                slot = evidence.terms.item(line["sku"]), evidence.place(event, event["location"])
                findings.open_moves[slot] -= Decimal(line["quantity"])
        case "stock_adjusted" if "delta" in event:
            slot = evidence.terms.item(event["sku"]), evidence.place(event, event["location"])
            findings.open_moves[slot] += Decimal(event["delta"])


def _refused(evidence: Evidence, findings: Findings, flow: str, letters: Sequence[DeadLetterSeen], where: str) -> None:
    """A line that must be in a dead-letter topic."""
    findings.count(flow, "received")
    free = [letter for letter in letters if letter.id not in findings.judged]
    if not free:
        findings.report("lost", where, "a dead letter", "none")
        return
    findings.judged.add(free[0].id)
    findings.count(flow, OPEN_STATES.get(free[0].state, "no_op"))


def check_ends(findings: Findings) -> dict[str, FlowEnds]:
    """The ends of each flow; what none of the other invariants has named must not be missing here."""
    flows = {flow: FlowEnds(**counts) for flow, counts in findings.counts.items() if counts}
    for flow, ends in flows.items():
        if ends.unaccounted and not findings.discrepancies:
            findings.report("lost", flow, "every line has one end", f"{ends.unaccounted} unaccounted for")
    return flows
