"""What a start of worker and connect would say of what lies in Kafka. Reads only."""

from collections.abc import Iterator

from connectors.base.clock import SystemClock
from schemas.topics import ORDER_FACTS, QUEUES
from streams.audit.trail import AuditTrail
from streams.chain.known_logs import KnownLogs, LogMismatch
from streams.cli import shell
from streams.config.load import Config
from streams.config.problems import ConfigProblem
from streams.connect.retire import left_behind, orphans_text
from streams.faust_host.watermarks import decode_counts
from streams.kafka.log import Log
from streams.posting.foreign import ForeignQueueError, check_queue, owners_of
from streams.posting.retired import retired_companies
from streams.query.reading import partitions_of

#: Partitions that are read from a committed offset; the chains know themselves where they go on.
_READ = (*ORDER_FACTS, "stock-sealed", *QUEUES)


async def start_problems(log: Log, config: Config) -> list[ConfigProblem]:
    """What keeps something from starting that the configuration names, or waits for something that it does not.

    Raises:
        LogError: Kafka cannot be reached.
    """
    codec = shell.codec_of(config)
    problems: list[ConfigProblem] = []
    if orphans := await left_behind(config, log):
        problems.append(
            ConfigProblem(
                f"connectors.{next(iter(orphans))}",
                orphans_text(config, orphans),
                "connect does not start before that is done",
            )
        )
    clock = SystemClock()
    retired = await retired_companies(AuditTrail(log, config, codec, clock))
    problems += await _queue_problems(log, config, retired)
    places = [(config.topic(name), number) for name in _READ for number in partitions_of(config, name)]
    found = await KnownLogs(log, codec, config, clock).examine(places, remember=False)
    for (topic, partition), at in found.items():
        if isinstance(at, LogMismatch):
            problems.append(
                ConfigProblem(f"topic {topic}/{partition}", str(at), "until then only this partition waits")
            )
    return problems


async def _queue_problems(log: Log, config: Config, retired: frozenset[str]) -> list[ConfigProblem]:
    committed = await log.committed(config.group)
    companies = {config.company_partition(name): name for name in config.companies}
    problems: list[ConfigProblem] = []
    for number in partitions_of(config, QUEUES[0]):
        counts: dict[tuple[str, str], int] = {}
        waiting = 0
        for name in QUEUES:
            at, (start, end) = committed.get((config.topic(name), number)), await log.bounds(config.topic(name), number)
            counts |= decode_counts(at.metadata) if at is not None else {}
            waiting += end - (start if at is None else max(start, at.offset))
        problems += _owner_problems(number, companies.get(number), counts, waiting, retired)
    return problems


def _owner_problems(
    number: int, company: str | None, counts: dict[tuple[str, str], int], waiting: int, retired: frozenset[str]
) -> Iterator[ConfigProblem]:
    if company is not None:
        try:
            check_queue(company, number, counts, retired)
        except ForeignQueueError as error:
            yield ConfigProblem(f"companies.{company}.partition", str(error), f"{company} is held until then")
        return
    owners = sorted(owners_of(counts) - retired)
    if waiting and owners:
        names = " and ".join(owners)
        yield ConfigProblem(
            f"companies.{owners[0]}",
            f"is not configured, and partition {number} of the company topics holds {waiting} postings of {names}",
            f"put it back, or end it: streams company retire {owners[0]}",
        )
