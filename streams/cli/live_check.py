"""What Kafka and every company's B1 have to say against a configuration. Reads only."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from connectors.base.clock import SystemClock
from connectors.base.errors import ConnectorError, LogError
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import ServiceLayer, quote_literal, read_rows
from connectors.sap_b1.settings import CompanySettings
from streams.cli import shell
from streams.cli.live_start import start_problems
from streams.config.load import Config
from streams.config.problems import ConfigProblem
from streams.kafka import topics
from streams.kafka.log import Log

#: A page of answers is 20 rows as well.
_CODES_PER_QUERY = 20


async def check_live(config: Config) -> list[ConfigProblem]:
    """What Kafka and every company's B1 have to say against the configuration."""
    asked = [_ask_kafka(config), *(_ask_company(name, company) for name, company in config.companies.items())]
    return [problem for problems in await asyncio.gather(*asked) for problem in problems]


async def _ask_kafka(config: Config) -> list[ConfigProblem]:
    try:
        async with shell.open_log(config) as log:
            # Where topics are not as they must be, what lies in them cannot be looked at
            return await topic_problems(log, config) or await start_problems(log, config)
    except LogError as error:
        return [
            ConfigProblem(
                "kafka.bootstrap_servers", str(error), "see that the broker runs there, and the security settings"
            )
        ]


async def topic_problems(log: Log, config: Config) -> list[ConfigProblem]:
    return [
        ConfigProblem(f"topic {each.topic}", f"{each.setting} is {each.found}, must be {each.expected}", each.remedy)
        for each in await topics.check(log, config)
    ]


async def _ask_company(name: str, company: CompanySettings) -> list[ConfigProblem]:
    try:
        async with shell.open_service_layer(company) as service_layer:
            return await company_problems(service_layer, name, company)
    except ConnectorError as error:
        return [
            ConfigProblem(f"companies.{name}.service_layer_url", str(error), "fix that; streams doctor looks closer")
        ]


async def company_problems(service_layer: ServiceLayer, name: str, company: CompanySettings) -> list[ConfigProblem]:
    """What the company's master data lacks of what the configuration names.

    Raises:
        ConnectorError: B1 cannot be asked.
    """
    tax, customers = company.tax, company.customers
    codes = Codes(
        items=frozenset(company.items.values()),
        warehouses=frozenset(company.warehouses),
        tax_codes=frozenset({*tax.codes.values(), *([tax.default] if tax.default else [])}),
        cards=frozenset([customers.card_code] if customers.card_code else []),
    )
    data = await MasterDataCache(service_layer, SystemClock(), tax_field=tax.field).get(codes)
    at = f"companies.{name}"
    return [
        *_lacking(at, company, data),
        *await _unknown_codes(service_layer, at, company),
        *await _other_currency(service_layer, at, company),
    ]


@dataclass(frozen=True, slots=True)
class _CodeList:
    """Codes of the configuration, by their path, that must be keys of one of B1's lists."""

    entity: str
    key: str
    what: str
    named: Mapping[str, int | str]
    also: str = ""  # a property that must be tYES

    @property
    def paths(self) -> list[str]:
        is_text = any(isinstance(code, str) for code in self.named.values())
        codes = sorted({quote_literal(str(code)) if is_text else str(code) for code in self.named.values()})
        selected = ",".join(filter(None, (self.key, self.also)))
        chunks = [codes[start : start + _CODES_PER_QUERY] for start in range(0, len(codes), _CODES_PER_QUERY)]
        asked = [" or ".join(f"{self.key} eq {code}" for code in chunk) for chunk in chunks]
        return [f"{self.entity}?$select={selected}&$filter={each}" for each in asked]


def _code_lists(at: str, company: CompanySettings) -> list[_CodeList]:
    freight = {
        f"{at}.freight.expense_code": company.freight.expense_code,
        f"{at}.refunds.adjustment_expense_code": company.refunds.adjustment_expense_code,
    }
    accounts = {
        f"{at}.warehouses.{code}.gl_account.{reason}": account
        for code, warehouse in company.warehouses.items()
        for reason, account in warehouse.gl_account.items()
    }
    if company.refunds.adjustment_account:
        accounts[f"{at}.refunds.adjustment_account"] = company.refunds.adjustment_account
    carriers = {f"{at}.shipping_types.{name!r}": code for name, code in company.shipping_types.items()}
    lists = [
        _CodeList("AdditionalExpenses", "ExpensCode", "additional expense", _given(freight)),
        _CodeList("ShippingTypes", "Code", "shipping type", carriers),
        _CodeList("ChartOfAccounts", "Code", "G/L account", accounts, "ActiveAccount"),
    ]
    return [each for each in lists if each.named]


def _given(named: Mapping[str, int | None]) -> dict[str, int | str]:
    return {path: code for path, code in named.items() if code is not None}


async def _unknown_codes(service_layer: ServiceLayer, at: str, company: CompanySettings) -> list[ConfigProblem]:
    problems: list[ConfigProblem] = []
    for each in _code_lists(at, company):
        pages = await read_rows(service_layer, each.paths)
        found = {str(row.get(each.key)): row for rows in pages for row in rows}
        for path, code in each.named.items():
            row = found.get(str(code))
            if row is None:
                remedy = f"define it in B1, or fix the code ({each.entity}.{each.key})"
                problems.append(ConfigProblem(path, f"B1 has no {each.what} {code}", remedy))
            elif each.also and row.get(each.also) != "tYES":
                problems.append(
                    ConfigProblem(path, f"{each.what} {code} takes no postings in B1", "name an active one")
                )
    return problems


async def _other_currency(service_layer: ServiceLayer, at: str, company: CompanySettings) -> list[ConfigProblem]:
    answer = await service_layer.post("CompanyService_GetAdminInfo", {})
    local = (answer.body or {}).get("LocalCurrency") if answer.ok else None
    if not isinstance(local, str) or local == company.currency:
        return []
    return [
        ConfigProblem(f"{at}.currency", f"B1 keeps its books in {local}, not in {company.currency}", f"write {local}")
    ]


def _lacking(at: str, company: CompanySettings, data: MasterData) -> Iterator[ConfigProblem]:
    for code in company.warehouses:
        warehouse = data.warehouses.get(code)
        if warehouse is None:
            yield ConfigProblem(
                f"{at}.warehouses.{code}", "B1 has no such warehouse", "make it in B1 first, or fix the code"
            )
        elif not warehouse.active:
            yield ConfigProblem(f"{at}.warehouses.{code}", "is inactive in B1", "activate it, or take it out")
    named = {f"{at}.tax.codes.{theirs!r}": ours for theirs, ours in company.tax.codes.items()}
    if company.tax.default:
        named[f"{at}.tax.default"] = company.tax.default
    for path, code in named.items():
        tax_code = data.tax_codes.get(code)
        if tax_code is None:
            yield ConfigProblem(
                path, f"B1 has no {company.tax.field} {code}", "define it in B1, or fix the code or tax.field"
            )
        elif not tax_code.active:
            yield ConfigProblem(path, f"{company.tax.field} {code} is inactive in B1", "activate it, or map another")
    card_code = company.customers.card_code
    if card_code:
        card = data.cards.get(card_code)
        path = f"{at}.customers.card_code"
        if card is None:
            yield ConfigProblem(path, "B1 has no such business partner", "make it in B1, or fix the code")
        elif not card.customer:
            yield ConfigProblem(path, "is no customer in B1", "name one of type Customer")
        elif not card.active:
            yield ConfigProblem(path, "is inactive in B1", "activate it, or name another")
    for sku, code in company.items.items():
        if code not in data.items:
            yield ConfigProblem(f"{at}.items.{sku!r}", f"B1 has no item {code}", "make it in B1, or fix the ItemCode")
