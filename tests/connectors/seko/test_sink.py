"""What SEKO is told: each order once, by its rules, and its own words where it says no."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base.errors import CredentialsRefusedError, FatalError, RetriableError
from connectors.base.sink import ChannelEffect, Delivered
from connectors.seko.sink import SekoSink
from connectors.seko.source import SekoSource
from lab.simulators.seko.app import Hub
from lab.simulators.seko.faults import HubFault
from lab.simulators.seko.state import AVAILABLE
from schemas.events import DispatchConfirmed
from tests.connectors.seko.conftest import KEY, Time, settings_of
from tests.connectors.wire import Wire

OUT = {"orders": True, "items": True, "product": {"GrossWeight": 0.3, "GrossWeightUOM": "KG"}}
AT = datetime(2026, 11, 21, 11, 30, tzinfo=UTC)
PERSON = {"name": "Zoë van Ødum", "street": "4 Lime Row", "city": "Leeds", "postcode": "LS1 4XX", "country": "GB"}
ORDER = {
    "order_id": "1001",
    "order_number": "#1001",
    "doc_entry": 12,
    "company": "acme",
    "ship_to": {**PERSON, "company": "Odum Ltd", "phone": "0113 000000"},
    "carrier": "dpd",
    "service": "next-day",
    "lines": [
        {"line_id": "7", "sku": "A", "item_code": "A", "quantity": "2", "location": "DCCL01"},
        {"line_id": "8", "sku": "B", "item_code": "B", "quantity": "1", "location": "DCCL01"},
    ],
}
ITEM = {
    "sku": "TEA",
    "item_code": "TEA",
    "name": 'Tea "250 g"',
    "barcode": "5000000000017",
    "unit": "Each",
    "active": True,
    "batch_managed": True,
    "serial_managed": False,
    "prices": {"1": "9.90"},
}


def line(**changes: Any) -> dict[str, Any]:
    return {**ORDER["lines"][0], **changes}  # type: ignore[index]


def order(k: str = "order_released-AAA", **changes: Any) -> ChannelEffect:
    return ChannelEffect(k=k, type="order_released", content={**ORDER, **changes}, as_of=AT)


def item(**changes: Any) -> ChannelEffect:
    return ChannelEffect(k="item_changed-AAA", type="item_changed", content={**ITEM, **changes}, as_of=AT)


def withdrawal(reason: str = "cancelled", **changes: Any) -> ChannelEffect:
    content = {"order_id": "1001", "doc_entry": 12, "company": "acme", "reason": reason}
    return ChannelEffect(
        k="order_withdrawn-AAA", type="order_withdrawn", content=content, as_of=AT, before=ORDER, **changes
    )


@dataclass
class Door:
    hub: Hub
    time: Time

    def sink(self, **out: Any) -> SekoSink:
        return SekoSink("seko", settings_of(out={**OUT, **out}), self.time, transport=Wire(self.hub))

    async def tell(self, effect: ChannelEffect, **out: Any) -> Delivered:
        sink = self.sink(**out)
        (told,) = await sink.deliver([effect])
        await sink.close()
        return told

    @property
    def loads(self) -> list[str]:
        return [path for path in self.hub.calls if path.endswith("websubmit")]

    def loaded(self, number: str = "1001") -> dict[str, Any]:
        body = self.hub.orders[number].body
        assert body is not None
        return body


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    time = Time()
    hub = Hub(clock=time.now, key=KEY)
    hub.stock = {("DCCL01", AVAILABLE, sku, ""): 100 for sku in ("A", "B", "007")}
    yield Door(hub, time)


# ---- orders


async def test_a_released_order_is_loaded_with_its_address_its_lines_and_our_own_id(door: Door) -> None:
    told = await door.tell(order(), couriers={"DPD/next-day": "DPD Local/Next Day"})
    assert told == Delivered(k="order_released-AAA", outcome="sent", ref="1001")
    body = door.loaded()
    guid = body["WebSalesOrder"]["GUID"]
    assert re.fullmatch("[0-9a-f-]{36}", guid)
    assert body == {
        "WebSalesOrder": {
            "SalesOrderNumber": "1001",
            "SalesOrderReference": "1001",
            "SalesOrderDate": "2026-11-21T11:30:00Z",
            "OrderType": "Web",
            "OnHold": False,
            "GUID": guid,
            "CourierName": "DPD Local",
            "CourierService": "Next Day",
        },
        "SalesOrderHeader": {"DCCode": "DCCL01"},
        "DeliveryDetails": {
            "FirstName": "Zoë van",
            "LastName": "Ødum",
            "Line1": "Odum Ltd",
            "Line2": "4 Lime Row",
            "City": "Leeds",
            "County": "",
            "PostcodeZip": "LS1 4XX",
            "CountryCode": "GB",
            "PhoneNumber": "0113 000000",
        },
        "List": {
            "SalesOrderLineItem": [
                {"LineNumber": 1, "ProductCode": "A", "Quantity": 2},
                {"LineNumber": 2, "ProductCode": "B", "Quantity": 1},
            ]
        },
    }


async def test_lots_and_serials_guide_the_pick_and_lines_of_one_product_are_one(door: Door) -> None:
    lot = {"number": "L1", "quantity": "2"}
    several = [{"number": "L2", "quantity": "1"}, {"number": "L3", "quantity": "2"}]
    lines = [
        line(batches=[lot]),
        line(line_id="9", sku="B", quantity="1", batches=several[:1]),
        line(line_id="10", sku="B", quantity="2", batches=several[1:]),
        line(line_id="11", sku="007", quantity="1", serials=["S-1"]),
    ]
    assert (await door.tell(order(lines=lines))).outcome == "sent"
    body = door.loaded()
    assert body["List"]["SalesOrderLineItem"] == [
        {"LineNumber": 1, "ProductCode": "A", "Quantity": 2, "LotNo": "L1"},
        {"LineNumber": 2, "ProductCode": "B", "Quantity": 3},
        {"LineNumber": 4, "ProductCode": "007", "Quantity": 1},
    ]
    assert body["WebSalesOrder"]["Notes"] == "lots of B: L2 x 1, L3 x 2; serials of 007: S-1"


async def test_an_order_that_is_released_again_has_a_number_of_its_own_and_comes_back_under_its_id(door: Door) -> None:
    told = await door.tell(order(revision=2), order_number="LON-{order_number}")
    assert told.outcome == "refused"  # the # of the middle cannot stand in an address
    assert (await door.tell(order(revision=2), order_number="LON-{doc_entry}")).ref == "LON-12-R2"
    door.hub.dispatch("LON-12-R2", tracking="155")
    source = SekoSource("seko", settings_of(out=OUT), door.time, transport=Wire(door.hub))
    (event,) = (await source.read(None)).items
    await source.close()
    assert isinstance(event, DispatchConfirmed)
    assert event.order_id == "1001"


@pytest.mark.parametrize("kind", ["drop", "html", "lost"])
@pytest.mark.parametrize("status", ["salesorders/v1/{guid}/status.json", "salesorders/v9/{guid}/status.json", ""])
async def test_an_order_whose_answer_is_lost_is_loaded_once(door: Door, kind: str, status: str) -> None:
    door.hub.faults.next.append(HubFault(kind))
    paths = {"status": status}
    assert (await door.tell(order(), paths=paths)).outcome == "unknown"
    assert (await door.tell(replace(order(), doubtful=True), paths=paths)).outcome == "sent"
    assert list(door.hub.orders) == ["1001"]
    assert door.hub.allocated == {("DCCL01", "A"): 2, ("DCCL01", "B"): 1}
    if status.startswith("salesorders/v1") and kind == "lost":
        assert len(door.loads) == 1, "it was found, and not sent again"


async def test_an_order_that_is_sent_again_without_doubt_is_known_by_our_id(door: Door) -> None:
    await door.tell(order())
    assert (await door.tell(order())).outcome == "sent"
    assert list(door.hub.orders) == ["1001"]


@pytest.mark.parametrize("doubtful", [False, True])
async def test_another_order_of_the_same_number_is_not_ours(door: Door, doubtful: bool) -> None:
    door.hub.load_order("1001", {"A": 1})
    told = await door.tell(replace(order(), doubtful=doubtful))
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert "already exists" in str(told.error)


async def test_where_seko_cannot_be_asked_a_number_that_is_there_is_ours_only_after_a_try(door: Door) -> None:
    await door.tell(order())
    paths = {"status": ""}
    assert (await door.tell(order(), paths=paths)).outcome == "refused"
    assert (await door.tell(replace(order(), doubtful=True), paths=paths)).outcome == "sent"


async def test_an_order_of_ours_that_was_cancelled_there_is_not_said_to_be_loaded(door: Door) -> None:
    await door.tell(order())
    await door.tell(withdrawal())
    assert (await door.tell(replace(order(), doubtful=True))).outcome == "refused"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line(quantity="101")], "order 1001: SEKO says .*Product A has no free stock"),
        ([line(), line(line_id="8", sku="X")], "Product X does not exist"),
    ],
)
async def test_what_seko_refuses_is_refused_in_its_words(door: Door, lines: list[Any], words: str) -> None:
    told = await door.tell(order(lines=lines))
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert re.search(words, str(told.error))
    assert door.hub.orders == {}
    assert door.hub.allocated == {}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order_id": "1" * 51}, r"SalesOrderNumber \(order_id\) has 51 characters, and SEKO takes 50"),
        ({"order_id": "a/1"}, r"SalesOrderNumber \(order_id\) has a character"),
        ({"ship_to": {**PERSON, "street": "x" * 101}}, r"Line1 \(ship_to.street\) has 101 characters"),
        ({"ship_to": {**PERSON, "postcode": "x" * 21}}, r"PostcodeZip \(ship_to.postcode\)"),
        ({"lines": [line(sku='A"')]}, r"ProductCode \(lines\[0\].sku\) has a quote mark"),
        ({"lines": [line(sku="A ")]}, r"ProductCode .*blanks around"),
        ({"lines": [line(sku="A,~")]}, "a comma and a tilde"),
        ({"lines": [line(), line(sku="a")]}, r"ProductCode \(lines\[0\].sku\) differs .* upper and lower case"),
        ({"lines": [line(quantity="1.5")]}, r"Quantity \(lines\[0\].quantity\) has parts of a unit"),
        ({"lines": [line(), line(sku="B", location="DC2")]}, "its lines leave from DC2, DCCL01"),
        ({"lines": [line(location="DC9")]}, r"DCCode \(lines\[\].location\) is no facility"),
        ({"lines": [line(location=None)]}, "is no facility"),
        ({"lines": [line(batches=[{"number": "L|1", "quantity": "2"}])]}, r"LotNo \(lines\[0\].batches\[0\].number\)"),
    ],
)
async def test_what_seko_has_no_form_for_is_not_sent_and_the_fields_are_named(
    door: Door, changes: dict[str, Any], words: str
) -> None:
    told = await door.tell(order(**changes))
    assert (told.outcome, told.reason) == ("refused", "format_refused")
    assert re.search(words, str(told.error)), told.error
    assert "Ødum" not in str(told.error)
    assert door.hub.calls == []


async def test_a_line_is_known_by_its_number_where_the_order_has_one(door: Door) -> None:
    settings = settings_of(out=OUT, line_ids="line_number")
    sink = SekoSink("seko", settings, door.time, transport=Wire(door.hub))
    bad = order("order_released-BBB", order_id="1002", lines=[line(line_id="x")])
    ok, refused = await sink.deliver([order(), bad])
    await sink.close()
    assert (ok.outcome, refused.reason) == ("sent", "format_refused")
    assert [each["LineNumber"] for each in door.loaded()["List"]["SalesOrderLineItem"]] == [7, 8]


async def test_a_carrier_that_takes_ascii_only_gets_it_or_the_field_is_named(door: Door) -> None:
    await door.tell(order(), transliterate=True)
    assert door.loaded()["DeliveryDetails"]["FirstName"] == "Zoe van"
    assert door.loaded()["DeliveryDetails"]["LastName"] == "Odum"
    far = order("order_released-BBB", order_id="1002", ship_to={**PERSON, "city": "東京"})
    assert "City (ship_to.city) has letters" in str((await door.tell(far, transliterate=True)).error)


async def test_what_a_person_is_called_is_not_in_the_words_that_are_kept(door: Door) -> None:
    door.hub.load_order = lambda *_, **__: (_ for _ in ()).throw(  # type: ignore[method-assign, assignment]
        ValueError("Zoë van Ødum of 4 lime row, mia@example.test: no")
    )
    assert '"*** of ***, ***: no"' in str((await door.tell(order())).error)


# ---- withdrawals


@pytest.mark.parametrize(("reason", "code"), [("cancelled", "001"), ("not_released", "002"), ("changed", "006")])
async def test_a_withdrawn_order_is_cancelled_with_its_reason(
    door: Door, reason: str, code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.tell(order())
    asked: list[dict[str, str]] = []
    serve = door.hub._serve
    monkeypatch.setattr(door.hub, "_serve", lambda *call: (asked.append(dict(call[2])), serve(*call))[1])
    assert (await door.tell(withdrawal(reason))).outcome == "sent"
    assert door.hub.orders["1001"].status == "Cancelled"
    assert asked == [{"reasonCode": code}]


async def test_the_number_that_is_cancelled_is_the_one_that_was_loaded(door: Door) -> None:
    await door.tell(order(revision=1))
    assert (await door.tell(withdrawal(ref="1001-R1"))).outcome == "sent"
    assert door.hub.orders["1001-R1"].status == "Cancelled"


@pytest.mark.parametrize("kind", ["drop", "lost"])
async def test_a_cancellation_whose_answer_is_lost_ends_the_same(door: Door, kind: str) -> None:
    await door.tell(order())
    door.hub.faults.next.append(HubFault(kind))
    assert (await door.tell(withdrawal())).outcome == "unknown"
    assert (await door.tell(withdrawal(doubtful=True))).outcome == "sent"
    assert door.hub.allocated == {("DCCL01", "A"): 0, ("DCCL01", "B"): 0}


async def test_an_order_that_seko_never_had_needs_no_cancelling_and_one_that_left_cannot_be(door: Door) -> None:
    assert (await door.tell(withdrawal())).outcome == "sent"
    await door.tell(order())
    door.hub.dispatch("1001")
    told = await door.tell(withdrawal())
    assert (told.outcome, told.reason) == ("refused", "channel_refused")
    assert "It is Dispatched" in str(told.error)
    # One that was dispatched short is closed in B1, and over at SEKO.
    assert (await door.tell(withdrawal("closed"))).outcome == "sent"


# ---- products


async def test_a_new_item_is_submitted_and_a_changed_one_updated_as_a_full_record(door: Door) -> None:
    assert (await door.tell(item(), supplier="SUP001")).ref == "TEA"
    assert door.hub.products.records["tea"] == {
        "ProductCode": "TEA",
        "ProductDescription": "Tea '250 g'",
        "EAN": "5000000000017",
        "LotControlled": True,
        "SerialNumberControlled": False,
        "GrossWeight": 0.3,
        "GrossWeightUOM": "KG",
    }
    renamed = replace(item(name="Green tea"), before=ITEM)
    assert (await door.tell(renamed)).outcome == "sent"
    assert door.hub.products.records["tea"]["ProductDescription"] == "Green tea"
    assert [path.rpartition("/")[2] for path in door.hub.calls] == ["submit", "update"]


@pytest.mark.parametrize("kind", ["drop", "lost"])
async def test_a_product_whose_answer_is_lost_is_there_once(door: Door, kind: str) -> None:
    door.hub.faults.next.append(HubFault(kind))
    assert (await door.tell(item())).outcome == "unknown"
    assert (await door.tell(replace(item(), doubtful=True))).outcome == "sent"
    assert list(door.hub.products.records) == ["tea"]


async def test_seko_knows_best_whether_it_has_a_product(door: Door) -> None:
    assert (await door.tell(replace(item(), before=ITEM))).outcome == "sent"  # deleted there, or another hub
    assert (await door.tell(item(name="Green tea"))).outcome == "sent"  # loaded by hand
    assert door.hub.products.records["tea"]["ProductDescription"] == "Green tea"


async def test_an_inactive_item_that_seko_never_had_is_not_made_there(door: Door) -> None:
    assert (await door.tell(item(active=False))).outcome == "sent"
    assert door.hub.products.records == {}


@pytest.mark.parametrize(
    ("effect", "out", "reason", "words"),
    [
        (item(sku="T|A"), {}, "format_refused", r"item TEA: ProductCode \(sku\)"),
        (item(name="x" * 201), {}, "format_refused", r"ProductDescription \(name\) has 201"),
        (item(barcode="1" * 51), {}, "format_refused", r"EAN \(barcode\)"),
        (item(), {"sku_pattern": "[0-9]+"}, "format_refused", r"ProductCode \(sku\) is not as out.sku_pattern"),
        (replace(item(batch_managed=False), before=ITEM), {}, "channel_refused", "controls cannot be changed"),
    ],
)
async def test_a_product_that_cannot_be_is_refused(
    door: Door, effect: ChannelEffect, out: dict[str, Any], reason: str, words: str
) -> None:
    if effect.before is not None:
        await door.tell(item())
    told = await door.tell(effect, **out)
    assert (told.outcome, told.reason) == ("refused", reason)
    assert re.search(words, str(told.error)), told.error


# ---- several at once, and a hub that is away


async def test_one_that_is_refused_does_not_keep_the_others_back(door: Door) -> None:
    sink = door.sink()
    told = await sink.deliver(
        [order(), order("order_released-BBB", order_id="1002", lines=[line(sku="X")]), item(), withdrawal()]
    )
    await sink.close()
    assert [each.outcome for each in told] == ["sent", "refused", "sent", "sent"]


async def test_a_throttled_hub_is_left_alone_as_long_as_it_asks(door: Door) -> None:
    sink = door.sink()
    door.hub.faults.next.append(HubFault("http", 429, {"Retry-After": "9"}))
    with pytest.raises(RetriableError) as caught:
        await sink.deliver([order(), item()])
    assert caught.value.retry_after_s == 9
    door.hub.faults.next += [HubFault("pass"), HubFault("http", 429)]
    told = await sink.deliver([order(), item(), withdrawal()])
    await sink.close()
    assert [(each.outcome, each.retry_after_s) for each in told] == [("sent", None), ("away", 30), ("away", 30)]
    assert door.hub.orders["1001"].status == "Confirmed"


async def test_two_processes_that_send_the_same_order_at_once_load_it_once(door: Door) -> None:
    one, other = door.sink(), door.sink()
    both = await asyncio.gather(one.deliver([order()]), other.deliver([order()]))
    assert [each.outcome for told in both for each in told] == ["sent", "sent"]
    assert list(door.hub.orders) == ["1001"]
    await one.close()
    await other.close()


async def test_a_wrong_key_and_a_wrong_address_are_said_and_the_key_is_not(door: Door) -> None:
    door.hub.key = "other"
    with pytest.raises(CredentialsRefusedError, match="fix api_key") as caught:
        await door.tell(order())
    assert KEY not in str(caught.value)
    door.hub.key = KEY
    with pytest.raises(RetriableError, match=r"fix out\.url"):
        await door.tell(order(), url="https://ihub.example/wrong")


async def test_bodies_may_need_the_root_of_v1(door: Door) -> None:
    assert (await door.tell(order(), request_root=True)).outcome == "sent"


async def test_what_seko_has_no_call_for_is_refused_and_it_shows_no_figures(door: Door) -> None:
    level = ChannelEffect(k="l", type="stock_level", content={"sku": "A", "sellable": "1"}, as_of=AT)
    assert "switch it off" in str((await door.tell(level)).error)
    assert await door.sink().current([level]) == {}


# ---- settings


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"out": {**OUT, "stock": True}}, "SEKO's stock is its own"),
        ({"out": {**OUT, "tracking": True}}, "SEKO dispatched"),
        ({"out": {**OUT, "prices": 1}}, "keeps no prices"),
        ({"out": {"items": True}}, "GrossWeight"),
        ({"out": {**OUT, "url": "http://hub.example/api"}}, "use https"),
        ({"out": {**OUT, "order_number": "W-1"}}, "names no order"),
        ({"out": {**OUT, "sku_pattern": "("}}, "no regular expression"),
        ({"out": {**OUT, "cancel_code": "007"}}, "Input should be"),
        ({"out": {**OUT, "paths": {"cancel": "cancel"}}}, "pattern"),
        ({"out": OUT, "api_key": None}, "neither api_key nor out.api_key"),
    ],
)
def test_settings_that_do_not_fit_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings_of(**fields)


def test_what_only_receives_needs_no_pushes_and_answers_are_known_by_the_reference() -> None:
    settings = settings_of(push_secrets=[], api_key=None, out={**OUT, "api_key": "env:KEY"})
    assert settings.order_field == "SalesOrderReference"
    assert settings_of(out=OUT, order_id="InterfaceRecordId").order_field == "InterfaceRecordId"
    assert settings_of(out={**OUT, "mode": "shadow"}).order_field == "SalesOrderNumber"
    assert settings_of().order_field == "SalesOrderNumber"


def test_a_sink_of_a_connector_that_receives_nothing_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(FatalError, match=r"connectors\.seko\.out"):
        SekoSink("seko", settings_of(), Time())
