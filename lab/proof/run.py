"""The ledger proof: was every unit and every penny that went in posted once?

It reads what anybody can read: the files that were put in, what the vendors' ledgers say, the dead-letter topics, and
the simulated company's ledger. It shares no code with the pipeline: it imports none of its modules, finds documents by
what people see on them (`NumAtCard`, tracking number, base documents), and does its own sums. The only thing taken from
the pipeline's side is the published schema of a dead letter's state, read as data.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from lab.proof.adjustments import check_adjustments
from lab.proof.amounts import ZERO
from lab.proof.claims import check_claims
from lab.proof.dead_letters import OPEN_STATES, DeadLetterSeen
from lab.proof.dispatches import check_dispatches
from lab.proof.drafts import check_drafts
from lab.proof.ends import accepted_events, check_ends
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings
from lab.proof.invoices import check_invoices
from lab.proof.movements import check_movements, posted_moves
from lab.proof.orders import check_orders
from lab.proof.refunds import check_refunds
from lab.proof.shelves import check_shelves
from lab.proof.strays import check_strays
from lab.proof.terms import Terms
from lab.proof.verdict import Proof


def prove(
    inputs: Mapping[str, Sequence[Path]],
    ledger: Mapping[str, Any],
    letters: Sequence[DeadLetterSeen],
    terms: Terms,
    vendor_events: Mapping[str, Iterable[dict[str, Any]]] | None = None,
    shelves: Mapping[tuple[str, str], Decimal] | None = None,
) -> Proof:
    """Compare what went in with what is in the books.

    Args:
        inputs: The files of each connector, in the order in which it read them.
        ledger: The simulator's `GET /_simulator/ledger`, decimals as text.
        letters: All dead letters, as `read_dead_letters` gives them.
        terms: What the configuration says.
        vendor_events: Connector -> what its vendor's ledger says has happened, each thing once, as events.
        shelves: (sku, place) -> units that a vendor has there at the end: B1 must have as many.
    """
    evidence, findings = Evidence(ledger, letters, terms), Findings()
    accepted = accepted_events(evidence, findings, inputs, vendor_events or {})
    ordered = check_orders(evidence, findings, accepted["order_placed"])
    check_dispatches(evidence, findings, accepted["dispatch_confirmed"], accepted["order_placed"])
    check_invoices(evidence, findings, accepted["order_placed"])
    left_from = {
        event["order_id"]: evidence.place(event, event["location"]) for event in accepted["dispatch_confirmed"]
    }
    credited = check_refunds(evidence, findings, accepted["refund_issued"], left_from)
    check_adjustments(evidence, findings, accepted["stock_adjusted"])
    check_movements(evidence, findings)
    check_shelves(evidence, findings, shelves or {})
    check_claims(evidence, findings)
    check_drafts(evidence, findings)
    check_strays(evidence, findings)
    counters = {name: int(ledger["counters"][name]) for name in ("calls", "document_sets", "previews", "refused")}
    flows = check_ends(findings)
    return Proof(
        flows=flows,
        reasons=Counter(letter.reason for letter in evidence.letters if letter.state in OPEN_STATES),
        discrepancies=tuple(findings.discrepancies),
        units_expected=sum((abs(units) for units in findings.moves.values()), ZERO),
        units_posted=sum((abs(units) for units in posted_moves(evidence).values()), ZERO),
        ordered=ordered,
        invoiced=sum((Decimal(one["DocTotal"]) for one in evidence.documents["Invoices"]), ZERO),
        credited=credited,
        stock_events=len(accepted["stock_adjusted"]),
        stock_documents=sum(
            len(evidence.documents[name]) for name in ("InventoryGenEntries", "InventoryGenExits", "StockTransfers")
        ),
        documents=sum(map(len, evidence.documents.values())),
        naive_writes=findings.counts["order_placed"]["posted"]
        + 2 * findings.counts["dispatch_confirmed"]["posted"]
        + findings.counts["refund_issued"]["posted"]
        + len(accepted["stock_adjusted"]),
        **counters,
    )
