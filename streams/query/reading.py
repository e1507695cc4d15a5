"""Reading the topics of a configuration: which partitions there are, what lies in one of them, one record."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import aclosing

from connectors.base.log import Record
from streams.config.load import Config
from streams.kafka.log import Log


def partitions_of(config: Config, name: str) -> range:
    """The partitions of one of our topics, as configured."""
    return range(config.partition_count(name))


async def scan(log: Log, topic: str, partition: int, wanted: Callable[[bytes], bool] | None = None) -> list[Record]:
    """All records of a partition whose value is wanted; by default all.

    Raises:
        LogError: The broker cannot be reached.
    """
    start, end = await log.bounds(topic, partition)
    found: list[Record] = []
    async with aclosing(log.read(topic, partition, start, end)) as batches:
        async for records in batches:
            found += [r for r in records if wanted is None or (r.value is not None and wanted(r.value))]
    return found


async def record_at(log: Log, topic: str, partition: int, offset: int) -> Record | None:
    """One record; None where the log no longer has it.

    Raises:
        LogError: The broker cannot be reached.
    """
    async with aclosing(log.read(topic, partition, offset, offset + 1)) as batches:
        async for records in batches:
            return next((record for record in records if record.offset == offset), None)
    return None


async def records_at(log: Log, places: Iterable[tuple[str, int, int]]) -> dict[tuple[str, int, int], Record]:
    """Records by (topic, partition, offset); those that the logs no longer have are missing.

    A partition is read once, from the first offset that is asked for to the last.

    Raises:
        LogError: The broker cannot be reached.
    """
    wanted: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for topic, partition, offset in places:
        wanted[topic, partition].add(offset)
    found: dict[tuple[str, int, int], Record] = {}
    for (topic, partition), offsets in wanted.items():
        first, end = await log.bounds(topic, partition)
        start, stop = max(first, min(offsets)), min(end, max(offsets) + 1)
        if start >= stop:
            continue
        async with aclosing(log.read(topic, partition, start, stop)) as batches:
            async for records in batches:
                found.update(
                    ((topic, partition, record.offset), record) for record in records if record.offset in offsets
                )
    return found
