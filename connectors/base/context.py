"""In whose name a connector's events are made: their header, their validation, their digest."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Generic, TypedDict, TypeVar

from connectors.base.errors import RecordError
from connectors.base.validate import violation_of
from schemas.events import TYPE_NAMES, FactEvent, digest_of

_S = TypeVar("_S")
_E = TypeVar("_E", bound=FactEvent)


class EventHeader(TypedDict):
    """The fields that every event has."""

    source: str
    company: str
    event_id: str
    occurred_at: datetime
    observed_at: datetime
    digest: bytes


@dataclass(frozen=True, slots=True)
class EventContext(Generic[_S]):
    """What all events of one reading have in common.

        event = StockAdjusted(**context.header("adj:7", occurred_at), sku="TEA-250", ...)
        return sealed(event, "fix it at SEKO, or edit and replay")

    Attributes:
        source: The connector's name.
        company: The company it feeds.
        settings: The connector's.
        observed_at: When it was read; aware UTC.
    """

    source: str
    company: str
    settings: _S
    observed_at: datetime

    def header(self, event_id: str, occurred_at: datetime) -> EventHeader:
        """The header of an event; `sealed` fills in the digest once its body is known."""
        return EventHeader(
            source=self.source,
            company=self.company,
            event_id=event_id,
            occurred_at=occurred_at,
            observed_at=self.observed_at,
            digest=b"",
        )


def sealed(event: _E, remedy: str) -> _E:
    """The event with its digest.

    Args:
        event: Complete but for the digest.
        remedy: What to do where it breaks the contract.

    Raises:
        RecordError: It is no valid event (contract section 1).
    """
    violation = violation_of(event)
    if violation is not None:
        raise RecordError(f"its {TYPE_NAMES[type(event)]} is not valid: {violation}; {remedy}")
    return replace(event, digest=digest_of(event))
