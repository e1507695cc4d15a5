"""Why a record of a file is refused."""

from collections.abc import Mapping

from connectors.base.errors import RecordError


class LineError(RecordError):
    """A line cannot become an event.

    Attributes:
        reason: `unreadable`: not JSON, or no known type; `invalid_event`: anything else.
        event_type: None: unknown.
        fields: What could be read of it.
    """

    def __init__(
        self, reason: str, message: str, event_type: str | None = None, fields: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.event_type = event_type
        self.fields = fields or {}
