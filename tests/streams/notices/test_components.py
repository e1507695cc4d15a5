"""A company or connector that stops or goes on is told once, also across restarts, beside its state."""

import asyncio
from datetime import timedelta

from connectors.base.notices import NoticeWriter
from schemas.codec import embedded_codec
from schemas.records import Notice
from streams.config.load import Config
from streams.notices.components import ComponentNews
from streams.telemetry.component_states import TOPIC, ComponentStateWriter
from streams.telemetry.metrics import Metrics
from tests.streams import fakes
from tests.streams.fakes import MemoryLog
from tests.streams.virtual import Clock, run

CODEC = embedded_codec()


def process(config: Config, log: MemoryLog) -> tuple[Metrics, ComponentStateWriter]:
    """What one process has."""
    metrics = Metrics(config, Clock())
    news = ComponentNews(NoticeWriter(log, CODEC, config.topic, config.partition_or_first), {"shop": "acme"})
    return metrics, ComponentStateWriter(metrics.components, log, CODEC, config.topic(TOPIC), news)


def notices(log: MemoryLog) -> list[Notice]:
    return [CODEC.decode(one.value or b"", Notice) for one in log._records["notices", 0]]


def test_what_is_held_and_what_is_away_are_told_and_so_is_that_they_go_on() -> None:
    async def play() -> None:
        config = fakes.config()
        log = MemoryLog.of(config)
        metrics, writer = process(config, log)
        report = metrics.components.report
        report("company", "acme")
        await writer.publish()
        assert notices(log) == []
        report("company", "acme", "password_refused", "code 100000027")
        report("connector", "shop", "source_away")
        await writer.publish()
        await writer.publish()
        report("company", "acme")
        report("connector", "shop")
        await writer.publish()
        assert [(one.kind, one.company, one.connector, one.owner, one.severity) for one in notices(log)] == [
            ("held", "acme", None, "platform", "critical"),
            ("breaker_opened", "acme", "shop", "integration", "critical"),
            ("freed", "acme", None, "platform", "info"),
            ("breaker_closed", "acme", "shop", "integration", "info"),
        ]
        held, away, freed, _ = notices(log)
        assert held.text == "company acme is held: B1 refuses the password: code 100000027"
        assert held.next_step == "companies.*.password, or B1's lock on the account"
        assert held.dedupe_key == freed.dedupe_key != away.dedupe_key

    run(play())


def test_a_restart_tells_nothing_again_and_tells_what_has_changed_meanwhile() -> None:
    async def play() -> None:
        config = fakes.config()
        log = MemoryLog.of(config)
        metrics, writer = process(config, log)
        metrics.components.report("company", "acme", "password_refused")
        await writer.publish()
        await asyncio.sleep(timedelta(hours=1).total_seconds())
        metrics, writer = process(config, log)
        metrics.components.report("company", "acme", "password_refused")
        await writer.publish()
        assert [one.kind for one in notices(log)] == ["held"]
        metrics, writer = process(config, log)
        metrics.components.report("company", "acme")
        await writer.publish()
        assert [one.kind for one in notices(log)] == ["held", "freed"]

    run(play())


def test_another_reason_is_told_and_a_partition_is_named() -> None:
    async def play() -> None:
        config = fakes.config()
        log = MemoryLog.of(config)
        metrics, writer = process(config, log)
        metrics.components.report("company", "acme", "unreachable")
        await writer.publish()
        metrics.components.report("company", "acme", "not_installed")
        metrics.components.report("partition", "order-placed/1", "log_lost")
        await writer.publish()
        assert [one.kind for one in notices(log)] == ["breaker_opened", "held", "held"]
        assert notices(log)[2].text.startswith("partition order-placed/1 is held: ")

    run(play())
