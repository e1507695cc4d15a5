"""Replays dead letters of some reasons by themselves, where `[[replay.schedule]]` says so; off by default.

As a person would: a plan of what is dead, run through the company's queue and written to the audit. A dead letter is
tried once in each span of hours, and no more once it has failed the same way again and again.
"""

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import datetime

import structlog

from schemas.records import DeadLetterState
from streams.audit.trail import AuditTrail
from streams.config.load import Config
from streams.config.sections import ScheduledReplaySettings
from streams.dead_letters.commands import Action
from streams.dead_letters.desk import CommandDesk, Person
from streams.dead_letters.plan import PlannedLetter, ReplayPlan
from streams.dead_letters.replay import MAX_ALIKE, Replay
from streams.dead_letters.run import Pace
from streams.dead_letters.states import STATES
from streams.dead_letters.tail import StateTail
from streams.ports import Ports
from streams.query.reading import partitions_of

logger = structlog.get_logger(__name__)

BY = "replay.schedule"
_LOOK_S = 60.0
_RAMP = (0.01, 0.1, 1.0)
_STOP_AT = 0.5


class ScheduledReplays:
    """`run` until cancelled, beside the poster of a company."""

    def __init__(
        self, company: str, config: Config, ports: Ports, letters: Callable[[], Iterable[DeadLetterState]]
    ) -> None:
        """`letters`: the company's dead letters that are open."""
        self._company, self._config, self._ports, self._letters = company, config, ports, letters
        self._zone = config.maps[company].zone

    async def run(self) -> None:
        """Look every minute whether there is something to replay; what goes wrong is tried again then."""
        while self._config.replay.schedule:
            await asyncio.sleep(_LOOK_S)
            for rule in self._config.replay.schedule:
                try:
                    await self._run_rule(rule)
                except Exception as error:  # noqa: BLE001 -- a schedule must not end its poster
                    kind = type(error).__name__
                    logger.warning("a scheduled replay has failed", company=self._company, kind=kind, error=str(error))

    async def _run_rule(self, rule: ScheduledReplaySettings) -> None:
        now = self._ports.clock.now()
        since = rule.span_start(now.astimezone(self._zone))
        chosen = [] if since is None else due(self._letters(), rule.reason, since)
        if not chosen:
            return
        log, codec, clock, config = self._ports.log, self._ports.codec, self._ports.clock, self._config
        plan = ReplayPlan(now, BY, {"reasons": [rule.reason]}, tuple(PlannedLetter(one.id, "post") for one in chosen))
        tail = StateTail(log, codec, config.topic(STATES), partitions_of(config, STATES))
        replay = Replay(plan, await tail.read())
        async with AuditTrail(log, config, codec, clock).command(
            "dlq replay",
            by=BY,
            what=json.dumps({"selection": dict(plan.selection), "plan": plan.hash, "letters": len(plan.letters)}),
            company=self._company,
            selection_hash=plan.hash,
        ) as running:
            desk = CommandDesk(log, config, codec, clock, tail, Action.REPLAY, Person(command=running.command, by=BY))
            tally = await replay.run(desk, clock, Pace(rate=rule.rate, ramp=_RAMP, stop_at=_STOP_AT))
            counts = {result: tally.count(result) for result in ("posted", "already_there", "failed", "waiting")}
            running.result = json.dumps(counts)


def due(letters: Iterable[DeadLetterState], reason: str, since: datetime) -> list[DeadLetterState]:
    """Those that are dead for a reason and have not been tried since then. Pure."""
    return [
        letter
        for letter in letters
        if letter.state == "dead"
        and letter.reason == reason
        and letter.at < since
        and max(letter.replays, letter.republished) < MAX_ALIKE
    ]
