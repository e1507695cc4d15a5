"""A seeded history: what a shop and a warehouse write while everything goes wrong, and how each line must end.

It knows nothing of the pipeline. Every distinct content carries a token of its own (`note`, `reason` or tracking
number), so that whatever arrives anywhere can be told apart; a repeat has the token of what it repeats.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from random import Random

SHOP, WAREHOUSE = "shop", "warehouse"
PLACES = {"MAIN": "LON1", "NORTH": "MAN1"}
NOWHERE = "NOWHERE"
ITEMS = tuple(f"A{number:02}" for number in range(12))
LEVELLED = ("L1", "L2")
GHOST = "GHOST"
OPENING = Decimal(1_000_000)

#: How a line may end: posted, no_op, parked, dead; "any" where two sources race and both outcomes are right.
POSTED, NO_OP, PARKED, ANY = "posted", "no_op", "parked", "any"

_PENNY = Decimal("0.01")
_REASONS = ("receipt", "damaged", "lost", "found", "count", "other", "transfer", "return")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        at_s: Seconds after the start at which it is written.
        connector: Who writes it.
        flow: The event's type; "inbox" where nobody can tell.
        text: The line itself, without its end.
        token: Of the content.
        identity: The source's identity of the event, empty where the line cannot be read.
        expected: How the first line of this token must end; `dead:<reason>` for dead ones.
        repeat: Whether it says again what an earlier line said.
        moves: What posting it does to the stock: (item, warehouse, signed units).
        total: What its document must come to, gross, where the event says so.
        published: Whether it becomes a fact; a refused line and a level that changes nothing do not.
    """

    at_s: float
    connector: str
    flow: str
    text: str
    token: str
    identity: tuple[str, ...] = ()
    expected: str = POSTED
    repeat: bool = False
    moves: tuple[tuple[str, str, Decimal], ...] = ()
    total: Decimal | None = None
    published: bool = True


@dataclass(frozen=True, slots=True)
class _OrderLine:
    line_id: str
    sku: str
    quantity: Decimal
    price: Decimal
    discount: Decimal
    net: Decimal
    tax: Decimal


class Generator:
    """Makes a history of so many seconds; the same seed, start and length give the same lines."""

    def __init__(self, seed: int, *, seconds: float, per_second: float, today: datetime | None = None) -> None:
        self._random = Random(f"history {seed}")
        self._seconds = seconds
        self._count = int(seconds * per_second)
        self._start = (today or datetime.now(UTC)).replace(hour=12, minute=0, second=0, microsecond=0)
        self._start -= timedelta(days=2)
        self._lines: list[Line] = []
        self._number = 0
        self._levels: dict[str, tuple[int, Decimal | None]] = {sku: (0, None) for sku in LEVELLED}

    def make(self) -> tuple[Line, ...]:
        """The lines, by the time at which they are written; of one connector, also by what must come first."""
        while len(self._lines) < self._count:
            at_s = self._random.uniform(0, self._seconds)
            if self._random.random() < 0.5:
                self._order(at_s)
            elif self._random.random() < 0.96:
                self._adjustment(at_s)
            else:
                self._broken(at_s)
        for at_s in sorted(self._random.uniform(0, self._seconds) for _ in range(max(6, self._count // 25))):
            self._level(at_s)
        self._again()
        return tuple(sorted(self._lines, key=lambda line: line.at_s))

    # ---- orders

    def _order(self, at_s: float) -> None:
        order_id = f"O{self._next()}"
        location = self._random.choice(tuple(PLACES))
        lines = [self._order_line(number) for number in range(1, self._random.choice((2, 2, 3, 4, 5)))]
        draw = self._random.random()
        if draw < 0.04:
            self._place(at_s, order_id, NOWHERE, lines, "dead:unmapped_location")
            self._dispatch(at_s + 2, order_id, location, [(line, line.quantity) for line in lines], PARKED)
            return
        if draw < 0.06:
            self._place(at_s, order_id, location, [_ghost(line) for line in lines], PARKED)
            return
        if draw < 0.08:  # the order never comes
            self._dispatch(at_s, order_id, location, [(line, line.quantity) for line in lines], PARKED)
            return
        self._place(at_s, order_id, location, lines, POSTED)
        soon = self._random.uniform(-3, 12)
        if draw < 0.18:  # cancelled whole, before anything went out
            self._cancel(at_s + self._random.uniform(0, 6), order_id, None, POSTED)
        elif draw < 0.22:  # cancelled while it goes out: both ends are right, but only one of each
            self._cancel(at_s + 2 + self._random.uniform(0, 3), order_id, None, ANY)
            self._dispatch(at_s + 2, order_id, location, [(line, line.quantity) for line in lines], ANY)
        elif draw < 0.34:  # some of it cancelled, the rest goes out
            line = lines[0]
            less = _part(self._random, line.quantity)
            self._cancel(at_s + self._random.uniform(0, 8), order_id, [(line, less)], POSTED)
            rest = [(line, line.quantity - less), *((other, other.quantity) for other in lines[1:])]
            self._dispatch(at_s + soon, order_id, location, rest, POSTED)
        elif draw < 0.58:  # in parts
            parts: list[list[tuple[_OrderLine, Decimal]]] = [[], []]
            for line in lines:
                first = _part(self._random, line.quantity)
                parts[0].append((line, first))
                parts[1].append((line, line.quantity - first))
            for number, part in enumerate(parts):
                self._dispatch(at_s + soon + 3 * number, order_id, location, part, POSTED)
        elif draw < 0.92:
            self._dispatch(at_s + soon, order_id, location, [(line, line.quantity) for line in lines], POSTED)
            if draw > 0.74:
                self._refund(at_s + soon + self._random.uniform(-4, 8), order_id, location, lines)

    def _order_line(self, number: int) -> _OrderLine:
        quantity = Decimal(self._random.randint(1, 20))
        if self._random.random() < 0.2:
            quantity += Decimal(self._random.randint(1, 999)) / 1000
        price = Decimal(self._random.randint(50, 5000)) / 100
        discount = _pence(quantity * price / 10) if self._random.random() < 0.2 else Decimal(0)
        net = _pence(quantity * price - discount)
        return _OrderLine(str(number), self._item(), quantity, price, discount, net, _pence(net / 5))

    def _place(self, at_s: float, order_id: str, location: str, lines: Sequence[_OrderLine], expected: str) -> None:
        token = self._token()
        total = sum((line.net + line.tax for line in lines), Decimal(0))
        event: dict[str, object] = {
            "type": "order_placed",
            "order_id": order_id,
            "occurred_at": self._moment(at_s),
            "currency": "GBP",
            "note": token,
            "lines": [
                {
                    "line_id": line.line_id,
                    "sku": line.sku,
                    "quantity": f"{line.quantity:f}",
                    "unit_price": f"{line.price:f}",
                    "discount": f"{line.discount:f}" if line.discount else None,
                    "tax_code": "GB-20",
                    "tax_amount": f"{line.tax:f}",
                    "location": location,
                }
                for line in lines
            ],
        }
        if named := self._random.random() < 0.7:
            event["grand_total"] = f"{total:f}"
        self._add(at_s, SHOP, event, token, (order_id,), expected, total=total if named else None)

    def _cancel(
        self, at_s: float, order_id: str, lines: Sequence[tuple[_OrderLine, Decimal]] | None, expected: str
    ) -> None:
        token, event_id = self._token(), f"C{self._next()}"
        event: dict[str, object] = {
            "type": "order_cancelled",
            "event_id": event_id,
            "order_id": order_id,
            "occurred_at": self._moment(at_s),
            "reason": token,
        }
        if lines is not None:
            event["lines"] = [{"line_id": line.line_id, "quantity": f"{units:f}"} for line, units in lines]
        self._add(at_s, SHOP, event, token, (event_id,), expected)

    def _dispatch(
        self, at_s: float, order_id: str, location: str, lines: Sequence[tuple[_OrderLine, Decimal]], expected: str
    ) -> None:
        token, shipment_id = self._token(), f"S{self._next()}"
        event: dict[str, object] = {
            "type": "dispatch_confirmed",
            "shipment_id": shipment_id,
            "order_id": order_id,
            "occurred_at": self._moment(at_s),
            "location": location,
            "tracking_numbers": [token],
            "lines": [
                {"line_id": line.line_id, "sku": line.sku, "quantity": f"{units:f}"} for line, units in lines if units
            ],
        }
        moves = tuple((line.sku, PLACES[location], -units) for line, units in lines)
        self._add(at_s, WAREHOUSE, event, token, (shipment_id,), expected, moves=moves)

    def _refund(self, at_s: float, order_id: str, location: str, lines: Sequence[_OrderLine]) -> None:
        token, refund_id = self._token(), f"R{self._next()}"
        line, restock = self._random.choice(list(lines)), self._random.random() < 0.7
        event: dict[str, object] = {
            "type": "refund_issued",
            "refund_id": refund_id,
            "order_id": order_id,
            "occurred_at": self._moment(at_s),
            "currency": "GBP",
            "reason": token,
            "lines": [
                {
                    "line_id": line.line_id,
                    "sku": line.sku,
                    "quantity": f"{line.quantity:f}",
                    "amount": f"{line.net:f}",
                    "tax_code": "GB-20",
                    "tax_amount": f"{line.tax:f}",
                    "restock": restock,
                    "location": location,
                }
            ],
            "total": f"{line.net + line.tax:f}",
        }
        moves = ((line.sku, PLACES[location], line.quantity),) if restock else ()
        self._add(at_s, SHOP, event, token, (refund_id,), POSTED, moves=moves, total=line.net + line.tax)

    # ---- stock

    def _adjustment(self, at_s: float) -> None:
        token, event_id, sku = self._token(), f"E{self._next()}", self._item()
        location, reason = self._random.choice(tuple(PLACES)), self._random.choice(_REASONS)
        units = Decimal(self._random.randint(1, 40_000_000)).scaleb(-6)
        if self._random.random() < 0.5:
            units = Decimal(self._random.randint(1, 40))
        delta = -units if reason == "transfer" or self._random.random() < 0.5 else units
        event: dict[str, object] = {
            "type": "stock_adjusted",
            "event_id": event_id,
            "occurred_at": self._moment(at_s),
            "sku": sku,
            "location": location,
            "delta": f"{delta:f}",
            "reason": reason,
            "note": token,
        }
        moves = [(sku, PLACES[location], delta)]
        expected = POSTED
        if reason == "transfer":
            target = next(name for name in PLACES if name != location)
            event["to_location"] = target
            moves.append((sku, PLACES[target], -delta))
        elif reason == "return":  # refunds bring goods back
            expected, moves = NO_OP, []
        if self._random.random() < 0.02:
            event["location"] = location = NOWHERE
            expected, moves = "dead:unmapped_location", []
        self._add(at_s, WAREHOUSE, event, token, (event_id, sku, location), expected, moves=tuple(moves))

    def _level(self, at_s: float) -> None:
        """So many are there: the first is the baseline, the difference to the one before is what moves."""
        token, event_id, sku = self._token(), f"V{self._next()}", self._random.choice(LEVELLED)
        sequence, before = self._levels[sku]
        draw = self._random.random()
        level = Decimal(self._random.randint(1, 90_000_000)).scaleb(-5)
        stale = before is not None and draw < 0.1
        if before is not None and draw > 0.9:
            level = before
        at_sequence = sequence - 1 if stale else sequence + 1
        event: dict[str, object] = {
            "type": "stock_adjusted",
            "event_id": event_id,
            "occurred_at": self._moment(at_s),
            "sku": sku,
            "location": "MAIN",
            "level": f"{level:f}",
            "sequence": str(at_sequence),
            "reason": "count",
            "note": token,
        }
        silent = stale or before is None or level == before
        moves = () if silent or before is None else ((sku, PLACES["MAIN"], level - before),)
        if not stale:
            self._levels[sku] = (at_sequence, level)
        identity = (event_id, sku, "MAIN")
        expected = NO_OP if silent else POSTED
        self._add(at_s, WAREHOUSE, event, token, identity, expected, moves=moves, published=not silent)

    # ---- what is wrong with it

    def _broken(self, at_s: float) -> None:
        token = self._token()
        whole = json.dumps({"type": "order_placed", "order_id": f"B{self._next()}", "note": token, "lines": [1, 2, 3]})
        kind = self._random.choice(("cut", "type", "field"))
        match kind:
            case "cut":
                text, flow, expected = whole[: len(whole) - 6], "inbox", "dead:unreadable"
            case "type":
                text, flow, expected = whole.replace("order_placed", "order_dreamt"), "inbox", "dead:unreadable"
            case _:
                text, flow, expected = whole, "order_placed", "dead:invalid_event"
        connector = self._random.choice((SHOP, WAREHOUSE))
        self._lines.append(Line(at_s, connector, flow, text, token, (), expected, published=False))

    def _again(self) -> None:
        """Some lines come again, and some identities come with other content."""
        for line in list(self._lines):
            if not line.identity or "level" in json.loads(line.text):
                continue
            draw, later = self._random.random(), line.at_s + self._random.uniform(0, 15)
            if draw < 0.05:
                self._lines.append(
                    Line(later, line.connector, line.flow, line.text, line.token, line.identity, NO_OP, repeat=True)
                )
            elif draw < 0.08 and line.expected in (POSTED, PARKED):
                token = self._token()
                text = line.text.replace(line.token, token)
                reused = "dead:id_reuse"
                self._lines.append(Line(later, line.connector, line.flow, text, token, line.identity, reused))

    # ---- small parts

    def _add(
        self,
        at_s: float,
        connector: str,
        event: Mapping[str, object],
        token: str,
        identity: tuple[str, ...],
        expected: str,
        *,
        moves: Iterable[tuple[str, str, Decimal]] = (),
        total: Decimal | None = None,
        published: bool = True,
    ) -> None:
        text = json.dumps(event, separators=(",", ":"))
        flow = str(event["type"])
        self._lines.append(
            Line(
                max(0.0, at_s), connector, flow, text, token, identity, expected, False, tuple(moves), total, published
            )
        )

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _token(self) -> str:
        return f"t{self._next():06}t"

    def _item(self) -> str:
        """A few items have most of the movements."""
        return ITEMS[min(int(self._random.paretovariate(0.8)) - 1, len(ITEMS) - 1)]

    def _moment(self, at_s: float) -> str:
        # A history of two minutes spans two days: two posting dates.
        return (self._start + timedelta(seconds=at_s * 86_400 / max(self._seconds, 1))).isoformat()


class Writer:
    """Writes the lines of a history as files of the two connectors, each as `.part` and then renamed."""

    def __init__(self, lines: Sequence[Line], inbox: Path) -> None:
        self._left = list(lines)
        self._inbox = inbox
        self._files = 0
        for connector in (SHOP, WAREHOUSE):
            (inbox / connector).mkdir(parents=True, exist_ok=True)

    def write(self, upto_s: float) -> int:
        """Write what is due; the number of lines."""
        due = [line for line in self._left if line.at_s <= upto_s]
        self._left = self._left[len(due) :]
        for connector in (SHOP, WAREHOUSE):
            texts = [line.text for line in due if line.connector == connector]
            if texts:
                self._files += 1
                part = self._inbox / connector / f"{self._files:06}.jsonl.part"
                part.write_text("\n".join(texts) + "\n", encoding="utf-8")
                part.rename(part.with_suffix(""))
        return len(due)


def master_data() -> dict[str, object]:
    """What the simulated company needs for any history."""
    items = (*ITEMS, *LEVELLED)
    return {
        "Items": [{"ItemCode": item, "ItemName": item} for item in items],
        "Warehouses": [{"WarehouseCode": code, "WarehouseName": name} for name, code in PLACES.items()],
        "VatGroups": [{"Code": "O1", "Rate": "20"}],
        "BusinessPartners": [
            {"CardCode": "C-WEB", "CardName": "Shop customers", "CardType": "cCustomer", "Currency": "GBP"}
        ],
        "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Carriage"}, {"ExpensCode": 2, "Name": "Goodwill"}],
        "ChartOfAccounts": [{"Code": "4900", "Name": "Stock found"}, {"Code": "5100", "Name": "Stock lost"}],
        "stock": [
            {"item": item, "warehouse": code, "quantity": str(OPENING)} for item in items for code in PLACES.values()
        ],
    }


def _part(random: Random, quantity: Decimal) -> Decimal:
    """More than nothing and less than all of it."""
    return (quantity * Decimal(random.randint(1, 9)) / 10).quantize(Decimal("0.001")) or quantity / 2


def _ghost(line: _OrderLine) -> _OrderLine:
    return replace(line, sku=GHOST)


def _pence(amount: Decimal) -> Decimal:
    return amount.quantize(_PENNY, ROUND_HALF_UP)
