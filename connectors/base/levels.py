"""Levels ("there are 100 now") to deltas, whose sum is always the last level less the first. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from connectors.base.dispatches import NO_DISPATCHES, Dispatches
from connectors.base.log import milliseconds
from connectors.base.source import Item, RefusedRecord, StockLevel
from schemas.events import DispatchConfirmed, FactEvent, StockAdjusted, digest_of
from schemas.readings import B1Reading

#: sku and location, in the source's own names.
Place = tuple[str, str]
#: The sequence of a place without a level; every level's is above it.
NO_LEVEL = -1


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
    moved on. `dispatches` are those whose units counts contain, where they do; a place of which only dispatches are
    known has the sequence `NO_LEVEL`.
    """

    sequence: int
    level: Decimal
    pending: tuple[Pending, ...] = ()
    dispatches: Dispatches = NO_DISPATCHES


@dataclass(frozen=True, slots=True)
class Resolved:
    """What became of a batch.

    Attributes:
        items: Events and refused records, in order; no levels any more.
        changes: New states of places, to be written down before `items` are published.
        no_ops: Levels that were a baseline, stale or unchanged.
    """

    items: tuple[FactEvent | B1Reading | RefusedRecord, ...]
    changes: Mapping[Place, Level]
    no_ops: int


def resolve(
    items: Iterable[Item | B1Reading], known: Mapping[Place, Level], *, net_since: datetime | None = None
) -> Resolved:
    """Turn the levels of a batch into deltas; everything else passes.

    The first level of a place is its baseline; it, a stale one (its sequence is not above the last) and an unchanged
    one are no-ops. A level whose delta is already pending gives that same delta again.

    Args:
        items: In the source's order.
        known: The places' states; not changed here.
        net_since: Counts fall with each dispatch from then on, whose units are taken off their change; None: they know
            nothing of dispatches.
    """
    out: list[FactEvent | B1Reading | RefusedRecord] = []
    changes: dict[Place, Level] = {}
    repeated: set[Place] = set()
    no_ops = 0
    for item in items:
        if not isinstance(item, StockLevel):
            out.append(item)
            if net_since is not None and isinstance(item, DispatchConfirmed) and item.occurred_at >= net_since:
                _remember(item, changes, known)
            continue
        place = (item.sku, item.location)
        last = changes.get(place) or known.get(place)
        again = _pending(item, changes.get(place)) or _pending(item, known.get(place))
        if again is not None:
            repeated.add(place)
            out.append(again)
        elif last is None or last.sequence == NO_LEVEL:
            dispatches = last.dispatches if last is not None else NO_DISPATCHES
            if net_since is not None:
                dispatches = dispatches.begin(milliseconds(item.occurred_at))
            changes[place] = Level(item.sequence, item.level, (), dispatches)
            no_ops += 1
        elif item.sequence <= last.sequence:
            no_ops += 1
        else:
            # The deltas of an earlier batch are behind us, unless this batch has brought one of them again.
            pending = last.pending if place in changes or place in repeated else ()
            shipped, dispatches = Decimal(0), last.dispatches
            if net_since is not None:
                shipped, dispatches = dispatches.take_off(milliseconds(item.occurred_at))
            delta = item.level - (last.level - shipped)
            if not delta:
                no_ops += 1
            else:
                event = _delta(item, delta)
                pending = (*pending, Pending(item.sequence, event))
                out.append(event)
            changes[place] = Level(item.sequence, item.level, pending, dispatches)
    return Resolved(tuple(out), changes, no_ops)


def _remember(event: DispatchConfirmed, changes: dict[Place, Level], known: Mapping[Place, Level]) -> None:
    """Remember what a dispatch takes from each place."""
    units: dict[str, Decimal] = {}
    for line in event.lines:
        units[line.sku] = units.get(line.sku, Decimal(0)) + line.quantity
    for sku, quantity in units.items():
        place = (sku, event.location)
        last = changes.get(place) or known.get(place) or Level(NO_LEVEL, Decimal(0))
        dispatches = last.dispatches.add(event.shipment_id, milliseconds(event.occurred_at), quantity)
        if dispatches is not last.dispatches:
            changes[place] = replace(last, dispatches=dispatches)


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
