"""Sealed stock documents: which batch lies in which, before anything is sent."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from connectors.base.errors import LogError
from schemas.codec import embedded_codec
from schemas.records import DocumentLine, StockDocument
from streams.chain.log import ANCHORS, Anchors
from streams.ports import Ports
from streams.posting import sealed_batches
from streams.posting.documents import SealedDocuments
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import MemoryLog, config
from tests.streams.virtual import Clock

CODEC, CONFIG = embedded_codec(), config()
LINE = DocumentLine(item_code="A", warehouse="LON1", reason="found", quantity=Decimal(3))
DAY = date(2026, 11, 21)


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog.of(CONFIG)


async def opened(log: MemoryLog) -> SealedDocuments:
    ports = Ports(log, CODEC, Clock(), Random(1), Metrics(CONFIG), lambda _: None)  # type: ignore[arg-type, return-value]
    sealed = SealedDocuments("acme", CONFIG, ports, Anchors(log, CODEC, ANCHORS))
    await sealed.open()
    return sealed


async def seal(sealed: SealedDocuments, *ks: str, **fields: Any) -> tuple[int, StockDocument] | None:
    return await sealed.seal("entry", DAY, None, (replace(LINE, **fields),), ks)


async def test_a_document_is_durable_before_it_is_known(log: MemoryLog) -> None:
    sealed = await opened(log)
    offset, document = await seal(sealed, "b1", "b2")  # type: ignore[misc]
    (record,) = log._records["erp-documents", 0]
    assert (offset, record.key, CODEC.decode(record.value or b"", StockDocument)) == (0, b"acme", document)
    assert (document.direction, document.posting_date, document.lines, document.batch_ks) == (
        "entry",
        DAY,
        (LINE,),
        ("b1", "b2"),
    )
    assert document.k.startswith("stock_document-")
    assert await sealed.of("b1") == await sealed.of("b2") == (0, document)
    assert await sealed.of("b3") is None


async def test_the_last_document_that_holds_a_batch_speaks_for_it(log: MemoryLog) -> None:
    sealed = await opened(log)
    await seal(sealed, "b1", "b2")
    second = await seal(sealed, "b1")
    assert await sealed.of("b1") == second
    assert (await sealed.of("b2"))[0] == 0  # type: ignore[index]
    again = await opened(log)
    assert await again.of("b1") == second


async def test_two_documents_of_the_same_content_have_two_keys(log: MemoryLog) -> None:
    sealed = await opened(log)
    one, two = await seal(sealed, "b1"), await seal(sealed, "b1")
    assert one is not None
    assert two is not None
    assert one[1].k != two[1].k


async def test_whoever_comes_second_seals_nothing_and_sees_the_first(log: MemoryLog) -> None:
    one, two = await opened(log), await opened(log)
    first = await seal(one, "b1")
    assert await seal(two, "b1", "b2") is None
    assert await two.of("b1") == first
    assert await two.of("b2") is None
    third = await seal(two, "b2")
    assert third is not None
    assert (await opened(log)).place == "erp-documents/0"
    assert await (await opened(log)).of("b2") == third


async def test_two_keys_of_one_hash_are_told_apart_by_the_record(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed_batches, "_key", lambda k: 1)
    sealed = await opened(log)
    await seal(sealed, "b1")
    assert await sealed.of("b2") is None
    assert await sealed.of("b1") is not None


async def test_while_the_broker_is_away_nothing_is_sealed(log: MemoryLog) -> None:
    sealed = await opened(log)
    log.away = "gone"
    with pytest.raises(LogError):
        await seal(sealed, "b1")
    log.away = None
    assert await sealed.of("b1") is None
    assert await seal(sealed, "b1") is not None


async def test_a_document_that_cannot_be_read_again_is_an_error_and_not_a_miss(log: MemoryLog) -> None:
    sealed = await opened(log)
    await seal(sealed, "b1")
    await log.delete_records("erp-documents", 0, 1)
    with pytest.raises(LogError):
        await sealed.of("b1")


class DailyClock(Clock):
    """It is another day whenever a test says so."""

    days = 0

    def now(self) -> datetime:
        return super().now() + timedelta(days=self.days)


async def test_a_chain_that_outlives_its_logs_retention_in_one_process_has_a_root(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An anchor is written every day, and memory lets go of what the log has let go of."""
    monkeypatch.setattr(sealed_batches, "_BLOCK_BATCHES", 1)
    ports = Ports(log, CODEC, clock := DailyClock(), Random(1), Metrics(CONFIG), lambda _: None)  # type: ignore[arg-type, return-value]
    sealed = SealedDocuments("acme", CONFIG, ports, Anchors(log, CODEC, ANCHORS))
    await sealed.open()
    for day in range(60):
        clock.days = day
        await seal(sealed, f"b{day}")
        await log.delete_records("erp-documents", 0, max(0, day - 41))
        await sealed.keep()
    assert len(sealed._batches) == 42
    assert await sealed.of("b17") is None
    again = await opened(log)
    assert (await again.of("b59"), await again.of("b30")) == (await sealed.of("b59"), await sealed.of("b30"))
    assert await again.seal("entry", DAY, None, (LINE,), ("new",)) is not None
