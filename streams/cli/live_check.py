"""What Kafka and every company's B1 have to say against a configuration. Reads only."""

import asyncio
from collections.abc import Iterator

from connectors.base.clock import SystemClock
from connectors.base.errors import ConnectorError, LogError
from connectors.sap_b1.master import Codes, MasterData
from connectors.sap_b1.master_data import MasterDataCache
from connectors.sap_b1.service_layer import ServiceLayer
from connectors.sap_b1.settings import CompanySettings
from streams.cli import shell
from streams.config.load import Config
from streams.config.problems import ConfigProblem
from streams.kafka import topics
from streams.kafka.log import Log


async def check_live(config: Config) -> list[ConfigProblem]:
    """What Kafka and every company's B1 have to say against the configuration."""
    asked = [_ask_kafka(config), *(_ask_company(name, company) for name, company in config.companies.items())]
    return [problem for problems in await asyncio.gather(*asked) for problem in problems]


async def _ask_kafka(config: Config) -> list[ConfigProblem]:
    try:
        async with shell.open_log(config) as log:
            return await topic_problems(log, config)
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
    return list(_lacking(f"companies.{name}", company, data))


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
