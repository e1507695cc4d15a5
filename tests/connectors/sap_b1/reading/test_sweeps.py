"""Sweeps of stock: by the stored query where B1 has it, else with the items; restarted, refused, and what they cost."""

from decimal import Decimal

import pytest

from connectors.sap_b1.reading import doctor, stock_query
from connectors.sap_b1.reading.cursor import ReadingCursor
from tests.connectors.sap_b1.reading.stage import B1, Reader, settings_of

SWEEP_S = 300.0


async def installed(b1: B1) -> B1:
    await doctor.install(settings_of(), b1.clock, transport=b1.wire)
    return b1


def asked(b1: B1) -> int:
    """HTTP requests since the last time, logins aside."""
    count = sum(request.url.path.endswith("$batch") for request in b1.wire.requests)
    b1.wire.requests.clear()
    return count


def asks_for_stock_with_items(b1: B1) -> bool:
    return any(
        b"Items?" in request.content and b"ItemWarehouseInfoCollection&$orderby" in request.content
        for request in b1.wire.requests
    )


async def test_both_ways_know_the_same() -> None:
    with_items, by_query = B1(items=5), await installed(B1(items=5))
    for b1 in (with_items, by_query):
        b1.order("A3", 4)
    first, second = Reader(with_items.source()), Reader(by_query.source())
    await first.look()
    by_query.wire.requests.clear()
    await second.look()
    assert figures(first) == figures(second)
    assert first.known.keys() == second.known.keys()
    assert not asks_for_stock_with_items(by_query)


def figures(reader: Reader) -> dict[tuple[str, ...], tuple[Decimal, Decimal]]:
    return {key: reader.level(*key[1:]) for key in reader.known if key[0] == "StockLevelRead"}


async def test_what_leaves_no_document_is_found_by_the_query() -> None:
    b1 = await installed(B1())
    reader = Reader(b1.source())
    await reader.look()
    b1.company.load({"stock": [{"item": "A2", "warehouse": "MAN1", "quantity": "1"}]})
    b1.clock.seconds += SWEEP_S
    (said,) = await reader.look()
    assert (said.item_code, said.warehouse, said.on_hand) == ("A2", "MAN1", Decimal(101))


async def test_a_query_that_may_not_be_run_or_was_changed_is_done_without() -> None:
    b1 = await installed(B1())
    b1.company.load({"rules": {"may_run_queries": False}})
    reader = Reader(b1.source())
    await reader.look()
    assert reader.level("A1")[0] == Decimal(100)
    b1 = await installed(B1())
    text = stock_query.TEXT.replace("top 500", "top 1")
    b1.do("PATCH", f"SQLQueries('{stock_query.CODE}')", {"SqlText": text})
    reader = Reader(b1.source())
    await reader.look()
    assert reader.level("A2")[0] == Decimal(100)


async def test_a_query_that_is_made_later_is_used_from_the_next_sweep_on() -> None:
    b1 = B1()
    reader = Reader(b1.source())
    await reader.look()
    await installed(b1)
    b1.wire.requests.clear()
    b1.clock.seconds += SWEEP_S
    b1.company.load({"stock": [{"item": "A2", "warehouse": "MAN1", "quantity": "1"}]})
    await reader.look()
    assert any(b"/List?" in request.content for request in b1.wire.requests)
    assert reader.level("A2", "MAN1")[0] == Decimal(101)


async def test_without_the_right_nothing_is_made_and_the_doctor_says_so() -> None:
    b1 = B1(may_make_queries=False)
    await installed(b1)
    found = {
        each.name: each for each in await doctor.examine("b1", settings_of(), frozenset(), b1.clock, transport=b1.wire)
    }
    assert "streams doctor --install" in found["stock_query"].detail
    b1.company.load({"rules": {"may_make_queries": True}})
    await installed(b1)
    b1.company.load({"rules": {"may_run_queries": False}})
    found = {
        each.name: each for each in await doctor.examine("b1", settings_of(), frozenset(), b1.clock, transport=b1.wire)
    }
    assert found["stock_query"].ok is False


@pytest.mark.parametrize("query", [False, True])
async def test_whoever_takes_over_in_the_middle_of_a_sweep_begins_it_anew(query: bool) -> None:
    b1 = B1(items=250)
    if query:
        await installed(b1)
    reader = Reader(b1.source())
    for _ in range(2):
        reader.acknowledge(await reader.source.read(reader.cursor))
    before = len(reader.known)
    assert 0 < before < 250 * 3
    heir = Reader(b1.source(), reader.cursor)
    await heir.look()
    assert len(heir.known) == 250 * 3
    last = ReadingCursor.from_text(reader.cursor).reading
    assert min(record.reading for record in heir.known.values()) > last


async def test_what_a_sweep_of_two_thousand_items_costs() -> None:
    """The bars are what the README says: it fails where somebody asks one by one."""
    b1 = B1(items=2000)
    with_items = Reader(b1.source())
    await with_items.look()
    b1.clock.seconds += SWEEP_S
    await with_items.look()
    asked(b1)
    b1.clock.seconds += SWEEP_S
    assert await with_items.look() == []
    assert asked(b1) <= 2000 // 40 + 5
    await installed(b1)
    by_query = Reader(b1.source())
    await by_query.look()
    b1.clock.seconds += SWEEP_S
    await by_query.look()
    asked(b1)
    b1.clock.seconds += SWEEP_S
    assert await by_query.look() == []
    assert asked(b1) <= 2000 // 200 + 5
    for _ in range(3):
        b1.clock.seconds += 30
        await by_query.look()
    assert asked(b1) == 3, "a poll is one round trip"


async def test_what_changed_in_a_mass_is_not_read_at_every_poll() -> None:
    b1 = B1(items=300)
    reader = Reader(b1.source(price_lists=[1]))
    await reader.look()
    b1.clock.seconds += 600
    for number in range(1, 301):
        b1.do("PATCH", f"Items('A{number}')", {"ItemPrices": [{"PriceList": 1, "Price": 7}]})
    b1.clock.seconds += 30
    assert len(await reader.look()) == 300
    for _ in range(20):
        b1.clock.seconds += 30
        assert await reader.look() == []
    asked(b1)
    b1.clock.seconds += 30
    await reader.look()
    assert asked(b1) == 1
