"""One vendor's fault holds its connector alone: said with who acts, tried again slowly, and the others go on."""

import asyncio
from collections.abc import Callable

import pytest

from connectors.base.errors import CursorUnusableError, FatalError, LogRefusedError
from connectors.base.http import StatusRule, status_error
from streams.connect.group import ConnectorGroup, hold_reason
from streams.telemetry.metrics import Metrics
from tests.streams import fakes
from tests.streams.virtual import Clock, run


class Connector:
    """Raises what it is told to, by turn; None: runs until told to stop."""

    def __init__(self, answers: list[BaseException | None]) -> None:
        self.answers, self.tries = answers, list[float]()

    async def run(self, stop: asyncio.Event) -> None:
        self.tries.append(asyncio.get_running_loop().time())
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer
        await stop.wait()


def group(connectors: dict[str, Connector]) -> tuple[ConnectorGroup, Metrics]:
    config = fakes.config()
    metrics = Metrics(config, Clock())
    made: Callable[..., Connector] = lambda name, _settings: connectors[name]  # noqa: E731
    return ConnectorGroup(config, made, metrics.components), metrics  # type: ignore[arg-type]


def test_a_refused_token_holds_one_connector_and_the_other_goes_on() -> None:
    async def play() -> None:
        refused = status_error("vq: orders", 401, {401: StatusRule(FatalError, "the key is refused", "fix api_key")})
        shop, warehouse = Connector([refused]), Connector([None])
        made, metrics = group({"shop": shop, "warehouse": warehouse})
        made.take(range(fakes.config().kafka.partitions))
        await asyncio.sleep(3600)
        assert not made.failed.done()
        (held,) = metrics.components.not_working()
        assert (held.kind, held.name, held.reason, held.owner) == ("connector", "shop", "token_refused", "integration")
        assert "fix api_key" in (held.detail or "")
        gaps = [later - earlier for earlier, later in zip(shop.tries, shop.tries[1:], strict=False)]
        assert gaps[:3] == [30, 60, 120]
        assert max(gaps) == 600
        assert warehouse.tries == [0]
        await made.close()

    run(play())


def test_what_is_mended_goes_on_without_a_restart_and_a_mistake_of_ours_is_held_too() -> None:
    async def play() -> None:
        shop = Connector([KeyError("x"), CursorUnusableError("the cursor is damaged"), None])
        made, metrics = group({"shop": shop, "warehouse": Connector([None])})
        made.take(range(fakes.config().kafka.partitions))
        await asyncio.sleep(1)
        assert [one.reason for one in metrics.components.not_working()] == ["failed"]
        await asyncio.sleep(31)
        assert [one.reason for one in metrics.components.not_working()] == ["cursor_bad"]
        await asyncio.sleep(600)
        assert len(shop.tries) == 3
        await made.close()
        assert metrics.components.not_working() == []

    run(play())


def test_what_kafka_refuses_ends_the_process() -> None:
    async def play() -> None:
        made, _ = group({"shop": Connector([LogRefusedError("no right to write")]), "warehouse": Connector([None])})
        made.take(range(fakes.config().kafka.partitions))
        await asyncio.sleep(1)
        assert isinstance(made.failed.exception(), LogRefusedError)
        await made.close()

    run(play())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (status_error("shop: orders", 401, {401: StatusRule(FatalError)}), "token_refused"),
        (status_error("shop: orders", 403, {403: StatusRule(FatalError)}), "token_refused"),
        (status_error("shop: orders", 404, {404: StatusRule(FatalError)}), "source_refused"),
        (CursorUnusableError("of another kind"), "cursor_bad"),
        (FatalError("the page's cursor: its token is refused"), "source_refused"),  # the words decide nothing
        (KeyError("cursor"), "failed"),
    ],
)
def test_why_a_connector_is_held(error: Exception, reason: str) -> None:
    assert hold_reason(error) == reason
