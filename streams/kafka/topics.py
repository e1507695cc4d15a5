"""Making and verifying the topics of `schemas/topics.py` on the broker, prefix and sizes as configured."""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.topics import TOPICS, Topic
from streams.config.load import Config
from streams.kafka.log import BrokerTopic, Log


@dataclass(frozen=True, slots=True)
class TopicDifference:
    """Something about a topic that is not as it must be.

    Attributes:
        topic: The broker's name.
        setting: `partitions`, `replication`, a topic setting of Kafka's, or `topic` when it is not there.
        expected: What it must be.
        found: What it is.
        remedy: What to do.
    """

    topic: str
    setting: str
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.topic}: {self.setting} is {self.found}, must be {self.expected}; {self.remedy}"


def wanted(config: Config) -> list[BrokerTopic]:
    """All topics as they must be."""
    return [_wanted(row, config) for row in TOPICS]


def _wanted(row: Topic, config: Config) -> BrokerTopic:
    replication = config.kafka.replication_factor
    # Outside a demo a write counts once two replicas have it; a single broker has only one to offer.
    in_sync = min(2, replication) if not config.kafka.local else 1
    settings = {**row.config(config.horizon_days), "min.insync.replicas": str(in_sync)}
    return BrokerTopic(config.topic(row.name), config.partition_count(row.name), replication, settings)


#: What `apply` sets on topics that are there. Every other setting is a person's to change: it may delete records.
_APPLIED = frozenset({"message.timestamp.type"})


async def apply(log: Log, config: Config) -> set[str]:
    """Make the topics that are missing, and let those that are there bear the time that they must.

    Returns:
        The names of those made.

    Raises:
        LogError: The broker cannot be reached or refuses.
    """
    there = await log.topics()
    made = await log.create_topics(topic for topic in wanted(config) if topic.name not in there)
    for difference in await check(log, config):
        if difference.setting in _APPLIED:
            await log.configure(difference.topic, {difference.setting: difference.expected})
    return made


async def check(log: Log, config: Config) -> list[TopicDifference]:
    """Everything that differs; a worker starts only where nothing does.

    Raises:
        LogError: The broker cannot be reached or refuses.
    """
    expected = wanted(config)
    found = await log.describe([topic.name for topic in expected])
    return [difference for topic in expected for difference in _differences(topic, found.get(topic.name))]


def _differences(expected: BrokerTopic, found: BrokerTopic | None) -> Iterator[TopicDifference]:
    if found is None:
        yield TopicDifference(expected.name, "topic", "there", "missing", "run streams topics apply")
        return
    if found.partitions != expected.partitions:
        yield TopicDifference(
            expected.name,
            "partitions",
            str(expected.partitions),
            str(found.partitions),
            "put the configuration back: partition counts never change, because order and keys depend on them",
        )
    if found.replication < expected.replication:
        yield TopicDifference(
            expected.name,
            "replication",
            str(expected.replication),
            str(found.replication),
            "add replicas with kafka-reassign-partitions, or fix kafka.replication_factor",
        )
    for name, value in expected.configs.items():
        has = found.configs.get(name, "")
        if not _suffices(name, value, has):
            by_hand = (
                f"kafka-configs --alter --entity-type topics --entity-name {expected.name} --add-config {name}={value}"
            )
            remedy = "run streams topics apply" if name in _APPLIED else by_hand
            yield TopicDifference(expected.name, name, value, has or "unset", remedy)


def _suffices(name: str, expected: str, found: str) -> bool:
    """Whether what is found keeps at least as much as is expected."""
    if name not in ("retention.ms", "max.message.bytes", "min.insync.replicas"):
        return found == expected
    try:
        has, needs = int(found), int(expected)
    except ValueError:
        return False
    if name == "retention.ms":
        return has == -1 or (needs != -1 and has >= needs)
    return has >= needs
