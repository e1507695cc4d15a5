"""The proof for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lab.proof.verdict import Proof

_MAX_SHOWN = 20  # discrepancies that are named on the screen


def render(proof: Proof) -> RenderableType:
    """The proof for a terminal."""
    flows = Table(title="Every line that went in, and its end", title_justify="left")
    for name in ("flow", "in", "posted", "no-op", "parked", "dead", "unaccounted"):
        flows.add_column(name, justify="left" if name == "flow" else "right")
    for name, ends in proof.flows.items():
        numbers = (ends.received, ends.posted, ends.no_op, ends.parked, ends.dead, ends.unaccounted)
        flows.add_row(name, *(f"{number:,}" for number in numbers))
    books = Table(title="The books", title_justify="left", show_header=False)
    books.add_column()
    books.add_column(justify="right")
    saved = proof.stock_events - proof.stock_documents
    for name, value in (
        ("units moved, net by item and warehouse: told", f"{proof.units_expected:,f}"),
        ("units moved, net by item and warehouse: B1", f"{proof.units_posted:,f}"),
        ("orders, gross", f"{proof.ordered:,}"),
        ("invoices, gross", f"{proof.invoiced:,}"),
        ("credit memos, gross", f"{proof.credited:,}"),
        ("documents in B1", f"{proof.documents:,}"),
        ("ERP calls in all", f"{proof.calls:,}"),
        (
            "  change sets that made documents (one call each: so many)",
            f"{proof.document_sets:,} ({proof.naive_writes:,})",
        ),
        ("  totals asked beforehand (previews)", f"{proof.previews:,}"),
        ("  refused: locked, or there already (a lost answer)", f"{proof.refused:,}"),
        ("stock movements -> documents", f"{proof.stock_events:,} -> {proof.stock_documents:,}"),
        ("ERP calls saved against one per movement", f"{saved:,}"),
        ("lost", f"{proof.count('lost'):,}"),
        ("double", f"{proof.count('double'):,}"),
    ):
        books.add_row(name, value)
    parts: list[RenderableType] = [flows, books]
    if proof.reasons:
        reasons = ", ".join(f"{name} {count}" for name, count in sorted(proof.reasons.items()))
        parts.append(Text(f"Open dead letters by reason: {reasons}"))
    if proof.ok:
        parts.append(Text("PROVED: 0 lost, 0 double; units and money equal to the last digit.", style="bold green"))
        return Group(*parts)
    wrong = Table(title=f"{len(proof.discrepancies)} things do not balance", title_justify="left", style="red")
    for name in ("kind", "where", "expected", "found"):
        wrong.add_column(name)
    for one in proof.discrepancies[:_MAX_SHOWN]:
        wrong.add_row(one.kind, one.where, one.expected, one.found)
    return Group(*parts, wrong, Text("NOT PROVED", style="bold red"))
