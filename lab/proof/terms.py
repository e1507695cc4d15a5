"""What the company agreed."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """What the company agreed, in the words of the input; everything else is read from files and ledger.

    Attributes:
        items: sku -> ItemCode, where they differ.
        places: A location's name -> WhsCode.
        accounts: Reason of a stock movement -> G/L account; a reason without one is posted without.
        default_places: Connector -> WhsCode of its order lines that name no location.
        timezone: Of posting dates.
        returns_by_refund: Whether refunds bring goods back, so that adjustments of reason `return` do nothing.
    """

    items: Mapping[str, str]
    places: Mapping[str, str]
    accounts: Mapping[str, str]
    default_places: Mapping[str, str]
    timezone: str = "Europe/London"
    returns_by_refund: bool = True

    def item(self, sku: str) -> str:
        return self.items.get(sku, sku)
