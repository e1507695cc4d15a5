"""What a connector's channel was told: the records of `delivery-state`, read and written."""

import json
from collections.abc import Iterable, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta

from connectors.base.log import Broker, Outgoing, milliseconds
from schemas.codec import Codec
from schemas.readings import EffectState
from streams.delivery.wanted import DELIVERY_KEPT, Subject

STATES = "delivery-state"
#: An order that nothing was said of for so long is forgotten; B1's own retention of orders in Kafka is shorter.
_ORDER_KEPT = timedelta(days=400)
_MARGIN = timedelta(days=30)


def state_key(connector: str, subject: Subject) -> bytes:
    """Names that cannot run into one another, whatever characters they have."""
    return json.dumps([connector, *subject], ensure_ascii=False).encode()


class EffectStates:
    """One connector's states.

    Lifecycle: `load`, then any number of `write` and `forget`; after an error from them, `load` again.

    Args:
        topic: The broker's name of `delivery-state`.
        partition: The connector's.

    Attributes:
        by_subject: The last state of each subject.
    """

    def __init__(self, connector: str, broker: Broker, codec: Codec, *, topic: str, partition: int) -> None:
        self._connector, self._broker, self._codec = connector, broker, codec
        self._topic, self._partition = topic, partition
        self.by_subject: dict[Subject, EffectState] = {}

    async def load(self) -> None:
        """Read them all; a state of a lower term behind one of a higher was written by a process that was shut out.

        Raises:
            RetriableError: Kafka did not answer.
            CodecError: One was written by something newer than we are.
        """
        self.by_subject = {}
        start, end = await self._broker.bounds(self._topic, self._partition)
        async with aclosing(self._broker.read(self._topic, self._partition, start, end)) as batches:
            async for records in batches:
                for record in records:
                    self._take(record.key, record.value)

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        connector, *names = json.loads(key or b"[null]")
        if connector != self._connector:
            return
        subject = tuple(names)
        if value is None:
            self.by_subject.pop(subject, None)
            return
        state = self._codec.decode(value, EffectState)
        known = self.by_subject.get(subject)
        if known is None or state.term >= known.term:
            self.by_subject[subject] = state

    async def write(self, states: Sequence[EffectState]) -> None:
        """Write states down; when it returns the broker has them.

        Raises:
            RetriableError: Nobody knows which of them it has.
        """
        if states:
            await self._broker.send_many(
                [self._outgoing(each.subject, self._codec.encode(each), each.at) for each in states]
            )
            self.by_subject.update((each.subject, each) for each in states)

    async def forget(self, subjects: Iterable[Subject], now: datetime) -> None:
        """Nothing was ever said of them, or it is too long ago to matter.

        Raises:
            RetriableError: As `write`.
        """
        if records := [self._outgoing(each, None, now) for each in subjects if each in self.by_subject]:
            await self._broker.send_many(records)
            for subject in subjects:
                self.by_subject.pop(subject, None)

    def outlived(self, now: datetime) -> list[Subject]:
        """Subjects that nothing will be said of any more."""
        kept = {"delivery": DELIVERY_KEPT + _MARGIN, "order": _ORDER_KEPT}
        return [
            subject
            for subject, state in self.by_subject.items()
            if state.state in ("sent", "no_op") and now - state.at > kept.get(subject[0], timedelta.max)
        ]

    def _outgoing(self, subject: Subject, value: bytes | None, at: datetime) -> Outgoing:
        return Outgoing(
            self._topic, state_key(self._connector, subject), value, self._partition, timestamp_ms=milliseconds(at)
        )
