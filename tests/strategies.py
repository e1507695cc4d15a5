"""Hypothesis strategies for events and records, and the example payloads read into events.

What a strategy draws is valid in itself (quantities positive, lines distinct, columns of one length, digests true), and
as wild as the wire allows: any text, the largest numbers, the oldest times.
"""

import dataclasses
import json
import types
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

import schemas
from schemas import events, records
from schemas.codec import TYPES
from schemas.decimals import decimal_of, unscaled
from schemas.events import EVENT_TYPES, FactEvent, StockAdjusted, digest_of

EXAMPLES = Path(schemas.__file__).parent / "examples"
LARGEST = 10**19 - 1  # millionths

names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
decimals = st.integers(-LARGEST, LARGEST).map(decimal_of)
amounts = st.integers(0, LARGEST).map(decimal_of)
quantities = st.integers(1, LARGEST).map(decimal_of) | st.integers(1, 1000).map(Decimal)
deltas = quantities | quantities.map(Decimal.copy_negate)
digests = st.binary(min_size=16, max_size=16)
longs = st.integers(0, 2**63 - 1)

_SCALARS: dict[Any, SearchStrategy[Any]] = {
    str: names,
    int: longs,
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    Decimal: amounts,
    datetime: times,
    date: st.dates(),
}
_BY_NAME: dict[str, SearchStrategy[Any]] = {
    "company": st.sampled_from(["acme", "beta"]),
    "source": st.sampled_from(["shop", "warehouse"]),
    "currency": st.sampled_from(["GBP", "EUR", "JPY"]),
    "country": st.none() | st.sampled_from(["GB", "DE"]),
    "quantity": quantities,
    "digest": digests,
    "prev_digest": digests,
    "level": st.none() | decimals,
}


def of(cls: type[Any], **fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """A dataclass of `schemas`, by the types and names of its fields; `fields` replaces what is drawn for some."""
    known = _BY_NAME | fields
    hints = get_type_hints(cls).items()
    return st.builds(cls, **{name: known[name] if name in known else _of_hint(hint) for name, hint in hints})


def _of_hint(hint: Any) -> SearchStrategy[Any]:
    if isinstance(hint, types.UnionType):
        return st.none() | _of_hint(next(arg for arg in get_args(hint) if arg is not type(None)))
    if get_origin(hint) is tuple:
        items = get_args(hint)[0]
        distinct = {"unique_by": lambda line: line.line_id} if hasattr(items, "line_id") else {}
        return st.lists(_of_hint(items), max_size=3, **distinct).map(tuple)
    if hint in _RECORDS:
        return _RECORDS[hint]()
    return _SCALARS[hint] if hint in _SCALARS else of(hint)


def _digested(event: FactEvent) -> FactEvent:
    return dataclasses.replace(event, digest=digest_of(event))


def stock_adjusted(**fields: SearchStrategy[Any]) -> SearchStrategy[StockAdjusted]:
    """Movements; a transfer loses at `location` and names `to_location`, as the contract has it."""
    plain = of(
        StockAdjusted,
        **{
            "delta": deltas,
            "reason": st.sampled_from([reason for reason in events.STOCK_REASONS if reason != "transfer"]),
            "to_location": st.none(),
        }
        | fields,
    )
    transfer = of(
        StockAdjusted,
        **{"delta": quantities.map(Decimal.copy_negate), "reason": st.just("transfer"), "to_location": names} | fields,
    )
    return (plain | plain | transfer).map(_digested)


def fact(event_type: str, **fields: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Events of one type, with their true digest."""
    if event_type == "stock_adjusted":
        return stock_adjusted(**fields)
    return of(EVENT_TYPES[event_type], **fields).map(_digested)


def facts() -> SearchStrategy[Any]:
    """Events of any type."""
    return st.sampled_from(sorted(EVENT_TYPES)).flatmap(fact)


@st.composite
def stock_batches(draw: st.DrawFn) -> records.StockBatch:
    """Batches whose columns belong together and whose net is the sum."""
    bound = LARGEST // 10
    members = draw(st.lists(st.tuples(names, longs, st.integers(-bound, bound), digests), max_size=8))
    columns = {
        "event_ids": st.just(tuple(member[0] for member in members)),
        "offsets": st.just(tuple(member[1] for member in members)),
        "deltas": st.just(tuple(decimal_of(member[2]) for member in members)),
        "digests": st.just(b"".join(member[3] for member in members)),
        "net": st.just(decimal_of(sum(member[2] for member in members))),
    }
    return draw(of(records.StockBatch, reason=st.sampled_from(events.STOCK_REASONS), **columns))


@st.composite
def sealed_epochs(draw: st.DrawFn) -> records.SealedEpoch:
    """Epochs of any range; the offsets of their members are not tied to it."""
    start, end = sorted(draw(st.tuples(longs, longs)))
    return draw(of(records.SealedEpoch, start=st.just(start), end=st.just(end)))


_RECORDS: dict[Any, Any] = {records.StockBatch: stock_batches, records.SealedEpoch: sealed_epochs}


def any_record() -> SearchStrategy[Any]:
    """Anything that a codec writes."""
    others = (
        records.Posting,
        records.StockDocument,
        records.DeadLetterState,
        records.Outcome,
        records.Cursor,
        records.Anchor,
        records.Notice,
    )
    return st.one_of(facts(), stock_batches(), sealed_epochs(), *(of(cls) for cls in others))


def record_examples() -> list[Path]:
    """The example of every version of every record: `<name>/v<version>/<example>.json`. Bytes stand there in hex."""
    return sorted(EXAMPLES.glob("*/v*/*.json"))


def examples() -> list[Path]:
    """Those of the events, as a line of a JSON-lines file has them."""
    return [path for path in record_examples() if path.parts[-3] in EVENT_TYPES]


def read_example(path: Path) -> Any:
    """An example as a record: of an event the one that a connector makes of it, digest included."""
    cls, payload = TYPES[path.parts[-3]], json.loads(path.read_text(encoding="utf-8"))
    if path.parts[-3] not in EVENT_TYPES:
        return _from_json(cls, payload)
    event: FactEvent = _from_json(cls, payload | {"digest": ""})
    return _digested(event)


def _from_json(hint: Any, value: Any) -> Any:
    if isinstance(hint, types.UnionType):
        return None if value is None else _from_json(get_args(hint)[0], value)
    if get_origin(hint) is tuple:
        return tuple(_from_json(get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return hint(
            **{name: _from_json(own, value[name]) for name, own in get_type_hints(hint).items() if name in value}
        )
    if hint is Decimal:
        return decimal_of(unscaled(Decimal(value)))
    if hint is datetime:
        return datetime.fromisoformat(value).astimezone(UTC)
    if hint is date:
        return date.fromisoformat(value)
    return bytes.fromhex(value) if hint is bytes else value


def mutate(data: bytes, draw: st.DataObject) -> bytes:
    """One to three bytes changed, taken out or put in."""
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(data)))
        taken, put = draw.draw(st.sampled_from([0, 1, 1, 2])), draw.draw(st.binary(max_size=2))
        data = data[:at] + put + data[at + taken :]
    return data
