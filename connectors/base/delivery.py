"""What a source says, to Kafka: events to their topics, what cannot become one to the dead letters."""

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from connectors.base.dead_letters import DeadLetters
from connectors.base.log import Outgoing
from connectors.base.metrics import ConnectorMetrics
from connectors.base.publisher import Publisher, name_of
from connectors.base.source import Origin, RefusedRecord
from schemas.events import FactEvent
from schemas.readings import B1Reading


async def deliver(
    items: Sequence[FactEvent | B1Reading | RefusedRecord],
    origin: Origin,
    publisher: Publisher,
    letters: DeadLetters,
    metrics: ConnectorMetrics,
) -> Sequence[FactEvent | B1Reading | RefusedRecord]:
    """Return when the broker has all of them; as they went, for an event that its topic cannot take is refused.

    Raises:
        RetriableError: Nobody knows which of them it has; saying them again is harmless.
        FatalError: It will never take them.
    """
    records = [item if isinstance(item, RefusedRecord) else publisher.prepare(item) for item in items]
    # In the source's order, so that a refused event holds those after it, not those before it.
    for _, group in groupby(records, lambda record: isinstance(record, RefusedRecord)):
        some = list(group)
        await letters.write(origin, [each for each in some if isinstance(each, RefusedRecord)])
        await publisher.publish([each for each in some if isinstance(each, Outgoing)])
    delivered = [
        record if isinstance(record, RefusedRecord) else item for item, record in zip(items, records, strict=True)
    ]
    for reason, count in Counter(each.reason for each in delivered if isinstance(each, RefusedRecord)).items():
        metrics.refused(origin.name, reason, count)
    events = Counter(name_of(each) for each in delivered if not isinstance(each, RefusedRecord))
    for name, count in events.items():
        metrics.published(origin.name, name, count)
    return delivered
