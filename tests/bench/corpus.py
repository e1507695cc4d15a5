"""Stock events made from a seed: Zipf items, repeats, bytes that nobody can read; and what they come to."""

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import accumulate
from random import Random

from schemas.codec import Codec
from schemas.events import StockAdjusted, digest_of
from streams.kafka.log import partition_of

COMPANY, SOURCE, LOCATION, WAREHOUSE = "acme", "warehouse", "MAIN", "LON1"
PARTITIONS = 12
REPEATS, MALFORMED = 0.05, 0.001
#: Movements as a warehouse books them, in millionths: mostly single units, some weighed goods.
_DELTAS = (1, 1, 1, 2, 3, 5, 12, -1, -1, -1, -2, -4, Decimal("0.25"), Decimal("-1.375"))
#: Why, for what comes in and what goes out.
_INCOMING, _OUTGOING = ("count", "count", "found"), ("count", "count", "damaged", "damaged", "lost")


def skus(count: int) -> list[str]:
    return [f"SKU-{number:05d}" for number in range(count)]


def weights(count: int, shape: str = "zipf") -> list[float]:
    """Cumulative weights: `zipf` (exponent 1), `uniform`, or `hot` (every second event moves one item)."""
    match shape:
        case "zipf":
            each = [1 / (rank + 1) for rank in range(count)]
        case "uniform":
            each = [1.0] * count
        case "hot":
            each = [float(count - 1), *[1.0] * (count - 1)]
        case _:
            raise ValueError(f"no shape {shape!r}: zipf, uniform or hot")
    return list(accumulate(each))


@dataclass(slots=True)
class Sums:
    """What a corpus comes to: millionths of units by sku, and how many events ended how."""

    units: dict[str, int] = field(default_factory=dict)
    counted: int = 0
    repeats: int = 0
    malformed: int = 0

    def count(self, sku: str, millionths: int) -> None:
        self.units[sku] = self.units.get(sku, 0) + millionths
        self.counted += 1

    def __str__(self) -> str:
        units = hashlib.sha256(json.dumps(sorted(self.units.items())).encode()).hexdigest()[:16]
        return f"{self.counted} counted, {self.repeats} repeats, {self.malformed} malformed, units {units}"


@dataclass(frozen=True, slots=True)
class Made:
    partition: int
    key: bytes
    value: bytes
    event: StockAdjusted | None  # None: malformed


def make(
    codec: Codec,
    events: int,
    sums: Sums,
    *,
    seed: int = 1,
    items: int = 2_000,
    shape: str = "zipf",
    now: datetime | None = None,
) -> Iterator[Made]:
    """Events in order of time, and their sums as they are made.

    Args:
        codec: Writes them.
        events: How many, repeats and malformed ones included.
        sums: Told of each.
        seed: The same one makes the same events.
        items: Distinct skus.
        shape: See `weights`.
        now: When they occurred, about; the present, as too old a corpus would be refused.
    """
    random = Random(seed)
    names, cumulative = skus(items), weights(items, shape)
    partitions = {sku: partition_of(sku.encode(), PARTITIONS) for sku in names}
    recent: deque[Made] = deque(maxlen=1_000)
    start = (now or datetime.now(UTC)) - timedelta(hours=1)
    chosen: list[str] = []
    for number in range(events):
        if not chosen:
            chosen = random.choices(names, cum_weights=cumulative, k=10_000)
        chance = random.random()
        if chance < REPEATS and recent:
            sums.repeats += 1
            yield random.choice(recent)
            continue
        sku = chosen.pop()
        at = start + timedelta(milliseconds=number % 3_000_000)
        delta = Decimal(random.choice(_DELTAS))
        event = StockAdjusted(
            source=SOURCE,
            company=COMPANY,
            event_id=f"adj-{seed}-{number:08d}",
            occurred_at=at,
            observed_at=at,
            digest=b"",
            sku=sku,
            location=LOCATION,
            delta=delta,
            reason=random.choice(_INCOMING if delta > 0 else _OUTGOING),
        )
        event = replace(event, digest=digest_of(event))
        value = codec.encode(event)
        if chance > 1 - MALFORMED:
            sums.malformed += 1
            yield Made(partitions[sku], sku.encode(), value[: len(value) // 2], None)
            continue
        made = Made(partitions[sku], sku.encode(), value, event)
        recent.append(made)
        sums.count(sku, int(event.delta * 1_000_000))
        yield made


def sums_of(units: Mapping[str, int], counted: int, repeats: int, malformed: int) -> str:
    return str(Sums(dict(units), counted, repeats, malformed))


def in_chunks(made: Iterable[Made], size: int = 5_000) -> Iterator[list[Made]]:
    chunk: list[Made] = []
    for one in made:
        chunk.append(one)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
