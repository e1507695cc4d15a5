"""A company that a person has ended: what is queued for it ends as dead letters, and its partition is free."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from schemas.codec import embedded_codec
from schemas.records import Posting, SealedEpoch
from streams.audit.trail import AuditTrail
from streams.chain.keys import event_key
from streams.config.load import Config
from streams.faust_host.watermarks import encode_counts
from streams.ports import Ports
from streams.posting.foreign import ForeignQueueError, queue_of
from streams.posting.queued import queued_for
from streams.posting.retired import DECISION_POLL_S, RETIRE, retired_companies
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import ERP_ORDERS, SEALED, Pipeline
from tests import builders
from tests.streams.facts import NOW, order
from tests.streams.fakes import MemoryLog
from tests.streams.records import FakeBatch, raw, raw_of, two_companies
from tests.streams.virtual import Clock
from tests.streams.worker.test_pipeline import NoServiceLayer

CODEC = embedded_codec()


class Worker:
    """A worker whose configuration no longer has the company `gone`, on partition 1, and what lies in its queue."""

    def __init__(self) -> None:
        self.config: Config = two_companies()
        self.log = MemoryLog.of(self.config)
        clock: Any = Clock()
        service_layer: Any = lambda _: NoServiceLayer()  # noqa: E731
        metrics = Metrics(self.config)
        self.pipeline = Pipeline(self.config, Ports(self.log, CODEC, clock, Random(1), metrics, service_layer))
        self.trail = AuditTrail(self.log, self.config, CODEC, clock)

    def queued(self, *companies: str) -> FakeBatch:
        postings = [
            builders.posting(
                "order_placed",
                k=event_key(event := replace(order(str(n)), company=company)),
                company=company,
                order_id=str(n),
                offset=n,
                value=CODEC.encode(event),
            )
            for n, company in enumerate(companies)
        ]
        return FakeBatch([raw(ERP_ORDERS, n, CODEC.encode(each), partition=1) for n, each in enumerate(postings)])

    async def retire(self, company: str) -> None:
        async with self.trail.command(RETIRE, by="jane", what=company):
            pass

    def dead(self) -> list[Any]:
        return self.log._records.get(("order-placed-dead-letter", 0), [])


@pytest.fixture
async def worker() -> Worker:
    return Worker()


async def test_what_is_queued_for_nobody_waits_until_its_company_is_ended(worker: Worker) -> None:
    assert await worker.pipeline.open_poster(1, {}, 0) is None
    running = asyncio.create_task(worker.pipeline.ownerless[1].run())
    batch, behind = worker.queued("gone", "gone"), worker.queued("gone")
    await worker.pipeline.take(ERP_ORDERS, 1, batch)
    await worker.pipeline.take(ERP_ORDERS, 1, behind)
    await asyncio.sleep(DECISION_POLL_S * 3)
    assert (batch.finished, worker.dead()) == ({}, [])
    await worker.retire("gone")
    await asyncio.sleep(DECISION_POLL_S * 3)
    assert batch.all_finished
    assert behind.all_finished
    assert len(worker.dead()) == 3
    assert {dict(letter.headers)["b1streams.reason"] for letter in worker.dead()} == {b"foreign"}
    running.cancel()


async def test_of_several_companies_only_the_ended_ones_go(worker: Worker) -> None:
    await worker.retire("gone")
    await worker.pipeline.open_poster(1, {}, 0)
    running = asyncio.create_task(worker.pipeline.ownerless[1].run())
    batch = worker.queued("gone", "lost", "gone")
    await worker.pipeline.take(ERP_ORDERS, 1, batch)
    await asyncio.sleep(DECISION_POLL_S * 3)
    assert set(batch.finished) == {0, 2}
    running.cancel()


async def test_its_partition_is_taken_over_by_another_company(worker: Worker) -> None:
    with pytest.raises(ForeignQueueError, match="streams company retire gone"):
        await worker.pipeline.open_poster(2, queue_of("gone"), 0)
    await worker.retire("gone")
    assert await worker.pipeline.open_poster(2, queue_of("gone"), 0) is not None
    await worker.pipeline.release((), {2})


async def test_what_waits_for_a_company_is_counted_before(worker: Worker) -> None:
    log, config = worker.log, worker.config
    assert await queued_for(log, config, CODEC, "gone") is None
    for record in worker.queued("gone", "gone", "other").records:
        await log.send(config.topic(ERP_ORDERS), 1, b"gone", record.value)
    assert await queued_for(log, config, CODEC, "gone") == 2
    log.commit(config.group, config.topic(ERP_ORDERS), 1, 3, encode_counts(queue_of("gone")))
    assert await queued_for(log, config, CODEC, "gone") == 0
    assert await retired_companies(worker.trail) == frozenset()


async def test_sealed_stock_of_a_company_that_is_gone_is_a_dead_letter_and_the_others_go_on(worker: Worker) -> None:
    """It was sealed under a configuration that had the company."""
    partition = worker.pipeline.stock_partition(1)
    await partition.open(None, 0)
    epoch = SealedEpoch(
        number=0,
        prev_digest=bytes(16),
        start=0,
        end=2,
        sealed_at=NOW,
        config_version="c",
        cause="length",
        batches=(builders.batch("e1", company="gone"), builders.batch("e2", company="acme")),
    )
    await worker.log.send(SEALED, 1, b"1", CODEC.encode(epoch))
    await worker.pipeline.take(SEALED, 1, FakeBatch([raw_of(one) for one in worker.log._records[SEALED, 1]]))
    (queued,) = worker.log._records["erp-stock", 0]
    assert CODEC.decode(queued.value, Posting).company == "acme"
    (letter,) = worker.log._records["erp-stock-dead-letter", 0]
    assert dict(letter.headers)["b1streams.reason"] == b"foreign"
