"""One read of a Veeqo account: what is remembered, whose events they are, and what is refused."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime

from connectors.base.errors import RecordError
from connectors.base.log import milliseconds
from connectors.base.source import Item, RefusedRecord
from connectors.base.values import VendorRecord
from connectors.veeqo.memory import Memory
from connectors.veeqo.records import kept
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.translate.orders import VeeqoContext

#: A vendor's clock may be wrong, and a day in another time zone may have begun; more than that is an error.
MAX_AHEAD_MS = 86_400_000
#: A record that is touched and still as wrong as before is not refused again.
_NO_CONTENT = frozenset({"status", "updated_at"})


@dataclass(frozen=True, slots=True)
class Reading:
    """What the parts of a read share; `memory` is changed by them."""

    memory: Memory
    context: VeeqoContext

    @property
    def settings(self) -> VeeqoSettings:
        return self.context.settings

    @property
    def now_ms(self) -> int:
        return milliseconds(self.context.observed_at)

    def check_ahead(self, field: str, moment: datetime) -> None:
        """Raise `RecordError` for a time that no clock has yet."""
        if milliseconds(moment) > self.now_ms + MAX_AHEAD_MS:
            raise RecordError(f"{field} is more than a day ahead of our clock; correct the clock that is wrong")

    def refused(
        self,
        event_type: str,
        model: type[VendorRecord] | None,
        row: object,
        origin: str,
        error: str,
        *,
        order_id: str | None = None,
        event_id: str | None = None,
        sku: str | None = None,
    ) -> list[Item]:
        """A record for the dead letters, without what must not be kept of it; each content once."""
        value = kept(model, row) if model is not None else json.dumps(row, sort_keys=True).encode()
        content = json.loads(value)
        if isinstance(content, dict):
            content = {name: each for name, each in content.items() if name not in _NO_CONTENT}
        text = json.dumps([event_type, origin, content], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not self.memory.refuse(digest[:12]):
            return []
        return [
            RefusedRecord(
                event_type=event_type,
                reason="invalid_event",
                error=error,
                value=value,
                origin=origin,
                digest=digest,
                number=1,
                event_id=event_id or order_id,
                order_id=order_id,
                sku=sku,
            )
        ]
