"""Levels ("there are 100 now") to deltas, whose sum is always the last level less the first. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from connectors.base.source import Item, RefusedRecord, StockLevel
from schemas.events import FactEvent, StockAdjusted, digest_of

#: sku and location, in the source's own names.
Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Pending:
    """A delta that is being, or has been, published; `sequence` is its level's."""

    sequence: int
    event: StockAdjusted


@dataclass(frozen=True, slots=True)
class Level:
    """The last level seen of a place.

    `pending` are the deltas that led to it in the batch that saw it last. They are written down with it before they are
    published, so that after a crash they are published again as they were, not reckoned again from a level that has
    moved on.
    """

    sequence: int
    level: Decimal
    pending: tuple[Pending, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of a batch.

    Attributes:
        items: Events and refused records, in order; no levels any more.
        changes: New states of places, to be written down before `items` are published.
        no_ops: Levels that were a baseline, stale or unchanged.
    """

    items: tuple[FactEvent | RefusedRecord, ...]
    changes: Mapping[Place, Level]
    no_ops: int


def resolve(items: Iterable[Item], known: Mapping[Place, Level]) -> Resolved:
    """Turn the levels of a batch into deltas; everything else passes.

    The first level of a place is its baseline; it, a stale one (its sequence is not above the last) and an unchanged
    one are no-ops. A level whose delta is already pending gives that same delta again.

    Args:
        items: In the source's order.
        known: The places' states; not changed here.
    """
    out: list[FactEvent | RefusedRecord] = []
    changes: dict[Place, Level] = {}
    repeated: set[Place] = set()
    no_ops = 0
    for item in items:
        if not isinstance(item, StockLevel):
            out.append(item)
            continue
        place = (item.sku, item.location)
        last = changes.get(place) or known.get(place)
        again = _pending(item, changes.get(place)) or _pending(item, known.get(place))
        if again is not None:
            repeated.add(place)
            out.append(again)
        elif last is None:
            changes[place] = Level(item.sequence, item.level)
            no_ops += 1
        elif item.sequence <= last.sequence:
            no_ops += 1
        else:
            # The deltas of an earlier batch are behind us, unless this batch has brought one of them again.
            pending = last.pending if place in changes or place in repeated else ()
            if item.level == last.level:
                no_ops += 1
            else:
                event = _delta(item, item.level - last.level)
                pending = (*pending, Pending(item.sequence, event))
                out.append(event)
            changes[place] = Level(item.sequence, item.level, pending)
    return Resolved(tuple(out), changes, no_ops)


def _pending(item: StockLevel, level: Level | None) -> StockAdjusted | None:
    if level is not None:
        for pending in level.pending:
            if pending.event.event_id == item.event_id and pending.sequence == item.sequence:
                return pending.event
    return None


def _delta(item: StockLevel, delta: Decimal) -> StockAdjusted:
    event = StockAdjusted(
        source=item.source,
        company=item.company,
        event_id=item.event_id,
        occurred_at=item.occurred_at,
        observed_at=item.observed_at,
        digest=b"",
        sku=item.sku,
        location=item.location,
        delta=delta,
        reason=item.reason,
        note=item.note,
    )
    return replace(event, digest=digest_of(event))
