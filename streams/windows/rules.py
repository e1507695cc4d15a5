"""What the configuration alone says about a stock event: count it, refuse it, or record it as nothing to do.

Pure, cached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from connectors.base.errors import Refusal
from connectors.sap_b1.mapping import CompanyMap
from schemas.times import datetime_of

_DAY_US = 86_400_000_000
DATE_STEP_US = (
    900_000_000  # offsets of time zones are multiples of a quarter of an hour: one step never spans a local midnight
)


@dataclass(frozen=True, slots=True)
class StockVerdict:
    """`why` is empty for an event that counts, a reason of `schemas.letters`, or one of `schemas.records.NO_OPS`."""

    why: str = ""
    error: str | None = None


COUNTS = StockVerdict()


class StockRules:
    """One per worker, for the configuration in force."""

    def __init__(self, maps: Mapping[str, CompanyMap]) -> None:
        self._maps = maps
        self._places: dict[tuple[str, str, str, str | None, str], StockVerdict] = {}
        self._horizon_us = {name: int(m.settings.dedupe_horizon_days * _DAY_US) for name, m in maps.items()}

    def horizon_s(self) -> float:
        return max(self._horizon_us.values(), default=0) / 1_000_000

    def judge(
        self,
        company: str,
        source: str,
        location: str,
        to_location: str | None,
        reason: str,
        occurred_us: int,
        now_us: int,
    ) -> StockVerdict:
        place = (company, source, location, to_location, reason)
        verdict = self._places.get(place)
        if verdict is None:
            verdict = self._places[place] = self._judge_place(*place)
        if verdict.why:
            return verdict
        if now_us - occurred_us > self._horizon_us[company]:
            return StockVerdict(
                "too_old",
                f"occurred more than {self._horizon_us[company] // _DAY_US} days ago; count it by hand or discard it",
            )
        if occurred_us - now_us > _DAY_US:
            return StockVerdict(
                "invalid_event", "occurred_at is more than a day ahead; fix the source's clock and send it again"
            )
        if self._maps[company].before_start(source, datetime_of(occurred_us)):
            return StockVerdict("before_start")
        return COUNTS

    def posting_date(self, company: str, occurred_us: int) -> date:
        return self._maps[company].posting_date(datetime_of(occurred_us))

    def _judge_place(
        self, company: str, source: str, location: str, to_location: str | None, reason: str
    ) -> StockVerdict:
        mapping = self._maps.get(company)
        if mapping is None:
            return StockVerdict("invalid_event", f"company {company!r} is not in the configuration; add it and replay")
        if mapping.flow_off("stock_adjusted"):
            return StockVerdict("flow_off")
        try:
            warehouse = mapping.stock_warehouse(source, location)
            if to_location is not None:
                mapping.stock_warehouse(source, to_location)
        except Refusal as refusal:
            return StockVerdict(refusal.reason, refusal.error)
        if reason == "return" and mapping.returns_by_refund(warehouse):
            return StockVerdict("returned_by_refund")
        return COUNTS
