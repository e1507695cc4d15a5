"""When a window that events of several companies share is due: the strictest of them decides."""

from dataclasses import dataclass

from streams.windows.window import OpenWindow
from tests.streams.records import FakeBatch, rows_of
from tests.streams.windows.test_epoch import CODEC, COMPOSER, event


@dataclass(frozen=True)
class Length:
    length_s: float
    max_members: int


def test_the_shortest_window_of_its_companies_closes_it_whichever_comes_first() -> None:
    limits = {"acme": Length(60, 100), "beta": Length(5, 10)}
    for companies in (("acme", "beta"), ("beta", "acme")):
        window = OpenWindow(limits.__getitem__)
        events = [event(company, company=company) for company in companies]
        records = rows_of(CODEC, "stock-adjusted", events)
        assert window.add(FakeBatch(records), COMPOSER.read(records), 100.0)
        assert window.due == 105.0


def test_the_smallest_number_of_members_fills_it() -> None:
    limits = {"acme": Length(60, 3), "beta": Length(60, 2)}
    window = OpenWindow(limits.__getitem__)
    records = rows_of(CODEC, "stock-adjusted", [event("a"), event("b", company="beta")])
    window.add(FakeBatch(records), COMPOSER.read(records), 0.0)
    assert window.full == "members"
