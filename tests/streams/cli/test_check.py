import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from connectors.base.clock import SystemClock
from connectors.sap_b1.service_layer import B1Answer, UnavailableError
from connectors.sap_b1.settings import CompanySettings
from streams.chain.known_logs import KnownLogs
from streams.cli import shell
from streams.faust_host.watermarks import encode_counts
from streams.posting.foreign import queue_of
from tests.streams.cli.conftest import Streams
from tests.streams.facts import World


class MasterDataOnly:
    """A Service Layer that lists what it was given, by entity."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {
            "Warehouses": [{"WarehouseCode": "LON1", "Inactive": "tNO"}],
            "VatGroups": [{"Code": code, "Inactive": "tNO", "VatGroups_Lines": []} for code in ("O1", "O0")],
            "BusinessPartners": [
                {"CardCode": "C-WEB", "CardType": "cCustomer", "Valid": "tYES", "Frozen": "tNO", "EmailAddress": None}
            ],
            "Items": [{"ItemCode": "TS001-R", "Valid": "tYES", "Frozen": "tNO"}],
            "AdditionalExpenses": [{"ExpensCode": 1}, {"ExpensCode": 2}],
            "ShippingTypes": [{"Code": 3}],
            "ChartOfAccounts": [{"Code": code, "ActiveAccount": "tYES"} for code in ("4000", "4900", "5100")],
        }
        self.currency = "GBP"
        self.away = False

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        if self.away:
            raise UnavailableError("B1 does not answer")
        return [B1Answer(200, {"value": self.rows[path.partition("?")[0]]}) for path in paths]

    async def post(self, path: str, _body: Any) -> B1Answer:
        assert path == "CompanyService_GetAdminInfo"
        return B1Answer(200, {"LocalCurrency": self.currency})


@pytest.fixture
def b1(monkeypatch: pytest.MonkeyPatch) -> MasterDataOnly:
    b1 = MasterDataOnly()

    @asynccontextmanager
    async def open_service_layer(_settings: CompanySettings) -> AsyncIterator[Any]:
        yield b1

    monkeypatch.setattr(shell, "open_service_layer", open_service_layer)
    return b1


def test_a_good_configuration_is_exit_0_and_says_its_version(streams: Streams) -> None:
    ran = streams("check")
    assert (ran.code, ran.err) == (0, "")
    assert "1 companies, 2 connectors" in ran.out
    told = streams("check", "--json").data
    assert told["ok"] is True
    assert len(told["config_version"]) == 12


def test_faults_are_listed_for_machines_too(streams: Streams, folder: Path) -> None:
    text = (folder / "streams.toml").read_text().replace('"Europe/London"', '"London"')
    (folder / "streams.toml").write_text(text)
    ran = streams("check", "--json")
    assert ran.code == 2
    assert {fault["path"] for fault in ran.data["faults"]} == {
        "companies.acme.timezone",
        "connectors.warehouse.csv.adjustments.timezone",
    }
    assert all(fault["remedy"] for fault in ran.data["faults"])


def test_live_agrees_when_kafka_and_b1_have_what_is_named(streams: Streams, world: World, b1: MasterDataOnly) -> None:
    ran = streams("check", "--live", "--json")
    assert (ran.code, ran.data["faults"]) == (0, [])


def test_live_names_everything_that_b1_lacks(streams: Streams, world: World, b1: MasterDataOnly) -> None:
    b1.rows["Warehouses"][0]["Inactive"] = "tYES"
    b1.rows["VatGroups"] = b1.rows["VatGroups"][:1]
    b1.rows["BusinessPartners"][0]["CardType"] = "cSupplier"
    b1.rows["Items"] = []
    ran = streams("check", "--live", "--json")
    assert ran.code == 1
    assert {fault["path"]: fault["message"] for fault in ran.data["faults"]} == {
        "companies.acme.warehouses.LON1": "is inactive in B1",
        "companies.acme.tax.codes.'GB-0'": "B1 has no VatGroup O0",
        "companies.acme.customers.card_code": "is no customer in B1",
        "companies.acme.items.'TSHIRT-RED'": "B1 has no item TS001-R",
    }
    b1.rows["Warehouses"], b1.rows["BusinessPartners"] = [], []
    ran = streams("check", "--live")
    assert ran.code == 1
    assert "no such warehouse" in ran.out
    assert "no such business partner" in ran.out


def test_live_names_every_code_that_only_a_document_would_meet(
    streams: Streams, world: World, b1: MasterDataOnly
) -> None:
    b1.rows |= {"AdditionalExpenses": [{"ExpensCode": 1}], "ShippingTypes": []}
    b1.rows["ChartOfAccounts"] = [{"Code": "4900", "ActiveAccount": "tNO"}, {"Code": "5100", "ActiveAccount": "tYES"}]
    b1.currency = "EUR"
    ran = streams("check", "--live", "--json")
    assert ran.code == 1
    at, accounts = "companies.acme", "companies.acme.warehouses.LON1.gl_account"
    assert {fault["path"]: fault["message"] for fault in ran.data["faults"]} == {
        f"{at}.refunds.adjustment_expense_code": "B1 has no additional expense 2",
        f"{at}.refunds.adjustment_account": "B1 has no G/L account 4000",
        f"{at}.shipping_types.'dpd/next-day'": "B1 has no shipping type 3",
        f"{accounts}.found": "G/L account 4900 takes no postings in B1",
        f"{accounts}.count": "G/L account 4900 takes no postings in B1",
        f"{at}.currency": "B1 keeps its books in EUR, not in GBP",
    }
    assert all(fault["remedy"] for fault in ran.data["faults"])


def test_live_says_what_a_start_would_say(streams: Streams, world: World, b1: MasterDataOnly) -> None:
    config, log, place = world.config, world.log, ("order-placed", 0)

    async def past() -> None:
        await log.send(config.topic("connector-cursors"), 0, b'["old-shop"]', b"a cursor")
        await world.queued("order_placed", "order-placed", 0)
        log.commit(config.group, config.topic("erp-orders"), 0, 0, encode_counts(queue_of("globex")))
        log.commit(config.group, config.topic("erp-orders"), 1, 0, encode_counts(queue_of("initech")))
        await log.send(config.topic("erp-orders"), 1, b"initech", b"a posting")
        await KnownLogs(log, world.codec, config, SystemClock()).examine([place])

    asyncio.run(past())
    log.make_anew(config.topic("order-placed"))
    ran = streams("check", "--live", "--json")
    assert ran.code == 1
    faults = {fault["path"]: fault["message"] for fault in ran.data["faults"]}
    assert "streams connect retire old-shop" in faults["connectors.old-shop"]
    assert "'globex' still owes" in faults["companies.acme.partition"]
    assert "holds 1 postings of initech" in faults["companies.initech"]
    assert "the topic was made anew" in faults["topic order-placed/0"]
    assert len(faults) == 4


def test_live_tells_of_kafka_and_b1_side_by_side(streams: Streams, world: World, b1: MasterDataOnly) -> None:
    world.log.away, b1.away = "could not connect", True
    ran = streams("check", "--live", "--json")
    assert ran.code == 1
    assert {fault["path"] for fault in ran.data["faults"]} == {
        "kafka.bootstrap_servers",
        "companies.acme.service_layer_url",
    }
