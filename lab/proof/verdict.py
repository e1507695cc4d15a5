"""The verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Discrepancy:
    kind: str  # lost | double | units | money | claim | document | letter
    where: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class FlowEnds:
    """What became of the lines of one flow, repeats included."""

    received: int = 0
    posted: int = 0
    no_op: int = 0
    parked: int = 0
    dead: int = 0

    @property
    def unaccounted(self) -> int:
        return self.received - self.posted - self.no_op - self.parked - self.dead


@dataclass(frozen=True, slots=True)
class Proof:
    """The verdict; `ok` is whether nothing was lost, doubled, miscounted or mispriced.

    Attributes:
        flows: Flow -> ends, in lines of input.
        reasons: Reason -> open dead letters.
        discrepancies: Everything that does not balance.
        units_expected, units_posted: Units moved, by absolute value, from the files and in the ledger.
        ordered, invoiced, credited: Money, gross: grand totals of the posted orders, invoices, credit memos.
        stock_events, stock_documents: How many movements became how many documents.
        calls, documents: As the ledger counted them.
        document_sets: Change sets that made documents; `previews` and `refused` (also what was already there when a
            lost answer made us ask again) made none.
        naive_writes: Calls that one for each posted event's document would have taken (a dispatch has two).
    """

    flows: Mapping[str, FlowEnds]
    reasons: Mapping[str, int]
    discrepancies: tuple[Discrepancy, ...]
    units_expected: Decimal
    units_posted: Decimal
    ordered: Decimal
    invoiced: Decimal
    credited: Decimal
    stock_events: int
    stock_documents: int
    calls: int
    document_sets: int
    previews: int
    refused: int
    documents: int
    naive_writes: int

    @property
    def ok(self) -> bool:
        return not self.discrepancies

    @property
    def received(self) -> int:
        return sum(ends.received for ends in self.flows.values())

    def count(self, kind: str) -> int:
        """How many discrepancies of a kind."""
        return sum(1 for one in self.discrepancies if one.kind == kind)
