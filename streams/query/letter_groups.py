"""Open dead letters by what has to be done about them: one row a reason and cause, with what is at stake. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from schemas.events import DispatchConfirmed, OrderCancelled, OrderPlaced, RefundIssued, StockAdjusted
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState, StockBatch

_CAUSE_CHARS = 160
_SUBJECTS = 10
_ZERO = Decimal(0)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|\u201c[^\u201d]*\u201d|\[[^\]]*\]")
#: B1's name; SAP's codes, HTTP's and the numbers that a notification procedure gives its own texts tell causes apart.
_CODES = re.compile(r"\bB1\b|(?:\bcode |\bHTTP )-?\d+|(?<![\w.])-\d{1,5}(?![\w.])|(?<!\w)\(\d{1,6}\)")
_NAMES = re.compile(r"[\w.@/+-]*\d[\w.@/+-]*")


@dataclass(frozen=True, slots=True)
class Stake:
    """What an event moves: units, and money where it has some.

    Attributes:
        units: Inventory units, whichever way.
        amount: In `currency`, gross where the event says so.
    """

    units: Decimal = _ZERO
    amount: Decimal | None = None
    currency: str | None = None


def stake_of(event: object) -> Stake:
    """What is at stake in a decoded event or stock batch; nothing in what is neither."""
    match event:
        case OrderPlaced():
            shipping = _ZERO if event.shipping is None else event.shipping.amount + (event.shipping.tax_amount or _ZERO)
            net = sum(
                (x.quantity * x.unit_price - (x.discount or _ZERO) + (x.tax_amount or _ZERO) for x in event.lines),
                shipping,
            )
            total = event.grand_total if event.grand_total is not None else net
            return Stake(_sum(x.quantity for x in event.lines), total, event.currency)
        case RefundIssued():
            parts = [x.amount + (x.tax_amount or _ZERO) for x in event.lines]
            parts += [x.amount + (x.tax_amount or _ZERO) for x in (event.shipping, event.adjustment) if x is not None]
            total = event.total if event.total is not None else _sum(parts)
            return Stake(_sum(x.quantity for x in event.lines), total, event.currency)
        case OrderCancelled():
            return Stake(_sum(x.quantity for x in event.lines or ()))
        case DispatchConfirmed():
            return Stake(_sum(x.quantity for x in event.lines))
        case StockAdjusted():
            return Stake(abs(event.delta))
        case StockBatch():
            return Stake(_sum(map(abs, event.deltas)))
        case _:
            return Stake()


def cause_of(letter: DeadLetterState) -> str:
    """Its words without what belongs to this event alone: equal for dead letters that one act fixes.

    SAP's codes stay, names and numbers go: `item 'MUG-1' is not in B1` is `item ... is not in B1`.
    """
    if letter.cause:
        return letter.cause
    text = (letter.error or "").split("; ")[0]
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\x00{chr(0xE000 + len(kept) - 1)}\x00"  # neither quoted nor a name

    text = _QUOTED.sub("...", _CODES.sub(keep, text))
    for own in sorted(
        {x for x in (letter.order_id, letter.event_id, letter.sku, letter.k) if x}, key=len, reverse=True
    ):
        text = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", "...", text)
    text = _NAMES.sub("...", text)
    for number, code in enumerate(kept):
        text = text.replace(f"\x00{chr(0xE000 + number)}\x00", code)
    text = re.sub(r"\.\.\.(?:,? \.\.\.)+", "...", " ".join(text.split()))
    return text[:_CAUSE_CHARS]


@dataclass(slots=True)
class LetterGroup:
    """Dead letters of one reason, cause, state and owner: one thing to act on.

    Attributes:
        letters: How many.
        orders: Of how many orders.
        events: Source events in them; a stock batch has several.
        units: Of their events.
        amounts: By currency.
        oldest: When the first of them failed.
        blocks: Ids of what waits behind them, in the order of arrival.
        subjects: What they are about, the most frequent first: skus, or what they wait for.
    """

    reason: str
    cause: str
    state: str
    owner: str
    oldest: datetime
    letters: int = 0
    events: int = 0
    units: Decimal = _ZERO
    amounts: dict[str, Decimal] = field(default_factory=dict)
    blocks: list[str] = field(default_factory=list)
    order_ids: set[str] = field(default_factory=set)
    subjects: Counter[str] = field(default_factory=Counter)

    def add(self, letter: DeadLetterState, stake: Stake) -> None:
        self.letters += 1
        self.events += max(1, len(letter.members))
        self.units += stake.units
        if stake.amount is not None and stake.currency is not None:
            self.amounts[stake.currency] = self.amounts.get(stake.currency, _ZERO) + stake.amount
        self.oldest = min(self.oldest, letter.first_failed_at)
        if letter.order_id is not None:
            self.order_ids.add(letter.order_id)
        subject = letter.sku or letter.waits_for
        if subject:
            self.subjects[subject] += 1

    def as_json(self) -> dict[str, Any]:
        """As `streams dlq group --json` has it; `amount` is null where there is no money, or several currencies."""
        amounts = {currency: _plain(amount) for currency, amount in sorted(self.amounts.items())}
        return {
            "reason": self.reason,
            "cause": self.cause,
            "state": self.state,
            "owner": self.owner,
            "letters": self.letters,
            "events": self.events,
            "units": _plain(self.units),
            "amount": next(iter(amounts.values())) if len(amounts) == 1 else None,
            "amounts": amounts,
            "orders": len(self.order_ids),
            "oldest": self.oldest.isoformat(),
            "blocks": self.blocks,
            "subjects": [subject for subject, _ in self.subjects.most_common(_SUBJECTS)],
        }


def group(
    chosen: Iterable[DeadLetterState], every: Mapping[str, DeadLetterState], stakes: Mapping[str, Stake]
) -> list[LetterGroup]:
    """Dead letters as things to act on, the one that most depends on first.

    Args:
        chosen: Those that are asked for. What is held by another one of them is no row of its own: it is in `blocks`.
        every: All that stand, by id.
        stakes: Of those that are chosen, by id, where their bytes could be read.
    """
    letters = {letter.id: letter for letter in chosen}
    behind: defaultdict[str, list[DeadLetterState]] = defaultdict(list)
    for letter in every.values():
        if letter.state == "held" and (root := root_of(letter, every)) != letter.id:
            behind[root].append(letter)
    groups: dict[tuple[str, str, str, str], LetterGroup] = {}
    for letter in letters.values():
        if letter.state == "held" and (root := root_of(letter, every)) != letter.id and root in letters:
            continue
        key = letter.reason, cause_of(letter), letter.state, letter.owner
        row = groups.setdefault(key, LetterGroup(*key, oldest=letter.first_failed_at))
        row.add(letter, stakes.get(letter.id, Stake()))
        row.blocks += [one.id for one in sorted(behind[letter.id], key=lambda one: (one.sequence, one.id))]
    return sorted(groups.values(), key=lambda row: (-row.letters - len(row.blocks), row.oldest, row.reason, row.cause))


def root_of(letter: DeadLetterState, every: Mapping[str, DeadLetterState]) -> str:
    """The id of what a held event waits behind in the end; its own where nothing open holds it, or it itself does."""
    own, seen = letter.id, {letter.id}
    while letter.state == "held" and (before := every.get(letter.blocked_by or "")) is not None:
        if before.state not in OPEN_STATES:
            break
        if before.id in seen:
            return own
        seen.add(before.id)
        letter = before
    return letter.id


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, _ZERO)


def _plain(number: Decimal) -> str:
    """Without an exponent and without zeros at the end."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
