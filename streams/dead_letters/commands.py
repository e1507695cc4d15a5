"""What may be asked of a dead letter, and whose it is to do it."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from connectors.base.dead_letters import NOT_KAFKA
from connectors.base.log import Outgoing
from schemas.codec import Codec
from schemas.records import DeadLetterState, LetterCommand, Posting
from streams.config.load import Config
from streams.kafka.log import Log

_QUEUE = "erp-orders"
#: What lies in a company's queue.
QUEUED: tuple[type[Any], ...] = (Posting, LetterCommand)


class Action(StrEnum):
    """What a person asks of a dead letter."""

    REPLAY = "replay"
    RETRY = "retry"
    DISCARD = "discard"
    EDIT = "edit"


def is_posters(letter: DeadLetterState) -> bool:
    """Whether its company's poster decides about it: it has a K, or holds events of its order.

    All others hold nothing and were never a posting: a command writes their states itself.
    """
    of_connector = letter.partition == NOT_KAFKA and letter.order_id is not None
    return bool(letter.company) and (letter.k is not None or of_connector)


async def submit(log: Log, config: Config, codec: Codec, commands: Sequence[LetterCommand]) -> None:
    """Put commands into their companies' queues.

    Raises:
        LogError: Nobody knows which of them are there; sending one again is harmless.
        UnencodableError: A corrected payload is longer than the queue takes.
        KeyError: A company that is not in the configuration.
    """
    topic = config.topic(_QUEUE)
    await log.send_many(
        [
            Outgoing(
                topic=topic,
                partition=config.company_partition(command.company),
                key=command.company.encode(),
                value=codec.encode(command),
            )
            for command in commands
        ]
    )
