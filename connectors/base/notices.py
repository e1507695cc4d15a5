"""Notices as records, for the same send as the state that they tell of."""

from collections.abc import Callable, Iterable

from connectors.base.log import Broker, Outgoing, milliseconds
from schemas.codec import Codec
from schemas.notices import NOTICES, of_letter
from schemas.records import DeadLetterState, Notice


class NoticeWriter:
    """Makes the records of notices, for a send of the caller's, or writes them.

    Args:
        broker: Where to.
        codec: Makes their bytes.
        topic: Gives a topic its prefix.
        company_partition: A company's partition of its topics.
    """

    def __init__(
        self, broker: Broker, codec: Codec, topic: Callable[[str], str], company_partition: Callable[[str], int]
    ) -> None:
        self._broker, self._codec = broker, codec
        self._topic, self._company_partition = topic, company_partition

    def records(self, notices: Iterable[Notice | None]) -> list[Outgoing]:
        """What is to be sent; None is nothing."""
        return [
            Outgoing(
                topic=self._topic(NOTICES),
                partition=self._company_partition(notice.company) if notice.company else 0,
                key=notice.company.encode(),
                value=self._codec.encode(notice),
                timestamp_ms=milliseconds(notice.at),
            )
            for notice in notices
            if notice is not None
        ]

    def of_letters(self, letters: Iterable[DeadLetterState]) -> list[Outgoing]:
        """The news in states of dead letters."""
        return self.records(map(of_letter, letters))

    async def write(self, notices: Iterable[Notice]) -> None:
        """Write them; written again they have the same ids.

        Raises:
            LogError: Nobody knows which of them are written.
        """
        await self._broker.send_many(self.records(notices))
