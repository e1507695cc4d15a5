import asyncio
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import Refusal
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.master import Codes
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import B1Answer, B1Request, QueryRefusedError, UnavailableError

ODD = "A/B#1 ?%+\\'ü"


class Counting:
    """A Service Layer that passes reads on, counts them, and may hold them at a gate."""

    def __init__(self, inner: HttpServiceLayer) -> None:
        self.inner = inner
        self.batches: list[list[str]] = []
        self.posts = 0
        self.gate: asyncio.Event | None = None

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        self.batches.append(list(paths))
        if self.gate is not None:
            await self.gate.wait()
        return await self.inner.read(paths)

    async def post(self, path: str, body: Mapping[str, Any]) -> B1Answer:
        self.posts += 1
        return await self.inner.post(path, body)

    async def change_set(self, requests: Sequence[B1Request]) -> list[B1Answer]:
        raise AssertionError

    async def ping(self) -> bool:
        return True

    async def close(self) -> None: ...


@pytest.fixture
def counting(service_layer: HttpServiceLayer) -> Counting:
    return Counting(service_layer)


@pytest.fixture
def cache(counting: Counting, clock: Any) -> MasterDataCache:
    return MasterDataCache(counting, clock)


async def test_everything_is_asked_in_one_batch(cache: MasterDataCache, counting: Counting) -> None:
    data = await cache.get(
        Codes(
            items=frozenset({"A1", ODD, "NONE"}),
            warehouses=frozenset({"LON1", "X"}),
            tax_codes=frozenset({"O1"}),
            cards=frozenset({"C-WEB"}),
            emails=frozenset({"Web@Example.com", "nobody@example.com"}),
        )
    )
    assert data.items.keys() == {"A1", ODD}
    assert data.items["A1"].active_on(date(2026, 11, 2))
    assert data.warehouses.keys() == {"LON1"}
    assert data.tax_codes["O1"].active
    assert data.cards["C-WEB"].customer
    assert [card.code for card in data.cards_by_email["web@example.com"]] == ["C-WEB"]
    assert "nobody@example.com" not in data.cards_by_email
    assert data.quantity_decimals == 6
    assert len(counting.batches) == 1


async def test_twenty_codes_go_into_one_query(cache: MasterDataCache, counting: Counting) -> None:
    await cache.get(Codes(items=frozenset(f"I{number}" for number in range(45))))
    assert [len(batch) for batch in counting.batches] == [3]
    assert max(path.count("ItemCode eq") for path in counting.batches[0]) == 20


async def test_an_answer_is_believed_for_five_minutes_and_a_miss_for_half_of_one(
    cache: MasterDataCache, counting: Counting, clock: Any, company: Any
) -> None:
    there, gone = Codes(items=frozenset({"A1"})), Codes(items=frozenset({"NEW"}))
    await cache.get(there)
    await cache.get(gone)
    await cache.get(there | gone)
    assert len(counting.batches) == 2
    company.load({"Items": [{"ItemCode": "NEW"}]})
    clock.seconds = 30
    assert "NEW" in (await cache.get(there | gone)).items
    assert "A1" not in counting.batches[-1][0]
    clock.seconds = 300
    await cache.get(there)
    assert len(counting.batches) == 4
    assert counting.posts == 2


async def test_many_who_want_the_same_ask_once(cache: MasterDataCache, counting: Counting) -> None:
    counting.gate = asyncio.Event()
    wanted = [cache.get(Codes(items=frozenset({"A1"}))) for _ in range(10)]
    wanted.append(cache.get(Codes(items=frozenset({"A1", ODD}))))
    tasks = [asyncio.create_task(one) for one in wanted]
    await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.sleep(0)
    counting.gate.set()
    results = await asyncio.gather(*tasks[1:])
    assert all("A1" in data.items for data in results)
    assert [len(batch) for batch in counting.batches] == [1]  # one query: whoever asks in the same turn asks together
    assert counting.posts == 1


async def test_what_is_forgotten_is_asked_again_also_while_it_is_being_asked(
    cache: MasterDataCache, counting: Counting, company: Any
) -> None:
    codes = Codes(items=frozenset({"A1"}))
    counting.gate = asyncio.Event()
    first = asyncio.create_task(cache.get(codes))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await cache.forget(codes)
    counting.gate.set()
    await first
    company.load({"Items": [{"ItemCode": "A1", "Frozen": "tYES"}]})
    assert (await cache.get(codes)).items["A1"].frozen
    assert len(counting.batches) == 2


async def test_a_failure_reaches_all_who_wait_and_is_not_remembered(
    cache: MasterDataCache, counting: Counting, simulator: Any
) -> None:
    codes = Codes(items=frozenset({"A1"}))
    simulator.server.faults.outage = "html_503"
    results = await asyncio.gather(*(cache.get(codes) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
    simulator.server.faults.outage = None
    assert "A1" in (await cache.get(codes)).items


async def test_sales_tax_codes_are_asked_where_the_localisation_has_them(
    counting: Counting, clock: Any, company: Any
) -> None:
    company.load({"SalesTaxCodes": [{"Code": "NY", "Name": "NY", "Rate": "8.875"}]})
    cache = MasterDataCache(counting, clock, tax_field="TaxCode")
    data = await cache.get(Codes(tax_codes=frozenset({"NY", "O1"})))
    assert data.tax_codes.keys() == {"NY"}
    assert data.tax_codes["NY"].active


async def test_what_is_too_long_for_a_code_is_not_asked_for(counting: Counting, clock: Any) -> None:
    long = "A" * 100_000
    data = await MasterDataCache(counting, clock).get(Codes(items=frozenset({"A1", long})))
    assert data.items.keys() == {"A1"}
    assert not any(long in path for paths in counting.batches for path in paths)


async def test_items_carry_what_the_documents_ask(cache: MasterDataCache, company: Any) -> None:
    company.load(
        {
            "Items": [
                {"ItemCode": "B", "ManageBatchNumbers": "tYES", "SalesItemsPerUnit": "12"},
                {"ItemCode": "S", "ManageSerialNumbers": "tYES", "InventoryItem": "tNO", "SalesItem": "tNO"},
                {"ItemCode": "V", "ValidFrom": "2026-01-01", "ValidTo": "2026-01-31"},
                {
                    "ItemCode": "F",
                    "Valid": "tNO",
                    "Frozen": "tYES",
                    "FrozenFrom": "2026-01-01",
                    "FrozenTo": "2026-01-31",
                },
            ]
        }
    )
    items = (await cache.get(Codes(items=frozenset("BSVF")))).items
    assert (items["B"].batch_managed, items["B"].sales_factor) == (True, Decimal(12))
    assert (items["S"].serial_managed, items["S"].inventory_item, items["S"].sales_item) == (True, False, False)
    assert [items["V"].active_on(date(2026, month, 15)) for month in (1, 2)] == [True, False]
    assert [items["F"].active_on(date(2026, month, 15)) for month in (1, 2)] == [False, True]


async def test_no_value_that_was_asked_for_stands_in_a_url(cache: MasterDataCache, transport: Any) -> None:
    await cache.get(Codes(emails=frozenset({"canary@example.com"})))
    assert not any("canary" in str(request.url) for request in transport.requests)


class Refusing(Counting):
    """Refuses each query that names one of these, with this status; a batch ends with it."""

    def __init__(self, inner: HttpServiceLayer, status: int, *marks: str) -> None:
        super().__init__(inner)
        self.status, self.marks = status, marks

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        self.batches.append(list(paths))
        no = B1Answer(self.status, {"error": {"code": "201", "message": "Query string error"}})
        return [
            no if any(mark in path for mark in self.marks) else (await self.inner.read([path]))[0] for path in paths
        ]


async def test_a_code_that_b1_refuses_to_be_asked_for_is_found_and_stops_nobody_else(
    service_layer: HttpServiceLayer, clock: Any
) -> None:
    """Row 2 of the finds of the field."""
    b1 = Refusing(service_layer, 400, "BAD1", "BAD2")
    cache = MasterDataCache(b1, clock)
    asked = [Codes(items=frozenset({f"N{n}", "A1"})) for n in range(18)]
    wrong = [Codes(items=frozenset({"A1", bad}), warehouses=frozenset({"LON1"})) for bad in ("BAD1", "BAD2")]
    answers = await asyncio.gather(*(cache.get(codes) for codes in (*asked, *wrong)), return_exceptions=True)
    for answer in answers[:18]:
        assert not isinstance(answer, BaseException)
        assert "A1" in answer.items
    for answer, bad in zip(answers[18:], ("BAD1", "BAD2"), strict=True):
        assert isinstance(answer, Refusal)
        assert (answer.reason, bad in answer.error) == ("erp_refused", True)
    assert len(b1.batches) <= 24
    before = len(b1.batches)
    with pytest.raises(Refusal):
        await cache.get(wrong[0])
    assert len(b1.batches) == before


async def test_what_we_may_not_read_is_not_asked_for_code_by_code(service_layer: HttpServiceLayer, clock: Any) -> None:
    b1 = Refusing(service_layer, 403, "Items?")
    cache = MasterDataCache(b1, clock)
    codes = Codes(items=frozenset({f"N{n}" for n in range(20)}))
    for _ in range(2):
        with pytest.raises(QueryRefusedError) as refused:
            await cache.get(codes)
        assert refused.value.reason == "not_permitted"
    assert len(b1.batches) <= 2


async def test_asked_alone_nobody_elses_code_is_in_the_query(cache: MasterDataCache, counting: Counting) -> None:
    together, alone = Codes(items=frozenset({"A1"})), Codes(items=frozenset({"NONE"}))
    await asyncio.gather(cache.get(together), cache.get(alone, alone=True))
    asked = [path for batch in counting.batches for path in batch if path.startswith("Items")]
    assert len(asked) == 2
    assert not any("A1" in path and "NONE" in path for path in asked)
