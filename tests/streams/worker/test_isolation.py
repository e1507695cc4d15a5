"""An error of ours that one record raises is that record's: it is a dead letter, and the others go on."""

from typing import Any

import pytest

from connectors.base.errors import LogRefusedError, LogUnavailableError
from schemas.records import DeadLetterState, Posting
from streams.worker.pipeline import ALL_FAIL, Pipeline
from tests.streams.facts import order
from tests.streams.records import FakeBatch, raw
from tests.streams.worker.test_pipeline import CODEC, log, pipeline

__all__ = ["pipeline"]


def facts(count: int) -> FakeBatch:
    return FakeBatch([raw("order-placed", n, CODEC.encode(order(str(n))), partition=1) for n in range(count)])


def break_for(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, *orders: str, error: type[Exception] = TypeError
) -> None:
    decode = pipeline._router._codec.decode

    def breaking(data: bytes, expect: Any) -> Any:
        event = decode(data, expect)
        if getattr(event, "order_id", None) in orders:
            raise error("a bug of ours")
        return event

    monkeypatch.setattr(pipeline._router._codec, "decode", breaking)


def states(pipeline: Pipeline) -> list[tuple[str, str, int]]:
    letters = (
        CODEC.decode(one.value or b"", DeadLetterState) for one in log(pipeline)._records["dead-letter-state", 0]
    )
    return [(letter.reason, letter.state, letter.offset) for letter in letters]


def queued(pipeline: Pipeline) -> list[str | None]:
    return [CODEC.decode(one.value or b"", Posting).order_id for one in log(pipeline)._records["erp-orders", 0]]


async def test_one_record_is_refused_and_the_rest_of_its_batch_goes_on_in_order(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_for(pipeline, monkeypatch, "2")
    batch = facts(5)
    await pipeline.take("order-placed", 1, batch)
    assert batch.all_finished
    assert queued(pipeline) == ["0", "1", "3", "4"]
    assert states(pipeline) == [("poison", "dead", 2)]
    (letter,) = log(pipeline)._records["order-placed-dead-letter", 1]
    assert letter.value == CODEC.encode(order("2"))
    said = dict(letter.headers)["__connect.errors.exception.message"].decode()
    assert said.startswith("an error of our own, TypeError at ")
    assert "a bug of ours" not in said, "its text may quote the record"


async def test_a_batch_of_which_nothing_can_be_handled_is_not_the_records_fault(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_for(pipeline, monkeypatch, *map(str, range(ALL_FAIL)))
    batch = facts(ALL_FAIL)
    with pytest.raises(TypeError):
        await pipeline.take("order-placed", 1, batch)
    assert not batch.finished
    assert not states(pipeline)


@pytest.mark.parametrize("error", [LogUnavailableError, LogRefusedError])
async def test_kafka_is_nobodys_record(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    break_for(pipeline, monkeypatch, "1", error=error)
    batch = facts(3)
    with pytest.raises(error):
        await pipeline.take("order-placed", 1, batch)
    assert not batch.finished
    assert not states(pipeline)


async def test_a_partition_that_nobody_owns_refuses_nothing(pipeline: Pipeline) -> None:
    with pytest.raises(KeyError):
        await pipeline.take("stock-adjusted", 1, FakeBatch([raw("stock-adjusted", 0, b"x", partition=1)]))
    assert not states(pipeline)
