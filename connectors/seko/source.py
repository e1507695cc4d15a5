"""SEKO's pushes are the news, and published before they are answered; the source here finds what they did not bring.

It learns from the door what was pushed (`Journal`), counts the numbers of each service, asks the hub at once when some are
missing and every `poll_interval_s` anyway, and tells only what nobody has told before. What cannot be found becomes a
letter. The nightly stock is compared with the movements: a control, never a second source of them.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import RecordError
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.seko import records
from connectors.seko.client import Client, ServiceError
from connectors.seko.journal import Told
from connectors.seko.memory import Difference, Memory
from connectors.seko.records import FIELDS, Message, check, messages
from connectors.seko.settings import SekoSettings, Service
from connectors.seko.translate import Voice, stocks_of, translate
from connectors.webhooks import Delivery, Hook, Pushed, UnreadableError, matches, parse_json

log = structlog.get_logger(__name__)

#: A batch is acknowledged whole; what is left over of a look is found again by the next one.
BATCH_ITEMS = 300
#: How long a told event is known beyond what a look goes back: the hub may date a row earlier than it shows it.
_MEMORY_S = 21_600
#: How long after midnight a nightly stock waits for its parts, and for the looks that cover its day.
_LATE_S = 86_400
#: More deliveries than are ever under way.
_MAX_READ = 1000
#: Differences of a night that its letter names.
MAX_DIFFERENCES = 1000


class SekoSource:
    """A client's facilities as a `Source`."""

    def __init__(
        self,
        name: str,
        settings: SekoSettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings, self._clock = settings, clock
        self._client = Client(settings, transport=transport, sleep=sleep)
        self._zone = ZoneInfo(settings.timezone)
        self._columns = tuple(settings.summary_columns)
        self._merged: tuple[str, int] | None = None

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> Batch:
        memory = Memory.from_text(cursor) if cursor is not None else Memory()
        now = self._clock.now()
        self._forget_merged(cursor)
        entries = self._settings.journal.entries()
        urgent = {
            entry.message.service for entry in entries if self._learn(memory, entry.message, entry.said, entry.at_s)[1]
        }
        items: list[Item] = []
        failure: ServiceError | None = None
        for service in self._settings.polled:
            if service in urgent or self._is_due(memory, service, now):
                try:
                    items += await self._poll(memory, service, now, BATCH_ITEMS - len(items))
                except ServiceError as error:
                    failure = error
            if len(items) >= BATCH_ITEMS:
                break
        items += self._give_up(memory, now)
        items += self._compare(memory, now)
        memory.forget(_seconds(now) - int(self._settings.overlap_s) - _MEMORY_S)
        text = memory.to_text()
        is_news = bool(items) or text != cursor
        if failure is not None and not is_news:
            raise failure
        self._merged = (text, entries[-1].number if entries else 0)
        return Batch(tuple(items), text, idle=not is_news)

    def _forget_merged(self, cursor: str | None) -> None:
        """Let the journal go of what an acknowledged cursor has."""
        if self._merged is not None and self._merged[0] == cursor:
            self._settings.journal.forget(self._merged[1])

    def _voice(self, now: datetime) -> Voice:
        return Voice(self.name, self.company, self._settings, now)

    def _day_of(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).date().isoformat()

    def _learn(self, memory: Memory, message: Message, said: Sequence[Pushed], at_s: int) -> tuple[bool, bool]:
        """Take a message into account; whether it says anything new, and whether others before it are missing."""
        number = message.sequence if message.service in FIELDS else None
        opened = number is not None and memory.number(message.service, number, at_s)
        if message.service == "summary" and self._settings.compare_nightly:
            self._keep_night(memory, message)
        return memory.tell(said, at_s, self._day_of), opened

    # ---- polls

    def _is_due(self, memory: Memory, service: Service, now: datetime) -> bool:
        until_s = memory.until.get(service)
        return until_s is None or not until_s <= _seconds(now) < until_s + self._settings.poll_interval_s

    async def _poll(self, memory: Memory, service: Service, now: datetime, room: int) -> list[Item]:
        """What a service has and nobody has told, oldest first; the look is over once all of it is in a batch."""
        until_s = memory.until.get(service)
        if until_s is None:
            start = self._settings.start_at or now - timedelta(seconds=self._settings.first_look_s)
        else:
            start = _moment(until_s) - timedelta(seconds=self._settings.overlap_s)
        end = max(start, min(now, start + timedelta(seconds=self._settings.slice_s)))
        found = await self._client.between(service, start, end)
        told = [(message, translate(message, self._voice(now))) for message in found if message.service == service]
        if len(told) < len(found):
            raise ServiceError(f"seko: {service} answers with messages of another service; mend paths.{service}")
        told.sort(key=lambda each: min((_when(item) for item in each[1]), default=""))
        items: list[Item] = []
        for message, said in told:
            if len(items) >= room:
                return items
            if message.sequence is not None and service not in memory.numbered:
                memory.numbered = sorted({*memory.numbered, service})
            if self._learn(memory, message, said, _seconds(now))[0]:
                items += said
        memory.until[service] = max(_seconds(end), until_s or 0)
        if items and until_s is not None:
            log.info("polled_what_was_not_pushed", connector=self.name, kind=service, count=len(items))
        return items

    # ---- gaps

    def _give_up(self, memory: Memory, now: datetime) -> list[Item]:
        """Dead letters for numbers that were neither pushed nor found; nothing for those that a whole look has covered."""
        found: list[Item] = []
        before_s = _seconds(now) - int(self._settings.gap_patience_s)
        for service in sorted(memory.gaps):
            is_polled = service in self._settings.polled
            if is_polled and memory.until.get(service, 0) < before_s:
                continue
            missed = memory.overdue(service, before_s)
            if not missed:
                continue
            late = sorted(missed)
            if is_polled and service not in memory.numbered:
                log.info("gap_covered_by_poll", connector=self.name, kind=service, number=late[0], count=len(late))
                continue
            if service != "summary":
                memory.torn = max(memory.torn, *missed.values())
            log.warning("gap_not_filled", connector=self.name, kind=service, number=late[0], count=len(late))
            found.append(self._lost(service, late))
        return found

    def _lost(self, service: str, numbers: Sequence[int]) -> RefusedRecord:
        value = json.dumps({"service": service, "missing": list(numbers)}, separators=(",", ":")).encode()
        return RefusedRecord(
            event_type=None,
            reason="unreadable",
            error=(
                f"{len(numbers)} {service} messages never came: {_ranges(numbers)}; send them again in iHub's activity "
                "screen, then discard this"
            ),
            value=value,
            origin=f"seko {service}",
            digest=hashlib.sha256(value).hexdigest(),
            number=numbers[0],
        )

    # ---- the nightly stock

    def _keep_night(self, memory: Memory, message: Message) -> None:
        try:
            found = check(message, self._settings.fields, self._columns)
            assert isinstance(found, records.Summary)  # noqa: S101 -- by its service
            for stock in stocks_of(found, self._settings):
                memory.keep_night(stock, found.group or "", found.part, found.total)
        except RecordError:
            return  # its letter was written where it came

    def _compare(self, memory: Memory, now: datetime) -> list[Item]:
        """Dead letters for nights whose count the movements do not explain, once those of the day are sure to have come."""
        found: list[Item] = []
        for key in sorted(memory.waiting):
            night = memory.waiting[key]
            end_s = self._end_of(night.day)
            known_s = min((memory.until.get(each, 0) for each in self._settings.polled), default=_seconds(now))
            is_known = min(_seconds(now), known_s) >= end_s + self._settings.overlap_s
            is_late = now.timestamp() > end_s + _LATE_S
            if not is_known and not is_late:
                continue
            dc = json.loads(key)[0]
            if len(night.got) < night.total:
                if is_late:
                    log.warning("nightly_stock_incomplete", connector=self.name, location=dc, at=night.day)
                    del memory.waiting[key]
                continue
            last = memory.nights.get(dc)
            is_whole = (
                is_known
                and not memory.gaps.keys() - {"summary"}
                and (last is None or memory.torn < self._end_of(last.day))
            )
            differences = memory.compare(key, is_whole=is_whole)
            state = "baseline" if last is None else "compared" if is_whole else "not_compared"
            log.info(
                "nightly_stock",
                connector=self.name, location=dc, at=night.day, state=state, count=len(differences or ()),
            )  # fmt: skip
            if differences:
                found.append(self._differs(dc, night.day, differences))
        return found

    def _end_of(self, day: str) -> float:
        end = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=self._zone) + timedelta(days=1)
        return end.timestamp()

    def _differs(self, dc: str, day: str, differences: Sequence[Difference]) -> RefusedRecord:
        rows = [
            {"sku": each.sku, "location": each.place, "expected": str(each.expected), "counted": str(each.counted)}
            for each in differences[:MAX_DIFFERENCES]
        ]
        value = json.dumps({"dc": dc, "day": day, "differences": rows}, separators=(",", ":")).encode()
        return RefusedRecord(
            event_type="stock_adjusted",
            reason="invalid_event",
            error=(
                f"the nightly stock of {dc} at the end of {day} differs for {len(differences)} skus from the night before "
                "and the movements since; find out at SEKO, correct B1 by hand, then discard this"
            ),
            value=value,
            origin="seko summary",
            digest=hashlib.sha256(value).hexdigest(),
            number=0,
            sku=differences[0].sku if len(differences) == 1 else None,
        )


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _when(item: Pushed) -> str:
    return "" if isinstance(item, RefusedRecord) else item.occurred_at.isoformat()


def _ranges(numbers: Sequence[int]) -> str:
    """`3-5, 9`, the first ten of them."""
    found: list[list[int]] = []
    for each in numbers:
        if found and each == found[-1][1] + 1:
            found[-1][1] = each
        else:
            found.append([each, each])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in found[:10]]
    return ", ".join(shown) + (" ..." if len(found) > 10 else "")


# ---- pushes ---------------------------------------------------------------------------------------------------------


def hook_of(name: str, settings: SekoSettings) -> Hook | None:
    """How the door takes SEKO's pushes, of all services at one address; None where no secret is configured."""
    if not settings.push_secrets:
        return None
    header = b"authorization" if settings.push_auth == "basic" else settings.push_header.lower().encode()

    def verify(delivery: Delivery, secrets: Sequence[bytes]) -> bool:
        return matches(delivery.headers.get(header), _expected(secrets, settings.push_auth))

    read: dict[int, tuple[Told, ...]] = {}  # of deliveries under way, so that none is translated twice

    def say(delivery: Delivery) -> tuple[Pushed, ...]:
        read.pop(id(delivery), None)  # another one's, that was not taken
        voice = Voice(name, settings.company, settings, delivery.received_at)
        told = tuple((message, translate(message, voice)) for message in _pushed(delivery.body))
        if len(read) >= _MAX_READ:
            read.clear()  # of deliveries that were not taken
        read[id(delivery)] = told
        return tuple(item for _, said in told for item in said)

    def note(delivery: Delivery) -> None:
        settings.journal.add(read.pop(id(delivery), ()), _seconds(delivery.received_at))

    return Hook(
        connector=name,
        company=settings.company,
        path=settings.push_path or f"/{name}",
        secrets=settings.push_secrets,
        verify=verify,
        translate=say,
        # A push has no name of its own: the same body is the same push.
        delivery_id=lambda _delivery: b"push",
        taken=note,
    )


def _expected(secrets: Iterable[bytes], auth: str) -> list[bytes]:
    return [b"Basic " + base64.b64encode(each) for each in secrets] if auth == "basic" else list(secrets)


def _pushed(body: bytes) -> tuple[Message, ...]:
    try:
        return messages(parse_json(body))
    except RecordError as error:
        raise UnreadableError(str(error)) from None
