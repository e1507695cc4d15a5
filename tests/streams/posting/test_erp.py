"""A write comes back only when its outcome is known; while B1 is away nothing is sent and nothing is given up."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import (
    B1Request,
    NotSentError,
    PasswordRefusedError,
    QueryRefusedError,
    UnavailableError,
)
from connectors.sap_b1.sink import Found, Written
from schemas.codec import embedded_codec
from schemas.records import Document
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slots
from streams.ports import Ports
from streams.posting.erp import Erp
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import Clock

OC = OutcomeClass
CLAIM = Claim("order_placed-" + "A" * 26, "order_placed", bytes(16), "1 order-placed/0/0")
REQUEST = B1Request("POST", "Orders", {"CardCode": "C"})


@dataclass
class Sink:
    """Says what it is told to, one answer after the other."""

    answers: list[Any]
    sent: list[tuple[Any, Any]] = field(default_factory=list)
    pings: int = 0
    away: bool = False
    found: Found = field(default_factory=Found)
    void: Any = OC.APPLIED

    async def look_up(self, ks: Sequence[str]) -> dict[str, Found]:
        return dict.fromkeys(ks, self.found)

    async def write(self, claims: Sequence[Claim], requests: Sequence[B1Request]) -> Written:
        self.sent.append((tuple(claims), tuple(requests)))
        answer = self.void if claims[0].state == "void" else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Written) else Written(answer)

    async def ping(self) -> bool:
        self.pings += 1
        return not self.away


class Bench:
    """An `Erp` over a sink that answers as it is told."""

    def __init__(self, *answers: Any, slots: int = 1) -> None:
        settings = config()
        self.clock, self.metrics, self.sink = Clock(), Metrics(settings), Sink(list(answers))
        ports = Ports(MemoryLog.of(settings), embedded_codec(), self.clock, Random(1), self.metrics, lambda _: None)  # type: ignore[arg-type, return-value]
        self.breaker, self.slots = CircuitBreaker("acme", self.sink.ping, self.clock, Random(1)), Slots(slots)
        self.erp = Erp(self.sink, self.breaker, self.slots, ports)  # type: ignore[arg-type]

    async def write(self, patience_s: float = 60, **options: Any) -> Written:
        return await self.erp.write([CLAIM], [REQUEST], lock_patience_s=patience_s, **options)


@pytest.mark.parametrize("outcome", [OC.APPLIED, OC.EXISTS, OC.REJECTED])
async def test_what_is_known_comes_back_at_once(outcome: OutcomeClass) -> None:
    bench = Bench(outcome)
    assert (await bench.write()).outcome is outcome
    assert bench.breaker.is_closed


async def test_an_unknown_answer_is_resolved_by_the_identical_request() -> None:
    bench = Bench(OC.UNKNOWN, OC.EXISTS)
    assert (await bench.write()).outcome is OC.EXISTS
    assert bench.sink.sent == [((CLAIM,), (REQUEST,))] * 2
    assert bench.breaker.is_closed


@pytest.mark.parametrize("entity", ["Drafts", "Orders"])
async def test_after_an_unknown_answer_a_draft_or_what_was_approved_of_it_is_not_sent_again(entity: str) -> None:
    bench = Bench(OC.UNKNOWN)
    bench.sink.found = Found(ref=Document(object=entity, doc_entry=1, doc_num=1), draft=entity == "Drafts")
    written = await bench.write()
    assert (written.outcome, written.reason) == (OC.REJECTED, "approval_required")
    assert len(bench.sink.sent) == 1


async def test_what_has_its_claim_is_resolved_by_the_identical_request() -> None:
    bench = Bench(OC.UNKNOWN, OC.EXISTS)
    bench.sink.found = Found(claim=CLAIM, ref=Document(object="Orders", doc_entry=1, doc_num=1))
    assert (await bench.write()).outcome is OC.EXISTS


@pytest.mark.parametrize("outcome", [OC.UNKNOWN, OC.UNAVAILABLE, OC.SESSION])
async def test_a_failure_pauses_everybody_where_a_read_fails_too_and_gives_nothing_up(outcome: OutcomeClass) -> None:
    bench = Bench(*[outcome] * 2, OC.APPLIED)
    bench.sink.away = True
    writing = asyncio.create_task(bench.write(own_patience_s=180))
    await asyncio.sleep(3600)
    assert len(bench.sink.sent) <= 2
    assert bench.breaker.state == "open"
    bench.sink.away = False
    assert (await writing).outcome is OC.APPLIED
    assert bench.sink.sent == [((CLAIM,), (REQUEST,))] * len(bench.sink.sent)


async def test_what_fails_for_its_own_sake_pauses_nobody_and_is_tried_about_twice_a_minute_at_the_end() -> None:
    """Row 2 of the finds of the field: 8 identical writes a second for ever."""
    bench = Bench(*[OC.UNKNOWN] * 500)
    writing = asyncio.create_task(bench.write())  # one that must be done: without an end
    await asyncio.sleep(60)
    assert len(bench.sink.sent) <= 9
    await asyncio.sleep(600)
    assert len(bench.sink.sent) <= 9 + 2.7 * 10
    assert (bench.breaker.state, bench.breaker.opened) == ("closed", 0)
    assert not writing.done()
    writing.cancel()


async def test_what_fails_for_its_own_sake_is_made_impossible_and_then_refused() -> None:
    bench = Bench(*[Written(OC.UNKNOWN, error="HTTP 502, 502 Proxy Error")] * 60)
    started = bench.clock.monotonic()
    written = await bench.write(own_patience_s=180)
    assert (written.outcome, written.reason) == (OC.REJECTED, "erp_cannot")
    assert "502 Proxy Error" in (written.error or "")
    assert 150 <= bench.clock.monotonic() - started <= 300
    assert len(bench.sink.sent) <= 60
    assert bench.sink.sent[-1] == ((replace(CLAIM, state="void"),), ())
    assert bench.sink.sent[:-1] == [((CLAIM,), (REQUEST,))] * (len(bench.sink.sent) - 1)


async def test_what_has_landed_when_it_is_to_be_made_impossible_is_adopted() -> None:
    landed = Written(OC.EXISTS, claim=CLAIM, ref=Document(object="Orders", doc_entry=1, doc_num=1))
    bench = Bench(*[OC.UNKNOWN] * 60)
    bench.sink.void = landed
    assert await bench.write(own_patience_s=180) == landed


async def test_where_b1_takes_no_write_at_all_nothing_is_given_up() -> None:
    bench = Bench(*[OC.UNKNOWN] * 400, slots=8)
    writes = [asyncio.create_task(bench.write(own_patience_s=180)) for _ in range(5)]
    await asyncio.sleep(60)
    sent = len(bench.sink.sent)
    await asyncio.sleep(1200)
    assert not any(write.done() for write in writes)
    assert bench.breaker.opened
    assert not any(claims[0].state == "void" for claims, _ in bench.sink.sent)
    assert len(bench.sink.sent) - sent + bench.sink.pings <= 20 * 20
    for write in writes:
        write.cancel()


async def test_a_withdrawn_event_that_is_sent_again_is_another_attempt_under_the_same_key() -> None:
    void = Written(OC.EXISTS, claim=replace(CLAIM, state="void", attempt=1))
    bench = Bench(void, OC.APPLIED)
    assert (await bench.write()).outcome is OC.APPLIED
    (first, _), (second, requests) = bench.sink.sent
    assert (first, second, requests) == ((CLAIM,), (replace(CLAIM, attempt=2),), (REQUEST,))
    assert second[0].code == f"{CLAIM.k}.2"


async def test_a_pause_that_b1_asks_for_is_kept() -> None:
    """Row 11 of the finds of the field: 469 writes in 60 s."""
    bench = Bench(*[Written(OC.UNAVAILABLE, error="HTTP 429", retry_after_s=60)] * 3, OC.APPLIED)
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(59)
    assert len(bench.sink.sent) == 1
    await asyncio.sleep(60)
    assert len(bench.sink.sent) == 2
    assert (await writing).outcome is OC.APPLIED


async def test_lanes_are_given_back_between_tries_unless_b1_may_still_be_at_one() -> None:
    lanes = Lanes()

    async def others_wait_s(answered: bool) -> float:
        bench = Bench(*[Written(OC.UNKNOWN, answered=answered)] * 8, OC.APPLIED)
        async with lanes.hold(["A"]) as held:
            writing = asyncio.create_task(bench.write(lanes=held, own_patience_s=1000))
            await asyncio.sleep(0.5)
            started = bench.clock.monotonic()
            async with lanes.hold(["A"]):
                waited_s = bench.clock.monotonic() - started
            assert (await writing).outcome is OC.APPLIED
            assert not lanes.is_free("A")
        return waited_s

    assert await others_wait_s(answered=True) == 0
    # So many quick tries, and then as long as B1 may be at the last of them
    assert 60 <= await others_wait_s(answered=False) <= 100


@pytest.mark.parametrize("outcome", [OC.NOT_SENT, OC.UNAVAILABLE, OC.SESSION])
async def test_while_b1_is_away_nothing_is_sent(outcome: OutcomeClass) -> None:
    bench = Bench(outcome, OC.APPLIED)
    bench.sink.away = True
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(3600)
    assert len(bench.sink.sent) == 1
    assert 100 < bench.sink.pings < 180  # about every 30 s, with jitter
    assert not bench.breaker.is_closed
    bench.sink.away = False
    assert (await writing).outcome is OC.APPLIED
    assert 3500 < bench.breaker.open_s < 3700


async def test_a_locked_item_is_tried_again_with_jitter_until_patience_ends() -> None:
    bench = Bench(*[OC.LOCKED] * 500)
    started = bench.clock.monotonic()
    assert (await bench.write(patience_s=60)).outcome is OC.LOCKED
    assert 60 <= bench.clock.monotonic() - started <= 71
    assert 8 <= len(bench.sink.sent) <= 17
    assert bench.breaker.is_closed  # a lock is no outage


async def test_a_lock_that_goes_in_time_is_nothing() -> None:
    bench = Bench(OC.LOCKED, OC.LOCKED, OC.APPLIED)
    assert (await bench.write(patience_s=60)).outcome is OC.APPLIED


async def test_a_claim_without_its_document_is_never_adopted_and_never_repeated_for_ever() -> None:
    bench = Bench(Written(OC.UNKNOWN, error="the claim stands without its document", orphan=True))
    written = await bench.write()
    assert (written.outcome, written.reason) == (OC.REJECTED, "key_conflict")
    assert len(bench.sink.sent) == 1


async def test_a_wrong_password_holds_until_a_person_acts_and_never_hammers() -> None:
    """F19."""
    bench = Bench(PasswordRefusedError("B1 refuses the password", 1800), OC.APPLIED)
    bench.sink.away = True
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(1799)
    assert (len(bench.sink.sent), bench.sink.pings, bench.breaker.state) == (1, 0, "held")
    bench.sink.away = False
    await asyncio.sleep(2)
    assert (await writing).outcome is OC.APPLIED
    assert bench.sink.pings == 1


async def test_every_attempt_gives_its_slot_back() -> None:
    bench = Bench(OC.UNKNOWN, OC.LOCKED, OC.NOT_SENT, OC.REJECTED, OC.APPLIED)
    async with bench.slots.hold(low_priority=True) as slot:
        await bench.write(slot=slot)  # four attempts, the first in the caller's slot
        await asyncio.wait_for(bench.write(), 1)


async def test_a_cancelled_write_gives_its_slot_back() -> None:
    bench = Bench(OC.LOCKED, OC.APPLIED)
    bench.sink.answers[0:0] = []
    async with bench.slots.hold():
        waiting = asyncio.create_task(bench.write())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert (await asyncio.wait_for(bench.write(), 60)).outcome is OC.APPLIED


async def test_questions_wait_while_b1_is_away() -> None:
    bench, answers = Bench(), [NotSentError("no route"), 42]

    async def question() -> int:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert await bench.erp.ask(question) == 42
    assert bench.sink.pings >= 1


async def test_a_question_that_b1_fails_at_is_refused_while_it_answers_others() -> None:
    bench, asked = Bench(), 0

    async def question() -> int:
        nonlocal asked
        asked += 1
        raise UnavailableError("B1 could not read: HTTP 500, code -1: no words")

    with pytest.raises(Refusal, match="no words") as refused:
        await bench.erp.ask(question, 180)
    assert refused.value.reason == "erp_cannot"
    assert 150 <= bench.clock.monotonic() <= 300
    assert asked <= 12
    assert bench.breaker.opened == 0


@pytest.mark.parametrize(("status", "reason"), [(403, "not_permitted"), (400, "erp_refused")])
async def test_a_question_that_b1_refuses_is_refused_within_minutes(status: int, reason: str) -> None:
    """Row 11 of the finds of the field: 8 reads a second for ever."""
    bench, asked = Bench(), 0

    async def question() -> int:
        nonlocal asked
        asked += 1
        raise QueryRefusedError(f"B1 does not list Items: HTTP {status}", 0, status)

    with pytest.raises(Refusal) as refused:
        await bench.erp.ask(question, 180)
    assert refused.value.reason == reason
    assert bench.clock.monotonic() <= 120
    assert asked <= 8


async def test_when_somebody_has_removed_the_claim_table_everything_waits_until_it_is_there_again() -> None:
    bench, there = Bench(), False

    async def installed() -> bool:
        if not there:
            raise UnavailableError("B1 lacks @STREAMS_CLAIM: run streams doctor --install")
        return True

    async def question() -> int:
        if not there:
            raise QueryRefusedError("B1 does not list U_STREAMS_CLAIM: HTTP 404", 0, 404)
        return 42

    bench.erp.installed = installed
    asking = asyncio.create_task(bench.erp.ask(question, 180))
    await asyncio.sleep(3600)
    assert (bench.breaker.state, bench.breaker.reason) == (
        "open",
        "B1 lacks @STREAMS_CLAIM: run streams doctor --install",
    )
    there = True
    assert await asking == 42
