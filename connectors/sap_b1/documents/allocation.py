"""Which lines of an order or invoice an event's lines are about. Pure; nothing is ever taken twice or from nowhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from connectors.base.errors import Refusal
from connectors.sap_b1.documents.fields import line_at


@dataclass(frozen=True, slots=True)
class Want:
    """An event's line: so many units of an item, of one line of the order where it says which."""

    position: int
    line_id: str | None
    sku: str
    item_code: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class OpenLine:
    """A document's line with what may still be taken from it."""

    line_id: str | None
    item_code: str | None
    free: Decimal

    def suits(self, want: Want) -> bool:
        return self.line_id == want.line_id if want.line_id is not None else self.item_code == want.item_code


@dataclass(frozen=True, slots=True)
class Piece:
    """So many units of want number `want` are taken from place number `place`."""

    want: int
    place: int
    quantity: Decimal


def fill(wants: Sequence[Want], places: Sequence[OpenLine], over: str, what: str) -> list[Piece]:
    """Take every want from the places, in their order; wants that name a line first, so that none takes it from them.

    Args:
        wants: What the event says.
        places: What there is, in line order.
        over: The reason when there is too little: `over_delivered`, `over_credited`.
        what: What the free quantity is called in that refusal: "open", "invoiced and not yet credited".

    Returns:
        The pieces by want, then by place; those of a want add up to its quantity.

    Raises:
        Refusal: `over`, or `invalid_event` for a line that is not there or has another item.
    """
    free = [place.free for place in places]
    pieces: list[Piece] = []
    for i in sorted(range(len(wants)), key=lambda i: wants[i].line_id is None):
        want = wants[i]
        where = line_at(want.position, want.sku)
        suitable = [n for n, place in enumerate(places) if place.suits(want)]
        if want.line_id is not None:
            check_line(want, [places[n].item_code for n in suitable])
        left = want.quantity
        for n in suitable:
            quantity = min(left, free[n])
            if quantity > 0:
                free[n] -= quantity
                left -= quantity
                pieces.append(Piece(i, n, quantity))
        if left:
            raise Refusal(
                over,
                f"{where}: {want.quantity} asked for and {want.quantity - left} {what}; correct the quantity and "
                f"replay, or discard it",
            )
    return sorted(pieces, key=lambda piece: (piece.want, piece.place))


def check_line(want: Want, items: Sequence[str | None]) -> None:
    """A named line must be there, with the item that the event says.

    Raises:
        Refusal: `invalid_event`.
    """
    where = line_at(want.position, want.sku)
    if not items:
        raise Refusal("invalid_event", f"{where}: the order has no line {want.line_id!r}; send the order's own line id")
    if any(item != want.item_code for item in items):
        raise Refusal(
            "invalid_event",
            f"{where}: line {want.line_id!r} of the order is item {items[0]!r}, not {want.item_code!r}; send the "
            f"sku that the line has, or fix the item mapping",
        )


def check_order_lines(ids: Sequence[str]) -> None:
    """A line id names one line.

    Raises:
        Refusal: `invalid_event`.
    """
    twins = sorted({line_id for line_id in ids if ids.count(line_id) > 1})
    if twins:
        raise Refusal("invalid_event", f"line id {twins[0]!r} stands on two lines; give every line its own")
