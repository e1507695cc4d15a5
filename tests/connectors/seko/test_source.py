"""The source: what no push brought is found, nothing is told twice, gaps and nights are looked after."""

import json
from datetime import timedelta

import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.base.source import RefusedRecord
from connectors.seko import source as source_module
from connectors.seko import state as state_module
from connectors.seko.state import SekoState
from lab.simulators.seko.faults import HubFault
from lab.simulators.seko.state import AVAILABLE
from schemas.events import StockAdjusted
from tests.connectors.seko.conftest import letters

NOTHING_POLLED = {"api_key": None}


def units(items):
    return [(item.sku, int(item.delta)) for item in items if isinstance(item, StockAdjusted)]


# ---- polls


async def test_what_was_pushed_is_not_told_again_and_what_was_not_is(play):
    play.hub.adjust("A", -1)
    await play.push()
    assert await play.look() == []
    play.hub.adjust("A", -2)
    play.hub.messages[-1].ended = "lost"
    assert units(await play.look(minutes=15)) == [("A", -2)]
    assert await play.look(minutes=15) == []


async def test_a_push_after_its_poll_is_the_same_event(play):
    play.hub.adjust("A", -1)
    (polled,) = await play.look(minutes=1)
    await play.push()
    (pushed,) = play.pushed("stock-adjusted")
    assert (pushed.event_id, pushed.digest) == (polled.event_id, polled.digest)
    assert await play.look(minutes=15) == []


async def test_it_looks_only_when_it_is_time_and_a_quiet_look_at_its_own_place_writes_nothing(play):
    await play.look()
    calls = len(play.hub.calls)
    cursor = play.cursor
    assert await play.look(minutes=5) == []
    assert (len(play.hub.calls), play.cursor) == (calls, cursor)
    await play.look(minutes=10)
    assert len(play.hub.calls) == calls + 3


async def test_the_first_look_begins_at_start_at_in_slices(make_play):
    play = make_play(start_at="2026-11-11T12:00:00Z")
    play.time.at -= timedelta(days=9)
    play.hub.adjust("A", -1)
    play.time.at += timedelta(days=9)
    assert units(await play.look()) == [("A", -1)]
    adjustments = [path for path in play.hub.calls if "adjustment" in path]
    assert adjustments[0].endswith("2026-11-11T12:00:00Z/2026-11-12T12:00:00Z.json")
    assert adjustments[-1].endswith("2026-11-21T12:00:00Z.json")
    assert len(adjustments) == 11  # slices of a day, each going back two hours


async def test_a_look_is_handed_over_in_batches_and_loses_none(play, monkeypatch):
    monkeypatch.setattr(source_module, "BATCH_ITEMS", 7)
    for _ in range(20):
        play.hub.adjust("A", -1)
    batch = await play.source.read(None)
    assert len(batch.items) == 7
    assert await play.source.read(None) == batch
    assert units(await play.look()) == [("A", -1)] * 20
    assert await play.look(minutes=15) == []


async def test_what_the_hub_shows_late_is_found_by_the_overlap(play):
    play.hub.lag_s = 3600
    play.hub.adjust("A", -1)
    assert await play.look(minutes=30) == []
    assert units(await play.look(minutes=31)) == [("A", -1)]


async def test_every_facility_is_asked_for_by_its_own_name(make_play):
    play = make_play(dcs=("DCCL01", "DCCL02"), locations={"DCCL01": "LON1", "DCCL02": "NTH1"})
    play.hub.adjust("A", -1, dc="DCCL02")
    (event,) = await play.look()
    assert event.location == "DCCL02"


async def test_a_bad_row_is_a_letter_once_and_the_rest_goes_on(play):
    play.hub.adjust("A", -1).row["StockAdjustment"]["StockAdjustmentDate"] = "soon"
    play.hub.adjust("A", -2)
    found = await play.look()
    assert units(found) == [("A", -2)]
    assert len(letters(found)) == 1
    assert await play.look(minutes=15) == []


async def test_one_service_that_is_refused_does_not_keep_the_others_from_being_read(make_play):
    play = make_play(paths={"dispatch": "no/such/{from}/{to}.json"})
    play.hub.adjust("A", -1)
    batch = await play.source.read(None)
    assert units(batch.items) == [("A", -1)]
    with pytest.raises(RetriableError, match=r"404; fix url, or paths.dispatch") as caught:
        await play.source.read(batch.cursor)
    assert caught.value.retry_after_s == 300
    play.hub.adjust("A", -2)
    await play.push()
    assert [delta for _, _, delta, _ in play.deltas()] == [-1, -2]


async def test_a_throttled_look_is_retried_from_where_it_was(play):
    play.hub.adjust("A", -1)
    play.hub.faults.next.append(HubFault("http", 429, {"Retry-After": "7"}))
    with pytest.raises(RetriableError) as caught:
        await play.source.read(None)
    assert caught.value.retry_after_s == 7
    assert units(await play.look()) == [("A", -1)]


def test_a_cursor_of_another_kind_is_refused():
    for text in ("{}x", "x", '{"since": null}', "e30="):
        with pytest.raises(FatalError):
            SekoState.from_text(text)


async def test_a_long_cursor_is_packed_and_says_the_same(play):
    for _ in range(200):
        play.hub.adjust("A", -1)
    await play.look()
    assert not play.cursor.startswith("{")
    state = SekoState.from_text(play.cursor)
    assert len(state.told) == 200
    assert state.to_text() == play.cursor


# ---- gaps


async def test_a_gap_is_looked_for_at_once_and_filled(play):
    await play.look()
    for number in (1, 2, 3):
        play.hub.adjust("A", -number)
    play.hub.messages[1].ended = "lost"
    await play.push(minutes=1)
    assert units(await play.look()) == [("A", -2)]
    state = SekoState.from_text(play.cursor)
    assert (state.gaps, state.expected) == ({}, {"adjustment": 4})
    assert letters(await play.look(minutes=120)) == []


async def test_numbers_in_any_order_and_twice_are_no_gap(play):
    play.hub.faults.rates = {"reorder": 1.0, "twice": 0.5}
    for number in range(1, 40):
        play.hub.adjust("A", -number)
    await play.push()
    await play.look()
    assert SekoState.from_text(play.cursor).gaps == {}


async def test_a_lost_receipt_that_nobody_can_poll_is_a_letter_after_its_tries(play):
    for number in (1, 2, 3, 4):
        play.hub.receive(f"ASN-{number}", [("A", 1, "")])
    play.hub.messages[1].ended = play.hub.messages[2].ended = "lost"
    await play.push()
    assert letters(await play.look(minutes=50)) == []
    (letter,) = await play.look(minutes=15)
    assert letter.error.startswith("2 receipt messages never came: 2-3; send them again")
    assert json.loads(letter.value) == {"service": "receipt", "missing": [2, 3]}
    assert await play.look(minutes=60) == []


async def test_a_receipt_that_is_sent_again_in_time_is_no_gap(play):
    for number in (1, 2, 3):
        play.hub.receive(f"ASN-{number}", [("A", 1, "")])
    play.hub.messages[1].ended = "lost"
    await play.push()
    await play.look()
    play.hub.resend("receipt", 2)
    await play.push()
    assert await play.look(minutes=120) == []
    assert len(play.deltas()) == 3


async def test_a_polled_service_whose_rows_have_numbers_and_lack_one_is_a_letter(play):
    for number in (1, 2, 3):
        play.hub.adjust("A", -number)
    play.hub.messages.pop(1)
    await play.push()
    assert letters(await play.look(minutes=50)) == []
    assert len(letters(await play.look(minutes=20))) == 1


async def test_a_polled_service_whose_rows_have_no_numbers_is_covered_by_a_whole_look(play):
    play.hub.numbers_in_polls = False
    await play.look()
    for number in (1, 2, 3):
        play.hub.adjust("A", -number)
    play.hub.messages[1].ended = "lost"
    await play.push(minutes=1)
    assert units(await play.look()) == [("A", -2)]
    assert SekoState.from_text(play.cursor).gaps["adjustment"].keys() == {"2"}
    assert await play.look(minutes=120) == []
    assert SekoState.from_text(play.cursor).gaps == {}


async def test_a_hub_that_counts_anew_opens_no_gap(play):
    play.hub._sequences["adjustment"] = 50_000
    play.hub.adjust("A", -1)
    await play.push()
    await play.look()
    play.hub._sequences["adjustment"] = 0
    play.hub.adjust("A", -2)
    await play.push()
    assert await play.look(minutes=120) == []
    assert SekoState.from_text(play.cursor).expected == {"adjustment": 2}


# ---- the journal


async def test_the_journal_is_kept_until_a_cursor_has_it(play):
    play.hub.adjust("A", -1)
    await play.push()
    first = await play.source.read(None)
    assert await play.source.read(None) == first
    assert len(play.settings.journal.entries()) == 1
    await play.source.read(first.cursor)
    assert play.settings.journal.entries() == ()


async def test_a_crash_that_loses_the_journal_costs_repeats_and_nothing_else(play):
    await play.look()
    play.hub.adjust("A", -1)
    await play.push()
    play.settings.journal.forget(10**9)
    found = await play.look(minutes=15)
    assert units(found) == [("A", -1)]
    assert play.pushed("stock-adjusted")[0].digest == found[0].digest


# ---- the nightly stock


async def night(play, day="2026-11-21", hours=14.5, **how):
    """Midnight comes, the facility counts, and everybody has time to hear of it."""
    midnight = play.time.at.replace(hour=0, minute=0) + timedelta(days=1)
    play.time.at = midnight
    play.hub.end_day(day, **how)
    await play.push()
    return await play.look(minutes=135)


async def test_a_night_that_the_movements_explain_says_nothing(play):
    assert await night(play) == []
    play.hub.receive("ASN-1", [("A", 30, ""), ("B", 5, "")])
    play.hub.load_order("W-1", {"A": 20, "B": 2})
    play.hub.adjust("A", -3)
    play.hub.move("A", 4, AVAILABLE, "Quarantine")
    play.hub.load_order("W-2", {"A": 5})
    await play.push()
    play.hub.dispatch("W-1", {"A": 19, "B": 2})
    await play.push(minutes=60)
    play.hub.messages[-1].ended = "taken"
    assert await night(play, "2026-11-22") == []
    state = SekoState.from_text(play.cursor)
    assert state.nights["DCCL01"].levels["DCCL01"]["A"] == str(100 + 30 - 3 - 4 - 19)
    assert state.moved == {}


async def test_a_night_that_they_do_not_explain_is_one_letter_and_then_the_new_ground(play):
    await night(play)
    play.hub.steal("A", 7)
    (letter,) = await night(play, "2026-11-22")
    assert isinstance(letter, RefusedRecord)
    assert "differs for 1 skus" in letter.error
    assert letter.sku == "A"
    assert json.loads(letter.value)["differences"] == [
        {"sku": "A", "location": "DCCL01", "expected": "100", "counted": "93"}
    ]
    assert await night(play, "2026-11-23") == []


async def test_a_sku_that_is_left_out_is_at_nought(play):
    await night(play)
    play.hub.adjust("007", -100)
    await play.push()
    assert await night(play, "2026-11-22") == []
    play.hub.receive("ASN-1", [("007", 5, "")])
    play.hub.messages[-1].ended = "lost"
    (letter,) = await night(play, "2026-11-23")
    assert letter.sku == "007"


async def test_a_night_in_many_parts_is_compared_once_all_are_there(play):
    await night(play, lines=1)
    play.hub.steal("A", 1)
    play.time.at = play.time.at.replace(hour=0, minute=0) + timedelta(days=1)
    said = play.hub.end_day("2026-11-22", lines=1)
    said[0].ended = "lost"
    await play.push()
    assert ["summary messages never came" in error for error in letters(await play.look(minutes=135))] == [True]
    play.hub.resend("summary", said[0].sequence)
    await play.push()
    assert ["differs for 1 skus" in error for error in letters(await play.look())] == [True]


async def test_services_that_say_nothing_share_no_numbers(play):
    play.hub.load_order("W-1", {"A": 1})
    for number in (1, 5):
        play.hub.track("W-1", "155").row["TrackingDetails"]["SequenceNumber"] = number
    await play.push()
    assert await play.look(minutes=120) == []


async def test_a_night_after_a_lost_receipt_is_not_compared(play):
    await night(play)
    for number in (1, 2, 3):
        play.hub.receive(f"ASN-{number}", [("A", 10, "")])
    play.hub.messages[-2].ended = "lost"
    await play.push()
    found = letters(await night(play, "2026-11-22"))
    assert len(found) == 1
    assert "never came" in found[0]
    play.hub.steal("B", 1)
    assert len(letters(await night(play, "2026-11-23"))) == 1


async def test_nights_do_not_wait_for_ever_for_a_service_that_is_not_there(make_play):
    play = make_play(paths={"movement": "no/such/{from}/{to}.json"})
    for day in (21, 22, 23, 24):
        play.time.at = play.time.at.replace(hour=0, minute=0) + timedelta(days=1)
        play.hub.steal("A", 1)
        play.hub.end_day(f"2026-11-{day}")
        await play.push()
        play.time.at += timedelta(hours=3)
        batch = await play.source.read(play.cursor)
        play.cursor = batch.cursor
    state = SekoState.from_text(play.cursor)
    assert (len(state.waiting), state.nights["DCCL01"].day) == (1, "2026-11-23")


async def test_movements_after_midnight_belong_to_the_next_day(play):
    await night(play)
    play.time.at = play.time.at.replace(hour=0, minute=0) + timedelta(days=1)
    play.hub.end_day("2026-11-22")
    play.time.at += timedelta(minutes=5)
    play.hub.adjust("A", -9)
    await play.push()
    assert await play.look(minutes=135) == []
    assert await night(play, "2026-11-23") == []


async def test_a_control_that_is_too_large_for_a_cursor_is_dropped_and_the_rest_is_kept(play, monkeypatch):
    await night(play)
    play.hub.adjust("A", -9)
    await play.push()
    monkeypatch.setattr(state_module, "MAX_TEXT_CHARS", 300)
    await play.look()
    state = SekoState.from_text(play.cursor)
    assert (state.nights, state.moved) == ({}, {})
    assert state.expected == {"adjustment": 2, "summary": 2}


async def test_without_polls_pushes_and_gaps_are_looked_after_all_the_same(make_play):
    play = make_play(**NOTHING_POLLED)
    for number in (1, 2, 3):
        play.hub.adjust("A", -number)
    play.hub.messages[1].ended = "lost"
    await play.push()
    await play.look()
    assert len(letters(await play.look(minutes=75))) == 1
    assert play.hub.calls == []
