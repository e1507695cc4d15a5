from dataclasses import replace

import pytest

from connectors.base.errors import LogError
from schemas.codec import embedded_codec
from schemas.topics import BY_NAME, DAY_MS, ORDER_FACTS, TOPICS
from streams.kafka import topics
from streams.kafka.client import KafkaLog
from streams.query import status
from tests.streams.fakes import MemoryLog, config

CONFIG = config(topic_prefix="t-")


async def test_apply_makes_every_topic_once_and_check_is_content() -> None:
    log = MemoryLog()
    assert await topics.apply(log, CONFIG) == {f"t-{topic.name}" for topic in TOPICS}
    assert await topics.apply(log, CONFIG) == set()
    assert await topics.check(log, CONFIG) == []


def test_sizes_follow_the_configuration() -> None:
    sizes = {topic.name: topic.partitions for topic in topics.wanted(config(partitions=5, company_partitions=3))}
    assert (sizes["order-placed"], sizes["erp-orders"], sizes["inbox-dead-letter"]) == (5, 3, 1)


def test_outside_a_demo_two_replicas_must_have_a_write() -> None:
    settings = topics.wanted(config(local=False, replication_factor=3))[0]
    assert (settings.replication, settings.configs["min.insync.replicas"]) == (3, "2")
    assert topics.wanted(CONFIG)[0].configs["min.insync.replicas"] == "1"


def test_what_deduplication_stands_on_is_kept_longer_than_its_horizon() -> None:
    sealed = next(topic for topic in topics.wanted(CONFIG) if topic.name == "t-stock-sealed")
    assert int(sealed.configs["retention.ms"]) == (CONFIG.horizon_days + 7) * 86_400_000


def test_sealed_documents_outlive_the_queue_whose_postings_they_name() -> None:
    """A posting that comes again is known by its document, however short the horizon of the events is."""
    for horizon_days in (1, 35, 100):
        days = {name: int(BY_NAME[name].config(horizon_days)["retention.ms"]) // DAY_MS for name in BY_NAME}
        assert days["erp-documents"] >= days["erp-stock"] + 7
        assert days["erp-documents"] >= horizon_days + 7


@pytest.mark.parametrize(
    ("name", "change", "setting", "remedy"),
    [
        ("t-order-placed", {"partitions": 9}, "partitions", "never change"),
        ("t-erp-orders", {"replication": 0}, "replication", "replicas"),
        ("t-order-placed", {"retention.ms": "1000"}, "retention.ms", "kafka-configs --alter"),
        ("t-dead-letter-state", {"cleanup.policy": "delete"}, "cleanup.policy", "cleanup.policy=compact"),
        ("t-stock-sealed", {"max.message.bytes": "1000"}, "max.message.bytes", "t-stock-sealed"),
        ("t-order-placed-dead-letter", {"retention.ms": "86400000"}, "retention.ms", "retention.ms=-1"),
    ],
)
async def test_a_difference_names_topic_setting_and_remedy(
    name: str, change: dict[str, object], setting: str, remedy: str
) -> None:
    wanted = {topic.name: topic for topic in topics.wanted(CONFIG)}
    configs = {**wanted[name].configs, **{key: str(value) for key, value in change.items() if "." in key}}
    sizes = {key: value for key, value in change.items() if "." not in key}
    wanted[name] = replace(wanted[name], configs=configs, **sizes)
    (difference,) = await topics.check(MemoryLog(wanted.values()), CONFIG)
    assert (difference.topic, difference.setting) == (name, setting)
    assert remedy in difference.remedy
    assert name in str(difference)


async def test_what_is_published_of_orders_bears_the_brokers_time_on_topics_that_were_there_too() -> None:
    """Two publishers' clocks cannot say what came first (architecture section 15.3)."""
    older = [replace(t, configs={**t.configs, "message.timestamp.type": "CreateTime"}) for t in topics.wanted(CONFIG)]
    log = MemoryLog(older)
    found = await topics.check(log, CONFIG)
    names = {f"t-{name}" for name in ORDER_FACTS}
    assert {(one.topic, one.setting, one.remedy) for one in found} == {
        (name, "message.timestamp.type", "run streams topics apply") for name in names
    }
    assert await topics.apply(log, CONFIG) == set()
    assert await topics.check(log, CONFIG) == []
    assert await log.send("t-order-placed", 0, b"1", b"x", timestamp_ms=5) is not None
    assert log._records["t-order-placed", 0][0].timestamp_ms == log.now_ms


async def test_apply_changes_nothing_that_may_delete_records() -> None:
    shorter = [replace(t, configs={**t.configs, "retention.ms": "1000"}) for t in topics.wanted(CONFIG)]
    log = MemoryLog(shorter)
    await topics.apply(log, CONFIG)
    assert {one.setting for one in await topics.check(log, CONFIG)} == {"retention.ms"}


async def test_more_than_is_asked_is_no_difference() -> None:
    wanted = [replace(t, replication=3, configs={**t.configs, "retention.ms": "-1"}) for t in topics.wanted(CONFIG)]
    assert await topics.check(MemoryLog(wanted), CONFIG) == []


async def test_a_missing_topic_says_how_to_make_it() -> None:
    log = MemoryLog(topics.wanted(CONFIG)[1:])
    (difference,) = await topics.check(log, CONFIG)
    assert difference.setting == "topic"
    assert difference.remedy == "run streams topics apply"


@pytest.mark.kafka
async def test_a_real_broker_takes_and_shows_them_as_they_are_wanted(kafka: str, topic_prefix: str) -> None:
    settings = config(topic_prefix=topic_prefix, bootstrap_servers=kafka)
    log = KafkaLog(kafka)
    await log.start()
    try:
        assert len(await topics.apply(log, settings)) == len(TOPICS)
        assert await topics.check(log, settings) == []
        found = await topics.check(log, config(topic_prefix=topic_prefix, partitions=3))
        assert {difference.setting for difference in found} == {"partitions"}
        late = f"{topic_prefix}order-placed"
        await log.configure(late, {"message.timestamp.type": "CreateTime", "segment.ms": "86400000"})
        assert [(one.topic, one.setting) for one in await topics.check(log, settings)] == [
            (late, "message.timestamp.type")
        ]
        await topics.apply(log, settings)
        assert await topics.check(log, settings) == []
        assert (await log.describe([late]))[late].configs["segment.ms"] == "86400000"
        assert (await status.read(log, settings, embedded_codec(), 0)).idle
    finally:
        await log.stop()


async def test_a_broker_that_is_away_is_an_error() -> None:
    log = MemoryLog.of(CONFIG)
    log.away = "gone"
    with pytest.raises(LogError):
        await topics.check(log, CONFIG)
