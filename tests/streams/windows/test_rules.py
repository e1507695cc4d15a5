"""What the configuration alone says about a stock event."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.config.load import parse
from streams.windows.rules import COUNTS, DATE_STEP_US, StockRules
from tests.streams.fakes import ENVIRON, ROOT, example

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY_US = 86_400_000_000


def us(moment: datetime) -> int:
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))


def rules(timezone: str = "Europe/London", **company: object) -> StockRules:
    data = example()
    acme = data["companies"]["acme"]
    acme["timezone"] = timezone
    acme["warehouses"] |= {
        "RET1": {"owner": "warehouse", "location": "RETURNS", "returns_by": "adjustment"},
        "SHO1": {"owner": "shop", "location": "STORE"},
    }
    acme.update(company)
    data["connectors"]["warehouse"]["start_at"] = "2026-11-01T00:00:00Z"
    return StockRules(parse(data, ROOT, ENVIRON).maps)


def judge(
    location: str = "MAIN",
    *,
    company: str = "acme",
    source: str = "warehouse",
    to_location: str | None = None,
    reason: str = "found",
    age: timedelta = timedelta(minutes=1),
    by: StockRules | None = None,
) -> str:
    return (by or rules()).judge(company, source, location, to_location, reason, us(NOW - age), us(NOW)).why


def test_an_event_that_nothing_stands_against_counts() -> None:
    assert rules().judge("acme", "warehouse", "MAIN", None, "found", us(NOW), us(NOW)) is COUNTS


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("unmapped_location", {"location": "NOWHERE"}),
        ("location_not_owned", {"location": "STORE"}),
        ("location_not_owned", {"source": "shop"}),
        ("unmapped_location", {"to_location": "NOWHERE", "reason": "transfer"}),
        ("location_not_owned", {"to_location": "STORE", "reason": "transfer"}),
        ("invalid_event", {"company": "beta"}),
        ("returned_by_refund", {"reason": "return"}),
        ("", {"reason": "return", "location": "RETURNS"}),
        ("before_start", {"age": timedelta(days=21)}),
        ("too_old", {"age": timedelta(days=35, seconds=1)}),
        ("invalid_event", {"age": -timedelta(days=1, seconds=1)}),
        ("", {"age": -timedelta(hours=23)}),
    ],
)
def test_what_stands_against_it_is_named(why: str, fields: dict[str, object]) -> None:
    assert judge(**fields) == why  # type: ignore[arg-type]


def test_a_flow_that_is_off_comes_before_everything_else_of_its_company() -> None:
    off = rules(flows={"stock_adjusted": "off"})
    assert judge("NOWHERE", by=off) == "flow_off"


def test_a_place_is_judged_once_and_its_age_every_time() -> None:
    one = rules()
    assert [judge(age=timedelta(days=days), by=one) for days in (1, 40, 1, 40)] == ["", "too_old", "", "too_old"]
    assert one.horizon_s() == 35 * 86_400


@given(
    st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001
    st.sampled_from(["Europe/London", "Asia/Kathmandu", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"]),
)
def test_the_posting_date_is_the_local_day_of_every_quarter_of_an_hour(moment: datetime, zone: str) -> None:
    at = moment.replace(tzinfo=UTC)
    one = _BY_ZONE.setdefault(zone, rules(zone))
    assert one.posting_date("acme", us(at)) == at.astimezone(ZoneInfo(zone)).date()
    assert one.posting_date("acme", us(at) // DATE_STEP_US * DATE_STEP_US) == one.posting_date("acme", us(at))


_BY_ZONE: dict[str, StockRules] = {}


@given(st.lists(st.integers(us(NOW) - 40 * DAY_US, us(NOW) + 3 * DAY_US), min_size=3, max_size=3).map(sorted))
def test_what_counts_at_both_ends_of_a_time_counts_all_through_it(times: list[int]) -> None:
    first, between, last = (_ONE.judge("acme", "warehouse", "MAIN", None, "found", at, us(NOW)) for at in times)
    assert between is COUNTS or not first is last is COUNTS


_ONE = rules()


def test_the_last_microsecond_of_a_day_is_still_of_it() -> None:
    midnight = us(datetime(2026, 11, 22, tzinfo=UTC))
    assert rules().posting_date("acme", midnight - 1) == date(2026, 11, 21)
    assert rules().posting_date("acme", midnight) == date(2026, 11, 22)
