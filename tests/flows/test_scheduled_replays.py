"""`[[replay.schedule]]`: dead letters of a reason are replayed by themselves, in their hours, once in each span."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from streams.audit.trail import AuditTrail
from streams.config.sections import ReplaySettings, ScheduledReplaySettings
from streams.posting.scheduled_replays import due
from tests.builders import AT, dead_letter
from tests.flows.world import World, order, order_line

LONDON = ZoneInfo("Europe/London")
RULE = ScheduledReplaySettings(reason="unmapped_tax_code", rate=5, hours="13:00-14:00")


@pytest.mark.parametrize(
    ("hours", "now", "begun"),
    [
        ("13:00-14:00", "2026-11-21T13:59", "2026-11-21T13:00"),
        ("13:00-14:00", "2026-11-21T14:00", None),
        ("13:00-14:00", "2026-11-21T12:59", None),
        ("20:00-06:00", "2026-11-21T23:00", "2026-11-21T20:00"),
        ("20:00-06:00", "2026-11-22T05:59", "2026-11-21T20:00"),
        ("20:00-06:00", "2026-11-22T06:00", None),
        ("00:00-00:00", "2026-11-22T06:00", "2026-11-22T00:00"),
    ],
)
def test_a_span_of_hours_may_go_past_midnight(hours: str, now: str, begun: str | None) -> None:
    rule = ScheduledReplaySettings(reason="erp_refused", hours=hours)
    found = rule.span_start(datetime.fromisoformat(now).replace(tzinfo=LONDON))
    assert found == (None if begun is None else datetime.fromisoformat(begun).replace(tzinfo=LONDON))


@pytest.mark.parametrize(
    "fields",
    [{"reason": "unknown_item"}, {"reason": "x"}, {"hours": "25:00-26:00"}, {"hours": "8-9"}, {"rate": 0}],
    ids=str,
)
def test_what_is_no_schedule_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ScheduledReplaySettings(**{"reason": "erp_refused", "hours": "08:00-09:00", **fields})  # type: ignore[arg-type]


async def test_off_by_default(world: World) -> None:
    await world.says("shop", order("1", order_line(tax_code="GB-5")))
    await world.passes(4_000)
    (letter,) = await world.letters()
    assert (letter.state.state, letter.state.replays) == ("dead", 0)


async def test_each_is_tried_once_in_its_hours_and_is_in_the_audit(world: World) -> None:
    await world.says("shop", order("1", order_line(tax_code="GB-5")), order("2", order_line(tax_code="GB-7")))
    await world.stop_worker()
    await world.start_worker(tax={"codes": {"GB-5": "O1"}})
    await world.stop_worker()
    world.config = replace(world.config, replay=ReplaySettings(schedule=(RULE,)))
    await world.start_worker()
    await world.passes(3_000)
    assert world.documents("Orders") == [], "it is 12:50"
    await world.passes(3_600)
    assert [one["NumAtCard"] for one in world.documents("Orders")] == ["1"]
    (failed,) = [one.state for one in await world.letters() if one.state.state == "dead"]
    assert (failed.order_id, failed.replays, failed.by) == ("2", 1, "replay.schedule")
    await world.passes(600)
    records = await AuditTrail(world.log, world.config, world.codec, world.clock).records()
    assert [(record.by, record.action) for record in records] == [("replay.schedule", "dlq replay")] * 2
    assert json.loads(records[-1].result or "") == {"posted": 1, "already_there": 0, "failed": 1, "waiting": 0}


def test_what_fails_the_same_way_again_and_again_is_left_to_a_person() -> None:
    since = AT + timedelta(hours=1)
    letters = [
        dead_letter(0, replays=2),
        dead_letter(1, replays=3),
        dead_letter(2, at=since),
        dead_letter(3, state="parked"),
        dead_letter(4, reason="total_mismatch"),
        dead_letter(5, republished=3),
    ]
    assert [letter.id for letter in due(letters, "erp_refused", since)] == ["l0"]
