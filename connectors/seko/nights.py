"""The nightly stock of each facility against the movements that came: a control, never a second source of them."""

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from connectors.base.errors import RecordError
from connectors.base.source import Item, RefusedRecord
from connectors.seko import records
from connectors.seko.hook import unix_s
from connectors.seko.places import stocks_of
from connectors.seko.records import SekoMessage, check
from connectors.seko.settings import SekoSettings
from connectors.seko.state import SekoState, StockDifference

log = structlog.get_logger(__name__)

#: How long after midnight a nightly stock waits for its parts, and for the looks that cover its day.
LATE_NIGHT_S = 86_400
#: Differences of a night that its dead letter names.
MAX_DIFFERENCES = 1000


class NightlyControl:
    """Keeps nightly stocks and compares them, in the source's state.

    Args:
        connector: Its name.
        settings: Its.
    """

    def __init__(self, connector: str, settings: SekoSettings) -> None:
        self._connector, self._settings = connector, settings
        self._zone = ZoneInfo(settings.timezone)

    def day_of(self, moment: datetime) -> str:
        """The facilities' day of a moment, ISO 8601."""
        return moment.astimezone(self._zone).date().isoformat()

    def keep(self, state: SekoState, message: SekoMessage) -> None:
        """Keep a part of a nightly stock until it is compared."""
        try:
            found = check(message, self._settings.fields, tuple(self._settings.summary_columns))
            assert isinstance(found, records.SekoSummary)  # noqa: S101 -- by its service
            for stock in stocks_of(found, self._settings):
                state.keep_night(stock, found.group or "", found.part, found.total)
        except RecordError:
            return  # its dead letter was written where it came

    def compare(self, state: SekoState, now: datetime) -> list[Item]:
        """Dead letters for nights whose count the movements do not explain, once all movements must have come."""
        found: list[Item] = []
        for key in sorted(state.waiting):
            night = state.waiting[key]
            end_s = self._end_of(night.day)
            known_s = min((state.until.get(each, 0) for each in self._settings.polled), default=unix_s(now))
            is_known = min(unix_s(now), known_s) >= end_s + self._settings.overlap_s
            is_late = now.timestamp() > end_s + LATE_NIGHT_S
            if not is_known and not is_late:
                continue
            dc = json.loads(key)[0]
            if len(night.got) < night.total:
                if is_late:
                    log.warning("nightly_stock_incomplete", connector=self._connector, location=dc, at=night.day)
                    del state.waiting[key]
                continue
            last = state.nights.get(dc)
            is_whole = (
                is_known
                and not state.gaps.keys() - {"summary"}
                and (last is None or state.torn < self._end_of(last.day))
            )
            differences = state.compare(key, is_whole=is_whole)
            outcome = "baseline" if last is None else "compared" if is_whole else "not_compared"
            log.info(
                "nightly_stock",
                connector=self._connector,
                location=dc,
                at=night.day,
                state=outcome,
                count=len(differences or ()),
            )
            if differences:
                found.append(_differs(dc, night.day, differences))
        return found

    def _end_of(self, day: str) -> float:
        end = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=self._zone) + timedelta(days=1)
        return end.timestamp()


def _differs(dc: str, day: str, differences: Sequence[StockDifference]) -> RefusedRecord:
    rows = [
        {"sku": each.sku, "location": each.place, "expected": str(each.expected), "counted": str(each.counted)}
        for each in differences[:MAX_DIFFERENCES]
    ]
    value = json.dumps({"dc": dc, "day": day, "differences": rows}, separators=(",", ":")).encode()
    return RefusedRecord(
        event_type="stock_adjusted",
        reason="invalid_event",
        error=(
            f"the nightly stock of {dc} at the end of {day} differs for {len(differences)} skus from the night before "
            "and the movements since; find out at SEKO, correct B1 by hand, then discard this"
        ),
        value=value,
        origin="seko summary",
        digest=hashlib.sha256(value).hexdigest(),
        number=0,
        sku=differences[0].sku if len(differences) == 1 else None,
    )
