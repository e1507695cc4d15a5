"""Stock batches into documents.

Sealed before they are sent, each unit once, whatever is refused, lost or interrupted.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import date
from random import Random
from typing import Any

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.documents import stock
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import B1Request
from connectors.sap_b1.sink import B1Sink
from lab.simulators.sap_b1.state.company import Company
from schemas.codec import UnencodableError, embedded_codec
from schemas.records import StockBatch, StockDocument
from streams.chain.keys import batch_key
from streams.chain.log import ANCHORS, Anchors
from streams.flow_control.circuit_breaker import CircuitBreaker
from streams.flow_control.lanes import Lanes
from streams.flow_control.slots import Slots
from streams.ports import Ports
from streams.posting.documents import SealedDocuments
from streams.posting.erp import Erp
from streams.posting.in_flight import Ended, InFlightPosting
from streams.posting.lifecycle import Trigger
from streams.posting.stock import StockPosting
from streams.telemetry.metrics import Metrics
from tests import builders
from tests.streams.fakes import MemoryLog, config
from tests.streams.posting.b1 import B1, MASTER_DATA, lose_answer
from tests.streams.virtual import Clock

CODEC, CONFIG = embedded_codec(), config()


def batch(event_id: str, sku: str = "A", net: str = "1", reason: str = "found", day: int = 21) -> StockBatch:
    return builders.batch(event_id, net, sku, reason=reason, posting_date=date(2026, 11, day))


class StockBench:
    """The stock side of one poster."""

    def __init__(self, log: MemoryLog, b1: B1) -> None:
        self.log, self.b1, self.lanes = log, b1, Lanes()
        self.points: dict[str, int] = {}
        self.replaced = False
        ports = Ports(log, CODEC, Clock(), Random(1), Metrics(CONFIG), lambda _: b1, self._point)
        sink, mapping = B1Sink(b1), CONFIG.maps["acme"]
        self.breaker = CircuitBreaker("acme", b1.ping, ports.clock, ports.random)
        erp = Erp(sink, self.breaker, Slots(4), ports)
        self.sealed = SealedDocuments("acme", CONFIG, ports, Anchors(log, CODEC, ANCHORS))
        self.stock = StockPosting(
            mapping, erp, sink, MasterDataCache(b1, ports.clock), self.lanes, self.sealed, ports, self.in_term
        )
        self.running = asyncio.create_task(self.stock.run())

    async def in_term(self) -> bool:
        return not self.replaced

    async def _point(self, name: str) -> None:
        self.points[name] = self.points.get(name, 0) + 1

    async def post(self, one: StockBatch) -> Ended:
        posting = builders.posting("stock_batch", k=batch_key(one), order_id=None, topic="stock-sealed")
        return await self.stock.post(InFlightPosting(posting, one, lambda _: None, 0))

    async def all(self, *batches: StockBatch) -> list[Any]:
        return await asyncio.gather(*(self.post(one) for one in batches), return_exceptions=True)

    async def close(self) -> None:
        self.running.cancel()
        self.stock.quiesce()
        self.stock.stop()
        await asyncio.gather(self.running, self.stock.close(), self.breaker.stop(), return_exceptions=True)

    def documents(self) -> list[StockDocument]:
        return [CODEC.decode(one.value or b"", StockDocument) for one in self.log._records["erp-documents", 0]]


@pytest.fixture
async def benches() -> AsyncIterator[Any]:
    log, b1, made = MemoryLog.of(CONFIG), B1(), list[StockBench]()

    def make() -> StockBench:
        made.append(StockBench(log, b1))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()


async def test_batches_that_wait_are_one_document_and_end_together(benches: Any) -> None:
    bench = benches()
    ended = await bench.all(batch("a", "A", "2"), batch("b", "A", "3"), batch("c", "B", "1"))
    assert {(one.ending, one.outcome) for one in ended} == {("posted", "created")}
    assert len({one.documents for one in ended}) == 1
    (document,) = bench.documents()
    assert [(line.item_code, line.quantity) for line in document.lines] == [("A", 5), ("B", 1)]
    (written,) = bench.b1.documents("InventoryGenEntries")
    assert written["U_STREAMS_KEY"] == document.k
    assert len(bench.b1.change_sets) == 1


async def test_a_net_of_nothing_needs_neither_document_nor_b1(benches: Any) -> None:
    bench = benches()
    bench.b1.away = True
    assert await asyncio.wait_for(bench.post(batch("a", net="0")), 1) == Ended(Trigger.NOTHING_TO_DO)


async def test_a_document_is_sealed_before_it_is_sent(benches: Any) -> None:
    bench = benches()
    seen: list[int] = []
    bench.b1.before = lambda _: seen.append(len(bench.documents()))
    await bench.all(batch("a"))
    assert seen == [1]


async def test_a_lost_answer_is_met_by_the_claim(benches: Any) -> None:
    bench = benches()
    bench.b1.after = lose_answer()
    (ended,) = await bench.all(batch("a"))
    assert (ended.ending, ended.outcome) == ("posted", "adopted")
    assert bench.b1.on_hand("A") == 101


@pytest.mark.parametrize("commit", [True, False])
async def test_a_successor_sends_the_sealed_document_again_as_it_is(benches: Any, commit: bool) -> None:
    bench = benches()
    hang = asyncio.Event()

    async def killed() -> None:
        posting = asyncio.create_task(bench.all(batch("a"), batch("b", "B")))
        while not bench.documents():  # noqa: ASYNC110  # virtual time
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.2 if commit else 0)
        await bench.close()
        posting.cancel()

    bench.b1.seconds = 0.1 if commit else 1000
    await killed()
    hang.set()
    bench.b1.seconds = 0.1
    successor = benches()
    ended = await successor.all(batch("a"), batch("b", "B"))
    assert {one.ending for one in ended} == {"posted"}
    assert len(successor.documents()) == 1
    assert (successor.b1.on_hand("A"), successor.b1.on_hand("B")) == (101, 101)


async def test_what_b1_refuses_is_halved_until_the_guilty_batch_stands_alone(benches: Any) -> None:
    bench = benches()
    ended = await bench.all(*(batch(sku, sku, "-150" if sku == "C" else "-1", "lost") for sku in "ABCDEF"))
    refused = [one for one in ended if isinstance(one, Refusal)]
    assert [(one.reason, one.waits_for) for one in refused] == [("negative_stock", "item:C")]
    assert [bench.b1.on_hand(sku) for sku in "ABCDEF"] == [99, 99, 100, 99, 99, 99]
    claims = {row["Code"]: row["U_STATE"] for row in bench.b1.company.ledger()["claims"]}
    written = {one["U_STREAMS_KEY"] for one in bench.b1.documents("InventoryGenExits")}
    assert {document.k for document in bench.documents()} == set(claims)
    assert all((state == "posted") == (k in written) for k, state in claims.items())


async def test_a_withdrawn_document_that_was_applied_late_stands_and_its_batches_with_it(benches: Any) -> None:
    """The first request is still on its way when its batches would be freed: void meets its claim."""
    bench = benches()

    def refuses(requests: Sequence[B1Request]) -> None:
        bench.b1.before = lambda _: None
        original = bench.b1.company.apply

        def apply(sent: Any, holder: str | None = None) -> Any:
            bench.b1.company.apply = original
            original(sent, holder)  # committed, while the answer is another's refusal
            return [_refusal()]

        bench.b1.company.apply = apply

    bench.b1.before = refuses
    ended = await bench.all(batch("a"), batch("b", "B"))
    assert {one.ending for one in ended} == {"posted"}
    assert (bench.b1.on_hand("A"), bench.b1.on_hand("B")) == (101, 101)
    assert len(bench.b1.documents("InventoryGenEntries")) == 1


def _refusal() -> Any:
    from lab.simulators.sap_b1.state.messages import refusal

    return refusal(-10, "Quantity falls into negative inventory")


async def test_two_documents_of_one_item_are_never_under_way_together(benches: Any) -> None:
    bench = benches()
    waves = [
        asyncio.create_task(
            bench.all(*(batch(f"{n}{sku}", sku, reason=reason) for sku in "ABCD" for reason in ("found", "receipt")))
        )
        for n in range(5)
    ]
    for wave in waves:
        assert {one.ending for one in await wave} == {"posted"}
    assert bench.b1.clashes == []
    assert [bench.b1.on_hand(sku) for sku in "ABCD"] == [110] * 4


async def test_a_locked_item_keeps_only_its_own_batch_waiting(benches: Any) -> None:
    bench = benches()
    bench.b1.company.lock("A", "people:ann")
    slow = asyncio.create_task(bench.post(batch("a")))
    fast = await asyncio.wait_for(bench.all(batch("b", "B"), batch("c", "C")), 30)
    assert {one.ending for one in fast} == {"posted"}
    bench.b1.company.unlock("A", "people:ann")
    assert (await asyncio.wait_for(slow, 120)).ending == "posted"
    assert bench.b1.on_hand("A") == 101


async def test_an_item_that_stays_locked_is_refused_as_such(benches: Any) -> None:
    bench = benches()
    bench.b1.company.lock("A", "people:ann")
    with pytest.raises(Refusal, match="held by somebody") as refused:
        await bench.post(batch("a"))
    assert (refused.value.reason, refused.value.waits_for) == ("item_locked", "item:A")


async def test_an_item_of_a_batch_that_b1_does_not_know_is_refused_before_anything_is_sealed(benches: Any) -> None:
    bench = benches()
    (refusal,) = await bench.all(batch("a", "NEW"))
    assert (refusal.reason, refusal.waits_for) == ("unknown_item", "item:NEW")
    assert bench.documents() == []


async def test_while_b1_is_away_batches_gather_and_go_out_in_few_documents(benches: Any) -> None:
    """R165: a backlog drains in fuller documents, not in more calls."""
    bench = benches()
    await bench.all(batch("first", "H"))
    bench.b1.away = True
    waiting = asyncio.create_task(bench.all(*(batch(f"{n}", "ABCDEFG"[n % 7]) for n in range(700))))
    await asyncio.sleep(3600)
    assert not waiting.done()
    bench.b1.away = False
    assert {one.ending for one in await waiting} == {"posted"}
    assert len(bench.b1.documents("InventoryGenEntries")) <= 4
    assert bench.b1.on_hand("A") == 200


async def test_a_loser_of_the_chain_posts_nothing_twice(benches: Any) -> None:
    """Two posters at once: the second's record comes second, what the first sealed stands."""
    one, two = benches(), benches()
    await one.all(batch("x", "H"))
    results = await asyncio.gather(one.all(batch("a"), batch("b", "B")), two.all(batch("a"), batch("c", "C")))
    assert {ended.ending for ended in (*results[0], *results[1])} == {"posted"}
    assert [one.b1.on_hand(sku) for sku in "ABC"] == [101, 101, 101]


async def test_a_poster_that_finds_itself_replaced_when_it_has_sealed_sends_nothing_more(benches: Any) -> None:
    """Its successor had walked the chain before, and may have refused the batch meanwhile."""
    paused, successor = benches(), benches()
    await paused.post(batch("a", "A"))
    paused.replaced = True
    waiting = [asyncio.create_task(paused.post(batch(name, "B"))) for name in "bc"]
    await asyncio.sleep(600)
    assert not any(task.done() for task in waiting)
    assert [document.batch_ks for document in paused.documents()] == [
        (batch_key(batch("a")),),
        (
            batch_key(batch("b", "B")),
            batch_key(batch("c", "B")),
        ),
    ]
    assert len(paused.b1.change_sets) == 1
    ended = await successor.all(batch("b", "B"), batch("c", "B"))
    assert [one.ending for one in ended] == ["posted", "posted"]
    assert len(paused.b1.documents("InventoryGenEntries")) == 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_documents_of_many_serial_numbers_fit_their_topic(benches: Any) -> None:
    """50,000 units of one item, day and account are 1.1 MB in one document: it was sealed again and again."""
    bench = benches()
    items = [{"ItemCode": "A", "ManageSerialNumbers": "tYES"}]
    master_data = {**MASTER_DATA, "Items": items, "stock": []}
    bench.b1.company = Company("SBO_ACME", clock=Clock().now, with_claims=True, master_data=master_data)
    serials = [tuple(f"{n}-{each:018d}" for each in range(10_000)) for n in range(5)]
    ended = await bench.all(
        *(replace(batch(str(n), net="10000", reason="receipt"), serials=own) for n, own in enumerate(serials))
    )
    assert [getattr(one, "ending", one) for one in ended] == ["posted"] * 5
    assert all(len(CODEC.encode(document)) < 1_048_576 for document in bench.documents())
    sealed = [number for document in bench.documents() for line in document.lines for number in line.serials]
    assert sorted(sealed) == sorted(number for own in serials for number in own)


async def test_a_document_that_cannot_be_sealed_is_halved_and_a_batch_that_never_can_is_refused(
    benches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = benches()
    bad = batch_key(batch("bad", "B"))
    seal = bench.sealed.seal

    async def strict(*arguments: Any) -> Any:
        if bad in arguments[-1]:
            raise UnencodableError("stock_document: 1050210 bytes, and its topic takes 1048576: split it")
        return await seal(*arguments)

    monkeypatch.setattr(bench.sealed, "seal", strict)
    ended = await bench.all(batch("a"), batch("b"), batch("bad", "B"), batch("c"))
    assert isinstance(ended[2], Refusal)
    assert ended[2].reason == "invalid_event"
    assert [one.ending for one in (*ended[:2], ended[3])] == ["posted"] * 3
    assert bench.running.done() is False


async def test_a_batch_that_waits_goes_with_the_document_that_a_predecessor_sealed_meanwhile(benches: Any) -> None:
    new, old = benches(), None
    await new.post(batch("z", "H"))  # it has begun, and walked the chain
    old = benches()
    old.replaced = True
    await old.sealed.open()
    a, b = batch("a", "A"), batch("b", "B")
    before = new.b1.company.on_hand("A", "LON1"), new.b1.company.on_hand("B", "LON1")
    async with new.lanes.hold({"A"}):  # an order holds the item: a waits in the pool
        waiting = asyncio.create_task(new.post(a))
        await asyncio.sleep(2)
        resolved = [await new.stock._resolve(one) for one in (a, b)]
        first = resolved[0]
        ks = [batch_key(a), batch_key(b)]
        lines = stock.merge(resolved)
        assert await old.sealed.seal(first.direction, first.posting_date, first.account, lines, ks)
        await new.post(batch("c", "C"))  # loses the race, and walks what was sealed
    await waiting
    await new.post(b)
    after = new.b1.company.on_hand("A", "LON1"), new.b1.company.on_hand("B", "LON1")
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1], "posted twice"
