"""Invariant: what a vendor has in its warehouse is what B1 has there, but for what is still in a dead-letter topic."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal

from lab.proof.amounts import ZERO
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_shelves(evidence: Evidence, findings: Findings, shelves: Mapping[tuple[str, str], Decimal]) -> None:
    """What lies in a vendor's warehouse is what B1 says lies there, but for what is still in a dead-letter topic."""
    there: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for (sku, place), units in shelves.items():
        there[evidence.terms.item(sku), evidence.terms.places.get(place, f"?{place}")] += units
    on_hand = {(row["item"], row["warehouse"]): Decimal(row["quantity"]) for row in evidence.ledger["on_hand"]}
    for slot, shelf in sorted(there.items()):
        units = shelf - findings.open_moves.get(slot, ZERO)
        if on_hand.get(slot, ZERO) != units:
            where = "{} on the shelf in {}".format(*slot)
            findings.report("units", where, f"{units:f}", f"{on_hand.get(slot, ZERO):f}")
