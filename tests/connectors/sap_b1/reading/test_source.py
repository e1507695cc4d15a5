"""B1 as a source against the simulated Service Layer: what changes is emitted once, and nothing else."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from connectors.base.errors import RetriableError
from connectors.sap_b1.change_set import B1Answer
from connectors.sap_b1.reading import doctor
from connectors.sap_b1.reading.cursor import ReadingCursor
from lab.simulators.sap_b1.faults import FaultKind
from schemas.readings import StockLevelRead
from tests.connectors.sap_b1.conftest import START, RecordingWire
from tests.connectors.sap_b1.reading.stage import B1, Reader, kinds, settings_of

POLL_S, SWEEP_S = 30.0, 300.0


@pytest.fixture
def b1() -> B1:
    return B1()


async def reader_of(b1: B1, **table: object) -> Reader:
    """One that has read everything once."""
    reader = Reader(b1.source(**table))
    await reader.look()
    return reader


async def test_the_first_reading_says_every_item_level_and_open_order(b1: B1) -> None:
    entry = b1.order()
    reader = Reader(b1.source(price_lists=[1]))
    said = await reader.look()
    assert kinds(said) == ["ItemChanged", "OrderStatusChanged", "StockLevelRead"]
    assert len(said) == len(reader.known) == 2 + 2 * 2 + 1, "each once, and no warehouse that is not ours"
    assert reader.level("A1") == (Decimal(100), Decimal(3))
    item, order = reader.item("A1"), reader.order(entry)
    assert (item.name, item.is_active, item.prices[0].amount) == ("Item 1", True, Decimal("9.99"))
    assert (order.status, order.is_released, order.lines[0].open) == ("open", True, Decimal(3))
    assert (order.ship_to.name, order.ship_to.company, order.ship_to.city) == ("Ann Lee", "Lee Ltd", "Leeds")


async def test_where_nothing_has_changed_nothing_is_said_and_the_cursor_stands(b1: B1) -> None:
    b1.order()
    reader = await reader_of(b1)
    cursor = reader.cursor
    for _ in range(3):
        b1.clock.seconds += POLL_S
        assert await reader.look() == []
    assert reader.cursor == cursor


async def test_an_order_comes_with_the_stock_it_commits_and_the_stock_after_it(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    entry = b1.order(quantity=7)
    said = await reader.look()
    assert reader.level("A1") == (Decimal(100), Decimal(7))
    order = next(n for n, record in enumerate(said) if getattr(record, "doc_entry", None) == entry)
    level = next(n for n, record in enumerate(said) if getattr(record, "committed", None) == 7)
    assert order < level
    assert said[order].reading <= said[level].reading
    assert said[order].as_of <= said[level].as_of


async def test_stock_that_did_not_change_is_said_again_behind_an_order_that_did(b1: B1) -> None:
    """A stock reading older than an order's does not show what the order commits, and nobody could count on it."""
    entry = b1.order(quantity=7)
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    b1.do("PATCH", f"Orders({entry})", {"Comments": "by hand"})
    said = await reader.look()
    levels = [record for record in said if isinstance(record, StockLevelRead) and record.item_code == "A1"]
    assert [record.committed for record in levels if record.warehouse == "LON1"] == [Decimal(7)]
    assert all(record.reading >= reader.order(entry).reading for record in levels)


async def test_a_delivery_comes_with_its_stock_and_its_order_and_again_when_its_number_is_keyed(b1: B1) -> None:
    entry = b1.order(U_STREAMS_KEY="order-k", U_STREAMS_ORDER="order-k")
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    delivery = b1.deliver(entry, 2)
    await reader.look()
    assert [(line.order_entry, line.order_line) for line in reader.delivery(delivery).lines] == [(entry, 0)]
    assert reader.order(entry).lines[0].open == 1
    assert reader.level("A1") == (Decimal(98), Decimal(1))
    b1.clock.seconds += POLL_S
    b1.do("PATCH", f"DeliveryNotes({delivery})", {"TrackingNumber": "TN 1"})
    (said,) = await reader.look()
    assert said.tracking_numbers == ("TN 1",)


async def test_what_documents_move_is_read_at_the_next_poll_and_not_only_by_the_sweep(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    b1.receive("A2", 5, "MAN1")
    said = await reader.look()
    assert [(record.item_code, record.warehouse, record.on_hand) for record in said] == [("A2", "MAN1", Decimal(105))]
    b1.clock.seconds += POLL_S
    move = {"ItemCode": "A1", "Quantity": 4, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}
    b1.do("POST", "StockTransfers", {"StockTransferLines": [move]})
    await reader.look()
    assert (reader.level("A1")[0], reader.level("A1", "MAN1")[0]) == (Decimal(96), Decimal(104))


async def test_what_leaves_no_document_is_found_by_the_sweep(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.company.load({"stock": [{"item": "A1", "warehouse": "LON1", "quantity": "11"}]})
    b1.clock.seconds += POLL_S
    assert await reader.look() == []
    b1.clock.seconds += SWEEP_S
    await reader.look()
    assert reader.level("A1")[0] == Decimal(111)


async def test_a_changed_item_and_price_are_read_at_the_next_poll(b1: B1) -> None:
    reader = await reader_of(b1, price_lists=[1])
    b1.clock.seconds += POLL_S
    b1.do("PATCH", "Items('A1')", {"ItemPrices": [{"PriceList": 1, "Price": Decimal("8.50")}], "BarCode": "50123"})
    (said,) = await reader.look()
    assert (said.barcode, said.prices[0].amount, said.prices[0].currency) == ("50123", Decimal("8.50"), "GBP")
    b1.clock.seconds += POLL_S
    b1.do("PATCH", "Items('A1')", {"Frozen": "tYES"})
    (said,) = await reader.look()
    assert not said.is_active


async def test_an_order_is_released_by_its_user_field(b1: B1) -> None:
    field = {"TableName": "ORDR", "Name": "RELEASED", "Description": "Released", "Type": "db_Alpha", "EditSize": 1}
    b1.do("POST", "UserFieldsMD", field)
    entry = b1.order()
    reader = await reader_of(b1, release={"user_field": "U_RELEASED", "value": "Y"})
    assert not reader.order(entry).is_released
    b1.clock.seconds += POLL_S
    b1.do("PATCH", f"Orders({entry})", {"U_RELEASED": "Y"})
    await reader.look()
    assert reader.order(entry).is_released


async def test_cancelled_and_closed_orders_are_said_with_the_stock_they_free(b1: B1) -> None:
    first, second = b1.order(), b1.order("A2")
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    b1.do("POST", f"Orders({first})/Cancel")
    b1.do("POST", f"Orders({second})/Close")
    await reader.look()
    assert (reader.order(first).status, reader.order(second).status) == ("cancelled", "closed")
    assert (reader.level("A1")[1], reader.level("A2")[1]) == (0, 0)
    line = reader.order(second).lines[0]
    assert (line.is_closed, line.open) == (True, Decimal(3)), "what never will be delivered"


async def test_an_order_that_a_sweep_misses_is_read_by_its_key_to_see_how_it_ended(b1: B1) -> None:
    entry = b1.order()
    reader = await reader_of(b1)
    b1.clock.seconds += 240
    assert await reader.look() == []
    row = b1.company.rows("Orders")[entry]
    row["DocumentStatus"] = "bost_Close"  # as by a program that leaves no date behind
    b1.clock.seconds += POLL_S
    assert await reader.look() == []
    b1.clock.seconds += SWEEP_S
    (said,) = [record for record in await reader.look() if hasattr(record, "doc_entry")]
    assert (said.doc_entry, said.status) == (entry, "closed")


async def test_an_item_that_was_deleted_becomes_inactive_without_stock(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.company.rows("Items").pop("A2")  # type: ignore[attr-defined]  # a dictionary
    b1.clock.seconds += SWEEP_S
    await reader.look()
    assert not reader.item("A2").is_active
    assert reader.level("A2") == (0, 0)
    assert reader.item("A1").is_active


async def test_items_that_go_in_swarms_are_not_believed() -> None:
    b1 = B1(items=30)
    reader = await reader_of(b1)
    for number in range(11, 31):
        b1.company.rows("Items").pop(f"A{number}")  # type: ignore[attr-defined]  # a dictionary
    b1.clock.seconds += SWEEP_S
    assert await reader.look() == []


async def test_nothing_is_said_of_an_empty_answer(b1: B1) -> None:
    entry = b1.order()
    reader = await reader_of(b1)
    orders, items = b1.company.rows("Orders"), b1.company.rows("Items")
    kept = dict(orders), dict(items)
    orders.clear()  # type: ignore[attr-defined]  # what the company shows as a mapping is a dictionary
    items.clear()  # type: ignore[attr-defined]
    b1.clock.seconds += SWEEP_S
    assert await reader.look() == []
    orders.update(kept[0])  # type: ignore[attr-defined]
    items.update(kept[1])  # type: ignore[attr-defined]
    b1.clock.seconds += SWEEP_S
    assert await reader.look() == []
    assert reader.order(entry).status == "open"


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.LOST_BEFORE,
        FaultKind.LOST_AFTER,
        FaultKind.HTML_502,
        FaultKind.TRUNCATED_BATCH,
        FaultKind.SESSION_KILL,
        FaultKind.REORDERED_BATCH,
    ],
)
@pytest.mark.parametrize("skip", range(5))
async def test_whichever_answer_is_lost_the_same_is_known_in_the_end(b1: B1, kind: FaultKind, skip: int) -> None:
    entry = b1.order()
    calm = await reader_of(b1)
    b1.faults.script(kind, path="$batch", skip=skip)
    reader = Reader(b1.source())
    for _ in range(3):
        try:
            await reader.look()
        except RetriableError:
            continue
        break
    without = {key: replace(record, reading=0) for key, record in reader.known.items()}
    assert without == {key: replace(record, reading=0) for key, record in calm.known.items()}
    assert reader.order(entry).status == "open"


async def test_after_a_restart_everything_is_read_at_once_and_numbers_go_on(b1: B1) -> None:
    entry = b1.order()
    reader = await reader_of(b1)
    done = b1.order("A2")
    b1.do("POST", f"Orders({done})/Cancel")
    heir = Reader(b1.source(), reader.cursor)
    b1.clock.seconds += 3600
    await heir.look()
    assert heir.known.keys() == reader.known.keys() | {("OrderStatusChanged", str(done))}
    assert heir.order(done).status == "cancelled", "it began and ended while nobody looked"
    last = ReadingCursor.from_text(reader.cursor).reading
    assert min(record.reading for record in heir.known.values()) > last
    assert heir.order(entry).status == "open"


async def test_an_unacknowledged_batch_comes_again_and_another_cursor_begins_anew(b1: B1) -> None:
    b1.order()
    source = b1.source()
    first = await source.read(None)
    assert first.items
    again = await source.read(None)
    assert again == first
    reader = Reader(source, first.cursor)
    await reader.look()
    b1.clock.seconds += POLL_S
    b1.order("A2")
    lost = await source.read(reader.cursor)
    assert lost.items
    other = ReadingCursor(90, {}).to_text()
    b1.clock.seconds += 1
    taken = Reader(source, other)
    await taken.look()
    assert {record.reading > 90 for record in taken.known.values()} == {True}
    assert len(taken.known) == 2 + 4 + 2


async def test_everything_is_said_again_within_the_hour(b1: B1) -> None:
    b1.order()
    reader = await reader_of(b1)
    said: set[object] = set()
    for _ in range(12):
        b1.clock.seconds += SWEEP_S
        said |= {(type(record).__name__, str(record.as_of), repr(record)) for record in await reader.look()}
    assert len(said) >= len(reader.known)
    assert all(record.as_of.timestamp() > b1.clock.now().timestamp() - 3700 for record in reader.known.values())


async def test_a_session_that_b1_forgets_is_made_again(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.app.server.sessions.clear()
    b1.clock.seconds += POLL_S
    b1.receive("A1", 1)
    await reader.look()
    assert reader.level("A1")[0] == Decimal(101)


async def test_b1_away_raises_and_nothing_is_forgotten(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.app.server.faults.outage = "html_503"
    b1.clock.seconds += POLL_S
    b1.receive("A1", 1)
    with pytest.raises(RetriableError):
        await reader.look()
    b1.app.server.faults.outage = None
    await reader.look()
    assert reader.level("A1")[0] == Decimal(101)


async def test_once_a_day_deliveries_and_ended_orders_are_read_again(b1: B1) -> None:
    delivery = b1.deliver(b1.order())
    reader = await reader_of(b1)
    b1.clock.seconds += 600
    b1.deliver(b1.order())
    await reader.look()
    b1.company.rows("DeliveryNotes")[delivery]["TrackingNumber"] = "TN"  # as by a program that leaves no date behind
    for _ in range(2):
        await reader.look()
        assert reader.delivery(delivery).tracking_numbers == ()
        b1.clock.seconds += POLL_S
    b1.clock.seconds += 86_400
    await reader.look()
    assert reader.delivery(delivery).tracking_numbers == ("TN",)


async def test_the_hour_that_comes_twice_hides_no_change(b1: B1) -> None:
    """Europe/London, 2026-10-25: at 02:00 clocks show 01:00 again, and B1 writes such times."""
    delivery = b1.deliver(b1.order())
    row = b1.company.rows("DeliveryNotes")[delivery]
    row["CreationDate"] = "2026-10-01T00:00:00Z"
    b1.clock.seconds = (datetime(2026, 10, 25, 0, 55, tzinfo=UTC) - START).total_seconds()
    row.update(UpdateDate="2026-10-25T00:00:00Z", UpdateTime="01:54:50", TrackingNumber="one")
    heir = Reader(b1.source(), ReadingCursor(9, {"DeliveryNotes": datetime(2026, 10, 25, 1, 50)}).to_text())  # noqa: DTZ001
    await heir.look()
    assert heir.delivery(delivery).tracking_numbers == ("one",)
    b1.clock.seconds += 600  # 01:05 in winter time
    row.update(UpdateTime="01:04:50", TrackingNumber="two")
    await heir.look()
    assert heir.delivery(delivery).tracking_numbers == ("two",)


async def test_whoever_takes_over_counts_before_what_a_paused_process_still_holds(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    b1.receive("A1", 1)
    held = await reader.source.read(reader.cursor)
    b1.receive("A1", 1)
    b1.clock.seconds -= 5  # its clock is behind
    heir = Reader(b1.source(), reader.cursor)
    await heir.look()
    (level,) = held.items
    assert isinstance(level, StockLevelRead)
    assert heir.known["StockLevelRead", "A1", "LON1"].age > level.age
    assert heir.level("A1")[0] == Decimal(102)


async def test_more_documents_than_a_page_has_are_read_without_waiting() -> None:
    b1 = B1(items=50)
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    for number in range(1, 46):
        b1.receive(f"A{number}", 1)
    await reader.look()
    assert [reader.level(f"A{number}")[0] for number in range(1, 51)] == [Decimal(101)] * 45 + [Decimal(100)] * 5


async def test_a_crash_between_two_batches_of_a_poll_loses_nothing(b1: B1, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connectors.sap_b1.reading.source.MAX_RECORDS", 3)
    reader = await reader_of(b1)
    deliveries = []
    for _ in range(8):  # nobody looks for more than an hour
        b1.clock.seconds += 600
        deliveries.append(b1.deliver(b1.order()))
    first = await reader.source.read(reader.cursor)
    reader.acknowledge(first)
    heir = Reader(b1.source(), reader.cursor)
    await heir.look()
    known = reader.known | heir.known
    assert {("DeliveryPosted", str(entry)) for entry in deliveries} <= known.keys()


async def test_a_change_that_becomes_visible_late_is_read(b1: B1) -> None:
    """Its transaction began before another one's whose end was seen before."""
    late = b1.deliver(b1.order())
    reader = await reader_of(b1)
    row = b1.company.rows("DeliveryNotes")[late]
    row["CreationDate"] = "2026-10-01T00:00:00Z"
    b1.clock.seconds += 600
    b1.deliver(b1.order())
    await reader.look()
    stamp = b1.clock.now() - timedelta(minutes=2)
    row.update(TrackingNumber="TN", UpdateTime=f"{stamp:%H:%M:%S}")
    b1.clock.seconds += POLL_S
    await reader.look()
    assert reader.delivery(late).tracking_numbers == ("TN",)


async def test_an_item_is_not_gone_where_nothing_is_answered(b1: B1) -> None:
    reader = await reader_of(b1)
    items = b1.company.rows("Items")
    kept = items.pop("A2")  # type: ignore[attr-defined]  # a dictionary
    b1.clock.seconds += SWEEP_S
    read, swept = reader.source._b1.read, 0

    async def emptied(paths: Sequence[str]) -> Any:
        """By key nothing is answered at all."""
        nonlocal swept
        answers = await read(paths)
        if any("ItemCode eq" in path for path in paths):
            swept += 1
            return [B1Answer(200, {"value": []}) for _ in answers]
        return answers

    reader.source._b1.read = emptied  # type: ignore[method-assign]
    await reader.look()
    assert swept == 1
    assert reader.item("A2").is_active
    items["A2"] = kept  # type: ignore[index]


@pytest.mark.parametrize("behind", [timedelta(hours=2), timedelta(hours=-2)])
async def test_the_clock_of_b1_may_be_another(behind: timedelta) -> None:
    b1 = B1(behind=behind)
    reader = await reader_of(b1)
    for number in ("one", "two"):
        b1.clock.seconds += POLL_S
        delivery = b1.deliver(b1.order(), TrackingNumber=number)
        await reader.look()
        assert reader.delivery(delivery).tracking_numbers == (number,)


async def test_pages_that_b1_cuts_short_are_walked_all_the_same() -> None:
    """A build that does not obey the page size that is asked for: 20 rows, and a link to the next."""
    b1 = B1(items=90)
    await doctor.install(settings_of(), b1.clock, transport=b1.wire)
    entries = [b1.order(f"A{number}") for number in range(1, 46)]

    class Stubborn(RecordingWire):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            content = request.content.replace(b"Prefer: odata.maxpagesize=1000", b"X-Nothing: 1")
            headers = {name: value for name, value in request.headers.items() if name != "content-length"}
            return await super().handle_async_request(
                httpx.Request(request.method, request.url, headers=headers, content=content)
            )

    reader = Reader(b1.source(transport=Stubborn(b1.app)))
    await reader.look()
    assert len(reader.known) == 90 * 3 + 45
    assert all(reader.order(entry).status == "open" for entry in entries)


async def test_a_change_in_the_minute_of_the_newest_one_is_not_settled_over(b1: B1) -> None:
    """Nobody looks for an hour: the change that followed at once is met by the look after it, and then no more."""
    reader = await reader_of(b1)
    first, second = b1.deliver(b1.order()), b1.deliver(b1.order())
    b1.clock.seconds += POLL_S
    await reader.look()
    b1.clock.seconds += 1
    b1.do("PATCH", f"DeliveryNotes({first})", {"TrackingNumber": "one"})
    b1.clock.seconds += 3600
    await reader.look()
    assert reader.delivery(first).tracking_numbers == ("one",)
    b1.clock.seconds += 3600
    b1.do("PATCH", f"DeliveryNotes({second})", {"TrackingNumber": "two"})
    await reader.look()
    assert reader.delivery(second).tracking_numbers == ("two",)


async def test_a_new_item_comes_with_its_stock_at_the_next_poll(b1: B1) -> None:
    reader = await reader_of(b1)
    b1.clock.seconds += POLL_S
    b1.do("POST", "Items", {"ItemCode": "NEW", "ItemName": "New"})
    said = await reader.look()
    assert kinds(said) == ["ItemChanged", "StockLevelRead"]
    assert reader.level("NEW") == (0, 0)
