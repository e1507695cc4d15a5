"""A company's settings and its posting periods."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class NotificationRule:
    """A line of the customer's SBO_SP_TransactionNotification: new documents of an entity set that it refuses.

    Attributes:
        entity: Entity set, `Orders`.
        contains: Text that stands somewhere in the document as it was sent; empty: in every one.
        number: The procedure's own number, and `text` its own words: B1 answers `(number) text`.
        text: Any words.
        breaks: In a change set B1's node dies of the refusal, and Apache answers 502 (B1SLayer#18).
    """

    entity: str
    contains: str = ""
    number: int = 1
    text: str = "refused"
    breaks: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The company's settings: what an administrator of B1 can choose, and what public sources leave open.

    Attributes:
        local_currency: of the books.
        block_negative_stock: whether an issue below zero is refused with -10.
        multi_branch: whether documents need a branch.
        quantity_decimals: the display setting to which quantities are rounded, 0 to 6.
        over_delivery: what happens to a quantity above the base line's open one (depends on B1 settings).
        batches_on_orders: whether an order already needs its batch and serial numbers (else only stock movements do).
        inactive_code: -10 (`... is inactive`) or -5002 (`Invalid Item`): both are seen.
        base_closed_code: -10 (two sources) or -5002 (one).
        locked_code: -2039, or -2035 in its "Object locked" meaning.
        orders_lock_items: whether an order waits for its items' rows (it changes their committed quantity).
        amounts_in_document_currency: whether `LineTotal`, `TaxTotal`, freight and `TaxSum` sent in a foreign-currency
            document are in its currency (else in local currency); public sources are silent.
        keys_on_documents: whether user keys may be made on document tables (SAP's sample has one on a system table; its
            documentation speaks of user tables only).
        credit_on_delivery: whether a credit memo may be based on a delivery.
        atomic_change_sets: whether a change set is applied whole or not at all; else each of its requests is committed
            on its own, up to the first that fails (no public source shows such a build; the doctor looks for it).
        guard: whether the notification procedure has our block, which refuses a second document of one
            `U_STREAMS_KEY` (`docs/guard-procedure.md`).
        may_make_queries: whether our user may store queries ("Modify SQL Queries in Service Layer").
        may_run_queries: whether it may run them.
        notification: what the customer's notification procedure refuses.
        approval: entity sets whose new documents become drafts.
        approval_keeps_draft: whether the draft survives when its change set is rolled back (sources are silent).
    """

    local_currency: str = "GBP"
    block_negative_stock: bool = True
    multi_branch: bool = False
    quantity_decimals: int = 6
    over_delivery: Literal["refuse", "allow"] = "refuse"
    batches_on_orders: bool = False
    inactive_code: int = -10
    base_closed_code: int = -10
    locked_code: int = -2039
    orders_lock_items: bool = True
    amounts_in_document_currency: bool = True
    keys_on_documents: bool = True
    credit_on_delivery: bool = True
    atomic_change_sets: bool = True
    guard: bool = False
    may_make_queries: bool = True
    may_run_queries: bool = True
    notification: tuple[NotificationRule, ...] = ()
    approval: frozenset[str] = frozenset()
    approval_keeps_draft: bool = True

    def changed(self, changes: Mapping[str, Any]) -> "Rules":
        """These rules with some fields replaced, from JSON."""
        values: dict[str, Any] = dict(changes)
        if "notification" in values:
            values["notification"] = tuple(NotificationRule(**one) for one in values["notification"])
        if "approval" in values:
            values["approval"] = frozenset(values["approval"])
        return replace(self, **values)


@dataclass(frozen=True, slots=True)
class Period:
    """A posting period, both ends included."""

    start: date
    end: date
    locked: bool = False
