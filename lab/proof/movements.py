"""Invariant: the stock journal moved what the input moved, and explains what is on hand."""

from collections import defaultdict
from decimal import Decimal

from lab.proof.amounts import ZERO
from lab.proof.evidence import Evidence
from lab.proof.findings import Findings


def check_movements(evidence: Evidence, findings: Findings) -> None:
    """Units by item and warehouse: the files against the stock journal, and the journal against what is on hand."""
    posted = posted_moves(evidence)
    for slot in sorted({*posted, *findings.moves}):
        expected, found = findings.moves.get(slot, ZERO), posted.get(slot, ZERO)
        if expected != found:
            findings.report("units", "{} in {}".format(*slot), f"{expected:+f}", f"{found:+f}")
    balance: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for movement in evidence.ledger["movements"]:
        balance[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
    for row in evidence.ledger["on_hand"]:
        level = balance.pop((row["item"], row["warehouse"]), ZERO)
        if level != Decimal(row["quantity"]):
            findings.report("units", f"{row['item']} on hand in {row['warehouse']}", f"{level:f}", row["quantity"])
    for slot, level in balance.items():
        if level:
            findings.report("units", "{} on hand in {}".format(*slot), f"{level:f}", "none")


def posted_moves(evidence: Evidence) -> dict[tuple[str, str], Decimal]:
    moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for movement in evidence.ledger["movements"]:
        if movement["object"]:  # 0 is the opening stock
            moves[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
    return moves
