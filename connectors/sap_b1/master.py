"""What B1's master data says, as the documents need it: plain data. `master_data` asks for it and fills it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Codes:
    """What to ask for. E-mails are compared without regard to case."""

    items: frozenset[str] = frozenset()
    warehouses: frozenset[str] = frozenset()
    tax_codes: frozenset[str] = frozenset()
    cards: frozenset[str] = frozenset()
    emails: frozenset[str] = frozenset()

    def __or__(self, other: "Codes") -> "Codes":
        return Codes(
            self.items | other.items,
            self.warehouses | other.warehouses,
            self.tax_codes | other.tax_codes,
            self.cards | other.cards,
            self.emails | other.emails,
        )


@dataclass(frozen=True, slots=True)
class Item:
    code: str
    name: str = ""
    valid: bool = True
    valid_from: date | None = None
    valid_to: date | None = None
    frozen: bool = False
    frozen_from: date | None = None
    frozen_to: date | None = None
    inventory_item: bool = True
    kit: bool = False  # a sales bill of materials: no stock of its own, its components move
    sales_item: bool = True
    batch_managed: bool = False
    serial_managed: bool = False
    on_release_only: bool = False  # serial and batch numbers are asked for when goods leave, not when they come
    sales_factor: Decimal = Decimal(1)  # inventory units in one sales unit

    def active_on(self, day: date) -> bool:
        """Whether B1 lets documents of that day use it: inside its valid dates, outside its frozen ones.

        An item that is only frozen, between two dates, is active outside them (B1's "Inactive from ... to").
        """
        if self.frozen and _within(day, self.frozen_from, self.frozen_to):
            return False
        return _within(day, self.valid_from, self.valid_to) if self.valid else self.frozen


@dataclass(frozen=True, slots=True)
class Warehouse:
    code: str
    name: str = ""
    active: bool = True
    branch: int | None = None  # BPL_IDAssignedToInvoice of its documents; None in a company without branches


@dataclass(frozen=True, slots=True)
class TaxCode:
    code: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    code: str
    name: str = ""
    email: str = ""
    currency: str = ""  # "##" takes all
    active: bool = True
    customer: bool = True


@dataclass(frozen=True, slots=True)
class MasterData:
    """What B1 had for the codes that were asked. A code that was asked and is not here does not exist."""

    items: Mapping[str, Item]
    warehouses: Mapping[str, Warehouse]
    tax_codes: Mapping[str, TaxCode]
    cards: Mapping[str, Card]
    cards_by_email: Mapping[str, tuple[Card, ...]]  # by the casefolded e-mail; customers only, in order of CardCode
    quantity_decimals: int = 6  # the company keeps no more: Administration, General Settings, Display


def _within(day: date, start: date | None, end: date | None) -> bool:
    return (start is None or start <= day) and (end is None or day <= end)
