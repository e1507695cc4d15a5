"""What the invariants report, and the comparisons that they share."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from lab.proof.amounts import ZERO
from lab.proof.events import FLOWS
from lab.proof.verdict import Discrepancy


class Findings:
    """What the invariants have found so far.

    Attributes:
        discrepancies: Everything that does not balance.
        counts: Flow -> how many lines were received, and how they ended.
        judged: Ids of dead letters that belong to a line of the input.
        moves: (item, warehouse) -> units that the input moves in.
        open_moves: The same of events that are in a dead-letter topic.
    """

    def __init__(self) -> None:
        self.discrepancies: list[Discrepancy] = []
        self.counts: dict[str, Counter[str]] = {flow: Counter() for flow in FLOWS}
        self.judged: set[str] = set()
        self.moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)
        self.open_moves: dict[tuple[str, str], Decimal] = defaultdict(lambda: ZERO)

    def report(self, kind: str, where: str, expected: str, found: str) -> None:
        """Something does not balance."""
        self.discrepancies.append(Discrepancy(kind, where, expected, found))

    def count(self, flow: str, end: str) -> None:
        """One line of a flow was received, or came to an end."""
        self.counts[flow][end] += 1

    def one_document(self, flow: str, where: str, documents: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
        if not documents:
            self.report("lost", where, "1 document", "none, and no dead letter")
            return None
        self.count(flow, "posted")
        if len(documents) > 1:
            numbers = ", ".join(str(document["DocNum"]) for document in documents)
            self.report("double", where, "1 document", f"{len(documents)}: {numbers}")
        return documents[0]

    def unexpected(self, entity: str, left: Mapping[Any, Sequence[Mapping[str, Any]]]) -> None:
        for documents in left.values():
            for document in documents:
                where = f"{entity} {document['DocNum']} ({document.get('NumAtCard')})"
                self.report("document", where, "an accepted event", "none (never sent, or in a dead-letter topic)")

    def base_of(
        self, document: Mapping[str, Any], number: int, entries: Mapping[int, dict[str, Any]]
    ) -> dict[str, Any] | None:
        """The one document that every line is based on."""
        bases = {
            (int(line.get("BaseType") or -1), int(line.get("BaseEntry") or -1)) for line in document["DocumentLines"]
        }
        base = bases.pop() if len(bases) == 1 else (-1, -1)
        if base[0] != number or base[1] not in entries:
            where = f"{document['entity']} {document['DocNum']}"
            self.report("document", where, f"based on one document of type {number}", str(base))
            return None
        return entries[base[1]]

    def same_money(self, where: str, expected: object, found: object) -> None:
        if expected is not None and Decimal(str(expected)) != Decimal(str(found)):
            self.report("money", where, str(expected), str(found))

    def same_units(
        self, where: str, wanted: Mapping[tuple[str, str], Any], there: Mapping[tuple[str, str], Any]
    ) -> None:
        for slot in sorted({*wanted, *there}):
            expected, found = wanted.get(slot, ZERO), there.get(slot, ZERO)
            if expected != found:
                self.report("units", f"{where}: {slot[0]} in {slot[1]}", f"{expected:f}", f"{found:f}")

    def first_difference(self, where: str, wanted: Sequence[tuple[Any, ...]], there: Sequence[tuple[Any, ...]]) -> None:
        if len(wanted) != len(there):
            self.report("units", where, f"{len(wanted)} lines", f"{len(there)} lines")
            return
        number, pair = next(
            (n, pair) for n, pair in enumerate(zip(wanted, there, strict=True), 1) if pair[0] != pair[1]
        )
        kind = "money" if pair[0][:3] == pair[1][:3] else "units"
        self.report(kind, f"{where}, line {number}", " ".join(map(str, pair[0])), " ".join(map(str, pair[1])))

    def same_date(self, where: str, day: str, document: Mapping[str, Any]) -> None:
        """A document is posted on the day of its event."""
        if document["DocDate"][:10] != day:
            self.report("document", f"date of {where}", day, document["DocDate"][:10])
