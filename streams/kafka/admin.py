"""Groups and topics: what is committed, what exists, how it is set."""

from collections.abc import Iterable, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, TopicAlreadyExistsError, for_code

from connectors.base.errors import log_error
from streams.kafka.connection import Connection
from streams.kafka.log import BrokerTopic, Committed
from streams.kafka.topic_ids import TopicIdsRequest, ids_of

#: Kafka's ConfigSource: DYNAMIC_TOPIC_CONFIG.
_MADE_FOR_THE_TOPIC = 1


class Admin:
    """The administrative half of `Log`. Lifecycle: `start`, any of the others, `stop`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._client: Any = None

    async def start(self) -> None:
        self._client = await self._connection.admin()

    async def stop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def committed(self, group: str) -> dict[tuple[str, int], Committed]:
        found = await self._connection.ask(
            f"ask what {group} has committed", lambda: self._client.list_consumer_group_offsets(group)
        )
        return {(tp.topic, tp.partition): Committed(at.offset, at.metadata or "") for tp, at in found.items()}

    async def topics(self) -> dict[str, int]:
        found = await self._connection.ask("list the topics", self._client.describe_topics)
        return {each["topic"]: len(each["partitions"]) for each in found if not each["is_internal"]}

    async def create_topics(self, topics: Iterable[BrokerTopic]) -> set[str]:
        wanted = {each.name: each for each in topics}
        if not wanted:
            return set()
        new = [
            NewTopic(t.name, t.partitions, t.replication, topic_configs=dict(t.configs))  # type: ignore[no-untyped-call]  # aiokafka has no types
            for t in wanted.values()
        ]
        answer = await self._connection.ask("create topics", lambda: self._client.create_topics(new))
        created = set()
        for name, code, *message in answer.topic_errors:
            error = for_code(code)
            if code == 0:
                created.add(name)
            elif error is not TopicAlreadyExistsError:
                raise log_error(f"cannot create {name}: {error.__name__} {message[0] or ''}", retriable=error.retriable)

        async def all_led() -> None:
            found = await self._client.describe_topics(list(wanted))
            led = {
                each["topic"]
                for each in found
                if each["partitions"] and all(partition["leader"] >= 0 for partition in each["partitions"])
            }
            if led != set(wanted):
                raise TimeoutError(f"no leader yet: {sorted(set(wanted) - led)}")

        await self._connection.ask("wait for the topics", all_led)
        return created

    async def topic_ids(self, names: Iterable[str]) -> dict[str, str]:
        request = TopicIdsRequest(names)
        try:
            answer = await self._connection.ask("ask for the topics' ids", lambda: self._client._send_request(request))
        except (NotImplementedError, IncompatibleBrokerVersion):  # a broker before 3.1, or not Kafka's own
            return {}
        return ids_of(answer)

    async def describe(self, names: Iterable[str]) -> dict[str, BrokerTopic]:
        wanted = set(names)
        found = await self._connection.ask("list the topics", self._client.describe_topics)
        there = {each["topic"]: each["partitions"] for each in found if each["topic"] in wanted}
        if not there:
            return {}
        resources = [
            ConfigResource(ConfigResourceType.TOPIC, name)  # type: ignore[no-untyped-call]  # aiokafka has no types
            for name in sorted(there)
        ]
        answers = await self._connection.ask("read topic settings", lambda: self._client.describe_configs(resources))
        configs = {
            name: {entry[0]: entry[1] for entry in entries}
            for answer in answers
            for _code, _message, _kind, name, entries in answer.resources
        }
        return {
            name: BrokerTopic(name, len(partitions), min(len(p["replicas"]) for p in partitions), configs[name])
            for name, partitions in there.items()
        }

    async def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        """Set these settings of a topic and wait until the broker shows them; the others stay as they are.

        The request replaces all settings that were made for the topic (aiokafka has no incremental one), so those are
        read first and sent along.
        """
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)  # type: ignore[no-untyped-call]  # aiokafka has no types
        answers = await self._connection.ask("read topic settings", lambda: self._client.describe_configs([resource]))
        made = {
            name: value
            for answer in answers
            for _code, _message, _kind, _name, entries in answer.resources
            for name, value, _read_only, source, *_ in entries
            if source == _MADE_FOR_THE_TOPIC
        }
        changed = ConfigResource(ConfigResourceType.TOPIC, topic, configs={**made, **configs})  # type: ignore[no-untyped-call]  # aiokafka has no types
        answers = await self._connection.ask(f"configure {topic}", lambda: self._client.alter_configs([changed]))
        for answer in answers:
            for code, message, *_ in answer.resources:
                if code:
                    error = for_code(code)
                    raise log_error(
                        f"cannot configure {topic}: {error.__name__} {message or ''}", retriable=error.retriable
                    )

        async def are_shown() -> None:
            if not configs.items() <= (await self.describe([topic]))[topic].configs.items():
                raise TimeoutError(f"{topic}: not set yet")

        await self._connection.ask(f"wait for the settings of {topic}", are_shown)

    async def delete_records(self, topic: str, partition: int, before: int) -> None:
        wanted = {TopicPartition(topic, partition): RecordsToDelete(before)}  # type: ignore[no-untyped-call]  # aiokafka has no types
        await self._connection.ask(
            f"delete records of {topic}-{partition}", lambda: self._client.delete_records(wanted)
        )
