"""One epoch: what a contiguous range of stock events comes to. Pure.

The clock's reading and the seen-set are passed in.
"""

from collections.abc import Callable, ItemsView, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any

from connectors.base.validate import MAX_IDENTITY_CHARS
from schemas.codec import Codec, CodecError, UnreadableError
from schemas.decimals import LIMIT, DecimalRangeError, decimal_of
from schemas.events import DIGEST_BYTES, BatchQuantity, StockAdjusted
from schemas.generated import constructor_of
from schemas.letter_bounds import bounded
from schemas.letters import REPLAY_HEADER
from schemas.records import NO_OPS, Header, SealedEpoch, Skipped, StockBatch
from streams.chain.rule import Head
from streams.ports import RawRecord
from streams.windows.columns import STOCK_PARTS
from streams.windows.rules import COUNTS, DATE_STEP_US, StockRules
from streams.windows.seen import Seen

#: An event in fewer bytes has no identity that is too long, or only by a little.
_LONG_BYTES = 1_000
_REUSED = "the same event id, sku and location came before with other content; the first stands"

_How = tuple[str, str | None, tuple[object, ...], tuple[str, ...]]
StockRow = tuple[tuple[str, str], str, int, bytes, tuple[str, str], int, _How | CodecError]
#: A record with its columns. A tuple, as there are 100,000 of them a second.
Row = tuple[RawRecord, StockRow]

_stock_batch, _skipped = constructor_of(StockBatch), constructor_of(Skipped)


def _unreadable(fault: CodecError) -> StockRow:
    """What stands for the columns of bytes that have none."""
    return ("", ""), "", 0, b"", ("", ""), 0, fault


def _odd(columns: StockRow) -> StockRow:
    """What has no digest: bytes that cannot be read, or a producer that is not ours."""
    fault = UnreadableError(f"a digest of {len(columns[3])} bytes where {DIGEST_BYTES} are due")
    return columns if isinstance(columns[-1], CodecError) else _unreadable(fault)


def _long(columns: StockRow) -> StockRow:
    """What names something by more characters than the contract allows."""
    (source, company), event_id, _, _, (sku, location), _, how = columns
    if isinstance(how, CodecError) or max(map(len, (source, company, event_id, sku, location))) <= MAX_IDENTITY_CHARS:
        return columns
    return _unreadable(CodecError(f"an identity has more than {MAX_IDENTITY_CHARS} characters"))


def companies_of(rows: Sequence[Row]) -> set[str]:
    """Among them the empty one where bytes do not tell."""
    return {company for _, company in {columns[0] for _, columns in rows}}


@dataclass(frozen=True, slots=True)
class Composed:
    """An epoch with what the seen-set must learn once it stands: pairs of entry and mark (or ~mark)."""

    epoch: SealedEpoch
    entries: ItemsView[int, int]


class Composer:
    """Turns raw records into an epoch; one per worker. `compose` changes nothing and may be called again."""

    def __init__(self, codec: Codec, rules: StockRules, config_version: str) -> None:
        self._codec, self._rules, self._config_version = codec, rules, config_version
        self._columns = codec.rows(StockAdjusted, STOCK_PARTS, _unreadable)

    def read(self, records: Sequence[RawRecord]) -> list[Row]:
        values = [record.value or b"" for record in records]
        columns_of = self._columns(values)
        if max(map(len, values), default=0) > _LONG_BYTES:
            columns_of = [
                _long(columns) if len(value) > _LONG_BYTES else columns
                for value, columns in zip(values, columns_of, strict=True)
            ]
        if {len(columns[3]) for columns in columns_of} != {DIGEST_BYTES}:
            columns_of = [columns if len(columns[3]) == DIGEST_BYTES else _odd(columns) for columns in columns_of]
        return list(zip(records, columns_of, strict=True))

    @staticmethod
    def smaller(rows: Sequence[Row], error: CodecError) -> list[Sequence[Row]]:
        """Rows that came to an epoch longer than its topic takes, in two parts; a single row is refused instead."""
        if len(rows) == 1:
            return [[(rows[0][0], _unreadable(error))]]
        return [rows[: len(rows) // 2], rows[len(rows) // 2 :]]

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
        """Judge every record once: count it, or skip it as nothing to do or with what its dead letter needs.

        Args:
            rows: of one partition, offsets ascending, all >= start.
            seen: what accepted epochs hold; not changed here.
            pending: what epochs hold that are composed and not yet accepted; not changed here.
            head: what this epoch will name as the one before it.
            start: the previous epoch's end.
            now: aware UTC.
            cause: why it is sealed.
            no_ops: the chain's no_ops before this epoch.
        """
        window = _Window(self._codec, self._rules, now)
        known, adds = window.known, window.adds
        # What can be done for all at once is, and what holds for many is asked once: a call for each event is what most
        # of the time would go into.
        columns = zip(*[columns for _, columns in rows], strict=True) if rows else ((),) * 7
        origins, event_ids, times, digests, items, _, hows = columns
        entries = seen.entries(zip([source for source, _ in origins], event_ids, items, strict=True))
        steps = [us // DATE_STEP_US for us in times]
        keys = zip(map(id, origins), map(id, items), map(id, hows), steps, strict=True)
        judged = zip(rows, keys, entries, seen.marks(digests), seen.look(entries), strict=True)
        for row, key, entry, mark, before in judged:
            if before is None and entry not in known and entry not in pending and (add := adds.get(key)) is not None:
                known[entry] = mark
                add(row)
            else:
                window.put(row, key, entry, mark, known.get(entry, pending.get(entry, before)))
        try:
            batches = tuple(map(_batch, window.groups.values()))
        except DecimalRangeError:
            batches = tuple([_batch(part) for group in window.groups.values() for part in _fitting(group)])
        epoch = SealedEpoch(
            number=head.number,
            prev_digest=head.digest,
            start=start,
            end=rows[-1][0].offset + 1 if rows else start,
            sealed_at=now,
            config_version=self._config_version,
            cause=cause,
            batches=batches,
            skipped=tuple(window.skipped),
            no_ops=no_ops + sum([skip.why in NO_OPS for skip in window.skipped]),
        )
        return Composed(epoch, known.items())


@dataclass(slots=True)
class _BatchGroup:
    """Rows that net."""

    reason: str
    to_location: str | None
    posting_date: date
    batches: tuple[BatchQuantity, ...] = ()
    serials: tuple[str, ...] = ()
    rows: list[Row] = field(default_factory=list)


class _Window:
    """What has been made of the rows so far, in the order of their offsets.

    Attributes:
        known: marks (or ~marks) by entry.
        adds: what takes a row on where nothing can stand against any such; by the ids of origin, item and how, which
            are mostly the same objects where they are equal (`decoder.Run`), and the step of time.
    """

    def __init__(self, codec: Codec, rules: StockRules, now: datetime) -> None:
        self._codec, self._rules, self._now_us = codec, rules, int(now.timestamp() * 1_000_000)
        self.known: dict[int, int] = {}
        self.groups: dict[tuple[object, ...], _BatchGroup] = {}
        self.skipped: list[Skipped] = []
        self.adds: dict[tuple[int, ...], Callable[[Row], None]] = {}
        self._days: dict[tuple[object, ...], date | None] = {}

    def put(self, row: Row, key: tuple[int, ...], entry: int, mark: int, known: int | None) -> None:
        """Judge one row by itself; `key` is its place in `adds`, `known` what its identity was marked with before."""
        record, (origin, event_id, occurred_us, _, item, _, how) = row
        if isinstance(how, CodecError):
            self.skipped.append(_skip(row, how.reason, str(how)))
            return
        if known is not None and not (known < 0 and _is_replay(record)):
            is_same = mark in (known, ~known)
            self.skipped.append(_skip(row, "repeat", None) if is_same else _skip(row, "id_reuse", _REUSED))
            return
        (source, company), (reason, to_location, lots, numbers) = origin, how
        place = company, source, item[1], to_location, reason
        day = self._day(place, key[-1])
        counts_all = day is not None and not lots and not numbers
        if day is None:
            verdict = self._rules.judge(*place, occurred_us, self._now_us)
            if verdict.why:
                self.skipped.append(_skip(row, verdict.why, verdict.error))
                self.known[entry] = mark if verdict.why in NO_OPS else ~mark
                return
            day = self._rules.posting_date(company, occurred_us)
        like: tuple[object, ...] = (origin, item, reason, to_location, day)
        batches: tuple[BatchQuantity, ...] = ()
        serials: tuple[str, ...] = ()
        if lots or numbers:
            try:
                lot, batches, serials = self._lot(record.value or b"", event_id)
            except CodecError as fault:  # in what the columns leave out
                self.skipped.append(_skip(row, fault.reason, str(fault)))
                return
            like = (*like, lot)
        self.known[entry] = mark
        group = self.groups.get(like)
        if group is None:
            group = self.groups[like] = _BatchGroup(reason, to_location, day, batches, serials)
        group.rows.append(row)
        if counts_all:
            self.adds[key] = group.rows.append

    def _day(self, place: tuple[str, str, str, str | None, str], step: int) -> date | None:
        """The posting date of all that happened at a place in a step of time, where it all counts; else None."""
        try:
            return self._days[place, step]
        except KeyError:
            first_us, last_us = step * DATE_STEP_US, (step + 1) * DATE_STEP_US - 1
            verdicts = (self._rules.judge(*place, at_us, self._now_us) for at_us in (first_us, last_us))
            # Along time one verdict follows another: what counts at both ends of a step counts all through it.
            day = (
                self._rules.posting_date(place[0], first_us) if all(verdict is COUNTS for verdict in verdicts) else None
            )
            self._days[place, step] = day
            return day

    def _lot(self, value: bytes, event_id: str) -> tuple[object, tuple[BatchQuantity, ...], tuple[str, ...]]:
        """Movements of one lot net; an event with several lots or with serial numbers stands alone."""
        event = self._codec.decode(value, StockAdjusted)
        if len(event.batches) == 1 and not event.serials:
            lot = event.batches[0]
            return (lot.number, lot.expires_on), event.batches, ()
        return event_id, event.batches, event.serials


def _is_replay(record: RawRecord) -> bool:
    return any(name == REPLAY_HEADER for name, _ in record.headers)


def _skip(row: Row, why: str, error: str | None) -> Skipped:
    record, ((source, company), event_id, _, digest, (sku, location), _, how) = row
    is_letter = why not in NO_OPS
    named: dict[str, Any] = {}
    if not isinstance(how, CodecError):
        named = dict(source=source, company=company, event_id=event_id, digest=digest, sku=sku, location=location)
    key, value, headers = None, None, tuple[Header, ...]()
    if is_letter:
        key, value, headers = bounded(
            record.key, record.value, (Header(name=name, value=each or b"") for name, each in record.headers)
        )
    return _skipped(
        offset=record.offset,
        why=why,
        error=error,
        timestamp_ms=record.timestamp,
        key=key,
        value=value,
        headers=headers,
        **named,
    )


def _fitting(group: _BatchGroup) -> list[_BatchGroup]:
    """The group in parts whose nets a decimal(19,6) holds; each delta is one."""
    if abs(sum(delta for _, (_, _, _, _, _, delta, _) in group.rows)) < LIMIT:
        return [group]
    half = len(group.rows) // 2
    return [part for rows in (group.rows[:half], group.rows[half:]) for part in _fitting(replace(group, rows=rows))]


def _batch(group: _BatchGroup) -> StockBatch:
    columns_of = [columns for _, columns in group.rows]
    (source, company), _, _, _, (sku, location), _, _ = columns_of[0]
    _, event_ids, _, digests, _, deltas, _ = zip(*columns_of, strict=True)
    net, batches = decimal_of(sum(deltas)), group.batches
    if len(batches) == 1 and not group.serials:
        batches = (replace(batches[0], quantity=abs(net)),)
    return _stock_batch(
        company=company,
        source=source,
        sku=sku,
        location=location,
        to_location=group.to_location,
        reason=group.reason,
        posting_date=group.posting_date,
        batches=batches,
        serials=group.serials,
        net=net,
        event_ids=event_ids,
        offsets=tuple([record.offset for record, _ in group.rows]),
        deltas=tuple(map(decimal_of, deltas)),
        digests=b"".join(digests),
    )
