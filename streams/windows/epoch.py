"""One epoch: what a contiguous range of stock events comes to. Pure; the clock's reading and the seen-set are passed in."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import cast

from schemas.codec import Codec, CodecError
from schemas.decimals import decimal_of
from schemas.decoder import Run
from schemas.events import BatchQuantity, StockAdjusted
from schemas.records import NO_OPS, Header, SealedEpoch, Skipped, StockBatch
from streams.chain import Head
from streams.intake import RawRecord
from streams.windows.rules import DATE_STEP_US, StockRules
from streams.windows.seen import Seen

REPLAY_HEADER = "b1streams.replay_of"
_NAMELESS = ((None, None), None, None, None, (None, None))
_REUSED = "the same event id, sku and location came before with other content; the first stands"


#: What the hot path reads of a stock event; decimals and times come as ints of millionths and microseconds.
_PARTS = (
    Run(("source", "company")), "event_id", "occurred_at", "digest", Run(("sku", "location")), "delta",
    Run(("reason", "to_location", "batches", "serials")),
)  # fmt: skip
StockRow = tuple[
    tuple[str, str], str, int, bytes, tuple[str, str], int, tuple[str, str | None, Sequence[object], Sequence[str]]
]
#: A record with its columns, or with why it has none. A tuple, as there are 100,000 of them a second.
Row = tuple[RawRecord, StockRow | CodecError]


def companies_of(rows: Sequence[Row]) -> set[str]:
    """Among them the empty one where bytes do not tell."""
    whose = {("", "") if isinstance(columns, CodecError) else columns[0] for _, columns in rows}
    return {company for _, company in whose}


@dataclass(slots=True)
class _Group:
    row: StockRow  # the first member's
    posting_date: date
    batches: tuple[BatchQuantity, ...]
    serials: tuple[str, ...]
    offsets: list[int] = field(default_factory=list)
    members: list[StockRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Composed:
    """An epoch with what the seen-set must learn once it stands."""

    epoch: SealedEpoch
    entries: list[tuple[int, int]]


class Composer:
    """Turns raw records into an epoch; one per worker. `compose` may be called again for the same records: it changes nothing."""

    def __init__(self, codec: Codec, rules: StockRules, config_version: str) -> None:
        self._codec, self._rules, self._config_version = codec, rules, config_version
        self._columns = codec.rows(StockAdjusted, _PARTS)

    def read(self, records: Sequence[RawRecord]) -> list[Row]:
        return list(zip(records, self._columns([record.value or b"" for record in records]), strict=True))

    def compose(
        self,
        rows: Sequence[Row],
        seen: Seen,
        pending: dict[int, int],
        head: Head,
        start: int,
        now: datetime,
        cause: str,
        no_ops: int,
    ) -> Composed:
        """Judge every record once: count it, skip it as nothing to do, or skip it with everything its letter needs.

        Args:
            rows: of one partition, offsets ascending, all >= start.
            seen: what accepted epochs hold; not changed here.
            pending: what epochs hold that are composed and not yet accepted; this one is added.
            head: what this epoch will name as the one before it.
            start: the previous epoch's end.
            now: aware UTC.
            cause: why it is sealed.
            no_ops: the chain's no_ops before this epoch.
        """
        groups: dict[tuple[object, ...], _Group] = {}
        skipped: list[Skipped] = []
        entries: list[tuple[int, int]] = []
        now_us = int(now.timestamp() * 1_000_000)
        judge, posting_date = self._rules.judge, self._rules.posting_date
        readable: list[tuple[RawRecord, StockRow]] = []
        for row in rows:
            if isinstance(row[1], CodecError):
                skipped.append(_skip(row[0], row[1].reason, str(row[1])))
            else:
                readable.append(cast("tuple[RawRecord, StockRow]", row))
        all_readable = not skipped
        # What can be done for all at once is: a call for each event is what most of the time would go into.
        columns_of = [columns for _, columns in readable]
        marks = seen.marks([columns[3] for columns in columns_of])
        looked_up = seen.entries([(columns[0][0], columns[1], *columns[4]) for columns in columns_of])
        dated_for, day = ("", -1), now.date()
        for (record, columns), entry, mark, before in zip(
            readable, looked_up, marks, seen.look(looked_up), strict=True
        ):
            (source, company), event_id, occurred_us, _, (sku, location), _, how = columns
            reason, to_location, lots, numbers = how
            known = pending.get(entry, before)
            if known is not None and not (known < 0 and _is_replay(record)):
                if mark in (known, ~known):
                    skipped.append(_skip(record, "repeat", None, columns))
                else:
                    skipped.append(_skip(record, "id_reuse", _REUSED, columns))
                continue
            verdict = judge(company, source, location, to_location, reason, occurred_us, now_us)
            if verdict.why:
                skipped.append(_skip(record, verdict.why, verdict.error, columns))
                kept = mark if verdict.why in NO_OPS else ~mark
            else:
                kept = mark
            pending[entry] = kept
            entries.append((entry, kept))
            if verdict.why:
                continue
            if dated_for != (dated := (company, occurred_us // DATE_STEP_US)):
                dated_for, day = dated, posting_date(company, occurred_us)
            key: tuple[object, ...] = (company, source, sku, location, to_location, reason, day)
            batches: tuple[BatchQuantity, ...] = ()
            serials: tuple[str, ...] = ()
            if lots or numbers:
                lot, batches, serials = self._lot(record.value or b"", event_id)
                key = (*key, lot)
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group(columns, day, batches, serials)
            group.offsets.append(record.offset)
            group.members.append(columns)
        if not all_readable:
            skipped.sort(key=lambda skip: skip.offset)
        epoch = SealedEpoch(
            number=head.number, prev_digest=head.digest, start=start, end=rows[-1][0].offset + 1 if rows else start, sealed_at=now,
            config_version=self._config_version, cause=cause, batches=tuple(map(_batch, groups.values())),
            skipped=tuple(skipped), no_ops=no_ops + sum(skip.why in NO_OPS for skip in skipped),
        )  # fmt: skip
        return Composed(epoch, entries)

    def _lot(self, value: bytes, event_id: str) -> tuple[object, tuple[BatchQuantity, ...], tuple[str, ...]]:
        """Movements of one lot net; an event with several lots or with serial numbers stands alone."""
        event = self._codec.decode(value, StockAdjusted)
        if len(event.batches) == 1 and not event.serials:
            lot = event.batches[0]
            return (lot.number, lot.expires_on), event.batches, ()
        return event_id, event.batches, event.serials


def _is_replay(record: RawRecord) -> bool:
    return any(name == REPLAY_HEADER for name, _ in record.headers)


def _skip(record: RawRecord, why: str, error: str | None, row: StockRow | None = None) -> Skipped:
    (source, company), event_id, _, digest, (sku, location) = _NAMELESS if row is None else row[:5]
    letter = why not in NO_OPS
    headers = tuple(Header(name=name, value=value or b"") for name, value in record.headers) if letter else ()
    return Skipped(
        offset=record.offset, why=why, error=error, timestamp_ms=record.timestamp, source=source, company=company, event_id=event_id,
        digest=digest, sku=sku, location=location, key=record.key if letter else None, value=record.value if letter else None,
        headers=headers,
    )  # fmt: skip


def _batch(group: _Group) -> StockBatch:
    (source, company), _, _, _, (sku, location), _, (reason, to_location, _, _) = group.row
    _, event_ids, _, digests, _, deltas, _ = zip(*group.members, strict=True)
    net, batches = decimal_of(sum(deltas)), group.batches
    if len(batches) == 1 and not group.serials:
        batches = (replace(batches[0], quantity=abs(net)),)
    return StockBatch(
        company=company, source=source, sku=sku, location=location, to_location=to_location, reason=reason,
        posting_date=group.posting_date, batches=batches, serials=group.serials, net=net,
        event_ids=event_ids,
        offsets=tuple(group.offsets), deltas=tuple(map(decimal_of, deltas)), digests=b"".join(digests),
    )  # fmt: skip
