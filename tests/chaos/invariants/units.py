"""I3: stock moved as the lines said."""

from collections import defaultdict
from decimal import Decimal

from tests.chaos.generator import OPENING
from tests.chaos.invariants.view import ZERO, View


def check_units(view: View) -> None:
    moved: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
    for movement in view.evidence.ledger["movements"]:
        if movement["object"]:
            moved[movement["item"], movement["warehouse"]] += Decimal(movement["quantity"])
    for item, warehouse in sorted({*moved, *view.moves}):
        expected, found = view.moves[item, warehouse], moved[item, warehouse]
        if expected != found:
            view.report("units", f"{item} in {warehouse}", f"{expected:+f}", f"{found:+f}")
    for row in view.evidence.ledger["on_hand"]:
        expected = OPENING + moved[row["item"], row["warehouse"]]
        if Decimal(row["quantity"]) != expected:
            view.report("units", f"{row['item']} on hand in {row['warehouse']}", f"{expected:f}", row["quantity"])
