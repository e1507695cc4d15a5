"""From an event to what B1 is asked to write, one module per event.

`codes_needed` says what to look up, `build` makes the plan. Pure: the same event, configuration, master data and order
always give the same plan, or the same refusal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from connectors.sap_b1.service_layer import B1Request


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPlan:
    """What to write for one posting.

    Attributes:
        before: To be written on their own first, and before a preview: new customers. Each creates a record under a key
            that depends on the customer alone, so that one that is already there is as good as one just made (R24);
            they need no claim.
        requests: The change set without the claim; empty when `no_op` is set.
        items: ItemCodes whose stock, or committed stock, it moves: the lanes it needs beside its order's.
        expected_total: What B1's total of the first request's document must be, in its currency; None: do not compare.
        no_op: Why there is nothing to write, where there is nothing.
    """

    requests: tuple[B1Request, ...] = ()
    before: tuple[B1Request, ...] = ()
    items: frozenset[str] = frozenset()
    expected_total: Decimal | None = None
    no_op: str | None = None

    @property
    def body(self) -> Mapping[str, object]:
        """The document itself, for a preview."""
        return self.requests[0].body or {}
