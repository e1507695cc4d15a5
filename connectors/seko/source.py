"""SEKO's pushes are published before they are answered; the source here finds what they did not bring.

It learns from the journal what was pushed, counts the numbers of each service, asks the hub at once when some are
missing and every `poll_interval_s` anyway, and emits only what nobody has emitted before. What cannot be found becomes
a dead letter. The nightly stock is compared with the movements: a control, never a second source of them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.context import EventContext
from connectors.base.source import Batch, Item, RefusedRecord
from connectors.seko.client import SekoClient, SekoServiceError
from connectors.seko.hook import unix_s
from connectors.seko.identities import is_known_by_number, lacks_identity, with_stand_ins
from connectors.seko.journal import Translated
from connectors.seko.nights import NightlyControl
from connectors.seko.places import needs_poll
from connectors.seko.records import FIELDS, SekoMessage
from connectors.seko.settings import SekoSettings, Service
from connectors.seko.state import SekoState
from connectors.seko.translate import SekoContext, refused, translate
from connectors.webhooks.hook import Pushed

log = structlog.get_logger(__name__)

#: A batch is acknowledged whole; what is left over of a look is found again by the next one.
BATCH_ITEMS = 300
#: How long an event is known beyond what a look goes back: the hub may date a row earlier than it shows it.
MEMORY_BEYOND_OVERLAP_S = 21_600
_UNPUSHED = (
    "the hub shows it, and no push brought it; it has neither InternalId nor SequenceNumber there, so that it could "
    "count "
    "twice; send it again in iHub's activity screen, then discard this"
)


class SekoSource:
    """A client's facilities as a `Source`."""

    def __init__(
        self, name: str, settings: SekoSettings, clock: Clock, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.name = name
        self.company = settings.company
        self._settings, self._clock = settings, clock
        self._client = SekoClient(settings, clock, transport)
        self._nights = NightlyControl(name, settings)
        self._merged: tuple[str, int] | None = None

    async def close(self) -> None:
        await self._client.close()

    async def read(self, cursor: str | None) -> Batch:
        state = SekoState.from_text(cursor) if cursor is not None else SekoState()
        now = self._clock.now()
        self._forget_merged(cursor)
        entries = self._settings.journal.entries()
        urgent = {
            entry.message.service
            for entry in entries
            if self._learn(state, (entry.message, entry.items), entry.at_s, is_pushed=True)[1]
        }
        items: list[Item] = []
        failure: SekoServiceError | None = None
        for service in self._settings.polled:
            if service in urgent or self._is_due(state, service, now):
                try:
                    items += await self._poll(state, service, now, BATCH_ITEMS - len(items))
                except SekoServiceError as error:
                    failure = error
            if len(items) >= BATCH_ITEMS:
                break
        items += self._give_up(state, now)
        items += self._nights.compare(state, now)
        state.forget(unix_s(now) - int(self._settings.overlap_s) - MEMORY_BEYOND_OVERLAP_S)
        text = state.to_text()
        has_changed = bool(items) or text != cursor
        if failure is not None and not has_changed:
            raise failure
        self._merged = (text, entries[-1].number if entries else 0)
        return Batch(tuple(items), text, idle=not has_changed)

    def _forget_merged(self, cursor: str | None) -> None:
        """Let the journal go of what an acknowledged cursor has."""
        if self._merged is not None and self._merged[0] == cursor:
            self._settings.journal.forget(self._merged[1])

    def _learn(self, state: SekoState, translated: Translated, at_s: int, *, is_pushed: bool) -> tuple[bool, bool]:
        """Take a message into account; whether it says anything new, and whether the hub must be asked at once."""
        message, items = translated
        is_urgent = False
        if message.service in FIELDS:
            for number in message.sequences:
                if is_pushed and needs_poll(message, self._settings):
                    state.miss(message.service, number, at_s)
                    is_urgent = True
                elif state.number(message.service, number, at_s):
                    is_urgent = True
        if is_pushed and is_known_by_number(message, self._settings):
            state.note_content(message, at_s)
        if message.service == "summary" and self._settings.compare_nightly:
            self._nights.keep(state, message)
        return state.note(items, at_s, self._nights.day_of), is_urgent

    # ---- polls

    def _is_due(self, state: SekoState, service: Service, now: datetime) -> bool:
        until_s = state.until.get(service)
        return until_s is None or not until_s <= unix_s(now) < until_s + self._settings.poll_interval_s

    async def _poll(self, state: SekoState, service: Service, now: datetime, room: int) -> list[Item]:
        """What a service has and nobody has emitted, oldest first; the look is over once all of it is in a batch."""
        until_s = state.until.get(service)
        if until_s is None:
            start = self._settings.start_at or now - timedelta(seconds=self._settings.first_look_s)
        else:
            start = datetime.fromtimestamp(until_s, UTC) - timedelta(seconds=self._settings.overlap_s)
        end = max(start, min(now, start + timedelta(seconds=self._settings.slice_s)))
        found = with_stand_ins(await self._client.between(service, start, end), self._settings)
        if any(message.service != service for message in found):
            raise SekoServiceError(f"seko: {service} answers with messages of another service; fix paths.{service}")
        context = EventContext(self.name, self.company, self._settings, now)
        translated = [(message, translate(message, context)) for message in found if not self._is_control(message)]
        translated += [
            (message, (refused(message, _UNPUSHED),))
            for message in found
            if self._is_control(message) and self._is_unpushed(state, message, context)
        ]
        translated.sort(key=lambda each: min((_when(item) for item in each[1]), default=""))
        items: list[Item] = []
        for message, said in translated:
            if len(items) >= room:
                return items
            if message.sequences and service not in state.numbered:
                state.numbered = sorted({*state.numbered, service})
            if self._learn(state, (message, said), unix_s(now), is_pushed=False)[0]:
                items += said
        state.until[service] = max(unix_s(end), until_s or 0)
        if items and until_s is not None:
            log.info("polled_what_was_not_pushed", connector=self.name, kind=service, count=len(items))
        return items

    def _is_control(self, message: SekoMessage) -> bool:
        """Whether a polled message only shows that a push is missing.

        Its event would have another identity than the push's.
        """
        return lacks_identity(message, self._settings)

    def _is_unpushed(self, state: SekoState, message: SekoMessage, context: SekoContext) -> bool:
        """Whether a message that changes stock should have been pushed by now, and no push said the same."""
        if state.knows_content(message):
            return False
        events = translate(replace(message, stand_in="~"), context)
        # Not later than the last look that shows it.
        settings = self._settings
        patience_s = min(settings.gap_patience_s, max(0.0, settings.overlap_s - 2 * settings.poll_interval_s))
        latest = context.observed_at - timedelta(seconds=patience_s)
        return any(isinstance(each, RefusedRecord) or each.occurred_at <= latest for each in events)

    # ---- gaps

    def _give_up(self, state: SekoState, now: datetime) -> list[Item]:
        """Dead letters for numbers that were neither pushed nor found.

        Nothing for those that a whole look has covered.
        """
        found: list[Item] = []
        before_s = unix_s(now) - int(self._settings.gap_patience_s)
        for service in sorted(state.gaps):
            is_polled = service in self._settings.polled
            if is_polled and state.until.get(service, 0) < before_s:
                continue
            missed = state.overdue(service, before_s)
            if not missed:
                continue
            late = sorted(missed)
            if is_polled and service not in state.numbered:
                log.info("gap_covered_by_poll", connector=self.name, kind=service, number=late[0], count=len(late))
                continue
            if service != "summary":
                state.torn = max(state.torn, *missed.values())
            log.warning("gap_not_filled", connector=self.name, kind=service, number=late[0], count=len(late))
            found.append(_lost(service, late))
        return found


def _lost(service: str, numbers: Sequence[int]) -> RefusedRecord:
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
