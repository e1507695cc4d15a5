"""A write comes back only when its outcome is known; while B1 is away nothing is sent and nothing is given up."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from connectors.base.errors import FatalError
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import B1Request, NotSentError
from connectors.sap_b1.sink import Found, Written
from schemas.codec import embedded_codec
from schemas.records import Document
from streams.flow_control.circuit_breaker import CircuitBreaker
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

    async def look_up(self, ks: Sequence[str]) -> dict[str, Found]:
        return dict.fromkeys(ks, self.found)

    async def write(self, claims: Sequence[Claim], requests: Sequence[B1Request]) -> Written:
        self.sent.append((tuple(claims), tuple(requests)))
        answer = self.answers.pop(0)
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


async def test_a_second_unknown_in_a_row_pauses_everybody_and_gives_nothing_up() -> None:
    bench = Bench(*[OC.UNKNOWN] * 6, OC.APPLIED)
    writing = asyncio.create_task(bench.write())
    while bench.breaker.is_closed:  # noqa: ASYNC110  # virtual time
        await asyncio.sleep(0)
    assert len(bench.sink.sent) == 2
    assert (await writing).outcome is OC.APPLIED
    assert bench.sink.sent == [((CLAIM,), (REQUEST,))] * 7


@pytest.mark.parametrize("outcome", [OC.NOT_SENT, OC.UNAVAILABLE, OC.SESSION])
async def test_while_b1_is_away_nothing_is_sent(outcome: OutcomeClass) -> None:
    bench = Bench(outcome, OC.APPLIED)
    bench.sink.away = True
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(3600)
    assert len(bench.sink.sent) == 1
    assert bench.sink.pings > 100  # about every 15 s, with jitter
    assert not bench.breaker.is_closed
    bench.sink.away = False
    assert (await writing).outcome is OC.APPLIED
    assert 3500 < bench.breaker.open_s < 3700


async def test_a_locked_item_is_tried_again_with_jitter_until_patience_ends() -> None:
    bench = Bench(*[OC.LOCKED] * 500)
    started = bench.clock.monotonic()
    assert (await bench.write(patience_s=60)).outcome is OC.LOCKED
    assert 60 <= bench.clock.monotonic() - started <= 71
    assert 8 <= len(bench.sink.sent) <= 60
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
    bench = Bench(FatalError("B1 refuses the password"))
    writing = asyncio.create_task(bench.write())
    await asyncio.sleep(86_400)
    assert not writing.done()
    assert len(bench.sink.sent) == 1
    assert bench.sink.pings == 0
    writing.cancel()


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
