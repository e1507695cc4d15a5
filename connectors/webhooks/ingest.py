"""Publishes what was pushed."""

from collections.abc import Sequence
from dataclasses import dataclass

from connectors.base.dead_letters import DeadLetters
from connectors.base.delivery import deliver
from connectors.base.metrics import ConnectorMetrics
from connectors.base.publisher import Publisher
from connectors.webhooks.hook import Hook, Pushed


class WebhookIngest:
    """Publishes what was pushed, in its order: events to their topics, what cannot become one to the dead letters."""

    def __init__(self, publisher: Publisher, letters: DeadLetters, metrics: ConnectorMetrics) -> None:
        self._publisher, self._letters, self._metrics = publisher, letters, metrics

    async def __call__(self, hook: Hook, items: Sequence[Pushed]) -> None:
        """Return when the broker has all of them.

        Raises:
            RetriableError: Nobody knows which of them it has.
            FatalError: It will never take them.
        """
        await deliver(items, _Sender(hook.connector, hook.company), self._publisher, self._letters, self._metrics)


@dataclass(frozen=True, slots=True)
class _Sender:
    name: str
    company: str
