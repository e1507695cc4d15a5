"""One worker's pipeline: who gets which batch, and what is kept when partitions come and go."""

from random import Random
from typing import Any

import pytest

from schemas.codec import embedded_codec
from streams.ports import Ports
from streams.telemetry.metrics import Metrics
from streams.worker.pipeline import ERP_ORDERS, ERP_STOCK, INPUTS, SEALED, STOCK, Pipeline
from tests.streams.facts import NOW, adjustment, order
from tests.streams.fakes import MemoryLog
from tests.streams.records import FakeBatch, raw, raw_of, two_companies

CODEC = embedded_codec()


class StoppedClock:
    def now(self) -> Any:
        return NOW

    def monotonic(self) -> float:
        return 0.0


class NoServiceLayer:
    """B1 is not asked for anything here."""

    closed = 0

    async def ping(self) -> bool:
        return True

    async def read(self, paths: Any) -> Any:
        from connectors.sap_b1.service_layer import UnavailableError

        raise UnavailableError("not here")

    async def close(self) -> None:
        NoServiceLayer.closed += 1


@pytest.fixture
def pipeline() -> Pipeline:
    config = two_companies()
    ports = Ports(MemoryLog.of(config), CODEC, StoppedClock(), Random(1), Metrics(config), lambda _: NoServiceLayer())  # type: ignore[arg-type, return-value]
    return Pipeline(config, ports)


def log(pipeline: Pipeline) -> MemoryLog:
    return pipeline._ports.log  # type: ignore[return-value]


def test_a_company_sits_on_its_partition_and_the_others_have_none(pipeline: Pipeline) -> None:
    assert [pipeline.company_of(number) for number in range(3)] == ["acme", None, "beta"]


def test_an_event_of_no_known_company_is_sealed_by_the_strictest_limits(pipeline: Pipeline) -> None:
    assert [(limits.length_s, limits.max_members) for limits in map(pipeline.limits, ("acme", "beta", ""))] == [
        (60, 10),
        (5, 900),
        (5, 10),
    ]


def test_every_input_has_an_owner() -> None:
    assert INPUTS == (
        "order-placed",
        "order-cancelled",
        "dispatch-confirmed",
        "refund-issued",
        "stock-adjusted",
        "stock-sealed",
        "erp-orders",
        "erp-stock",
    )


async def test_orders_go_to_the_queue_and_stock_through_its_window(pipeline: Pipeline) -> None:
    batch = FakeBatch([raw("order-placed", 0, CODEC.encode(order("1")))])
    await pipeline.take("order-placed", 0, batch)
    assert batch.all_finished
    assert len(log(pipeline)._records[ERP_ORDERS, 0]) == 1

    await pipeline.stock_partition(1).open(None, 0)
    sent = await log(pipeline).send(STOCK, 1, b"A", CODEC.encode(adjustment("a")))
    await pipeline.take(STOCK, 1, FakeBatch([raw(STOCK, sent.offset, CODEC.encode(adjustment("a")), partition=1)]))
    await pipeline.release({1}, set())
    await pipeline.take(SEALED, 1, FakeBatch([raw_of(one) for one in log(pipeline)._records[SEALED, 1]]))
    assert len(log(pipeline)._records[ERP_STOCK, 0]) == 1


async def test_postings_of_a_company_that_left_the_configuration_stay_where_they_are(pipeline: Pipeline) -> None:
    assert await pipeline.open_poster(1, {}, 0) is None
    batch = FakeBatch([raw(ERP_ORDERS, 0, b"x", partition=1)])
    await pipeline.take(ERP_ORDERS, 1, batch)
    assert not batch.finished


async def test_a_released_poster_is_closed_and_a_stock_partition_stays_until_its_partition_is_somebody_elses(
    pipeline: Pipeline,
) -> None:
    before = NoServiceLayer.closed
    assert await pipeline.open_poster(0, {}, 0) is not None
    partition = pipeline.stock_partition(0)
    await partition.open(None, 0)
    await pipeline.release({0}, {0})
    assert NoServiceLayer.closed == before + 1
    assert not pipeline.posters
    assert pipeline.stock_partition(0) is partition
    pipeline.drop([0])
    assert pipeline.stock_partition(0) is not partition


async def test_releasing_what_was_never_here_is_nothing(pipeline: Pipeline) -> None:
    await pipeline.release({0, 1}, {0, 1, 2})
