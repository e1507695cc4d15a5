"""What a connector counts. The catalogue of names, types and units is the platform's; this is what it must offer."""

from typing import Protocol


class ConnectorMetrics(Protocol):
    def published(self, connector: str, event_type: str, count: int) -> None:
        """Events that the broker has acknowledged."""

    def no_op(self, connector: str, event_type: str, count: int) -> None:
        """Levels that are a baseline, stale or unchanged."""

    def refused(self, connector: str, reason: str, count: int) -> None:
        """Records that went to a dead-letter topic."""

    def looked(self, connector: str, idle: bool) -> None:
        """A look at the source has come to an end; idle: it had nothing new."""

    def failed(self, connector: str, error: str) -> None:
        """A look or a delivery has failed and is tried again; `error` is the name of the error's class."""

    def delivered(self, connector: str, effect_type: str, outcome: str, count: int) -> None:
        """Effects that a channel has taken (`sent`) or never will (`refused`)."""


class NoMetrics:
    """Counts nothing."""

    def published(self, connector: str, event_type: str, count: int) -> None: ...
    def no_op(self, connector: str, event_type: str, count: int) -> None: ...
    def refused(self, connector: str, reason: str, count: int) -> None: ...
    def looked(self, connector: str, idle: bool) -> None: ...
    def failed(self, connector: str, error: str) -> None: ...
    def delivered(self, connector: str, effect_type: str, outcome: str, count: int) -> None: ...
