from dataclasses import replace
from typing import Any

import pytest

from connectors.base.errors import FatalError
from connectors.sap_b1 import claims, doctor
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.doctor import Diagnosis
from connectors.sap_b1.service_layer import B1Answer, UnavailableError
from connectors.sap_b1.settings import CompanySettings
from lab.simulators.sap_b1.faults import FaultKind, FaultPlan
from lab.simulators.sap_b1.state.company import Company


@pytest.fixture
def settings() -> CompanySettings:
    return CompanySettings.model_validate(
        {
            "service_layer_url": "https://b1.example:50000/b1s/v2",
            "company_db": "SBO_ACME",
            "username": "streams",
            "password": "env:B1",
            "timezone": "Europe/London",
            "currency": "GBP",
            "customers": {"card_code": "C-WEB"},
            "tax": {"default": "O1"},
            "freight": {"expense_code": 1},
            "warehouses": {"LON1": {"owner": "warehouse", "location": "MAIN"}},
        },
        context={"environ": {"B1": "right"}},
    )


def bad(diagnosis: Diagnosis) -> dict[str, str]:
    return {finding.name: finding.detail for finding in diagnosis.findings if not finding.ok}


@pytest.fixture
def bare(simulator: Any, clock: Any, company: Company) -> Company:
    """A company that has never seen us."""
    fresh = Company("SBO_ACME", clock=clock.now)
    simulator.server.companies = {"SBO_ACME": fresh}
    return fresh


async def test_a_company_that_is_ready_has_nothing_to_mend(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, company: Company
) -> None:
    diagnosis = await doctor.run(service_layer, settings, install=False, clock=clock)
    assert bad(diagnosis) == {}
    assert (diagnosis.ok, diagnosis.tier) == (True, "claim")
    assert [finding.name for finding in diagnosis.findings] == [
        "reachable",
        "login",
        "claim_table",
        "second_claim_refused",
        "failed_set_leaves_no_claim",
        "claim_cost",
        "indexes",
        "totals_as_sent",
        "tier",
    ]
    ledger = company.ledger()
    assert [(row["Code"], row["U_STATE"]) for row in ledger["claims"]] == [("tier", "claim")]
    assert (ledger["documents"], ledger["drafts"]) == ([], [])


async def test_a_company_without_the_table_is_below_its_tier_until_it_is_installed(
    bare: Company, service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any
) -> None:
    diagnosis = await doctor.run(service_layer, settings, install=False, clock=clock)
    assert diagnosis.tier is None
    assert {"claim_table", "tier"} <= bad(diagnosis).keys()
    assert "@STREAMS_CLAIM" in bad(diagnosis)["claim_table"]
    diagnosis = await doctor.run(service_layer, settings, install=True, clock=clock)
    assert diagnosis.tier == "claim"
    assert next(f.detail for f in diagnosis.findings if f.name == "claim_table").startswith("made: @STREAMS_CLAIM")


async def test_every_finding_that_is_bad_says_what_mends_it(
    bare: Company, service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any
) -> None:
    diagnosis = await doctor.run(service_layer, settings, install=False, clock=clock)
    assert all(bool(finding.remedy) != finding.ok for finding in diagnosis.findings)


async def test_a_b1_that_makes_its_own_totals_is_found_out(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any
) -> None:
    class Own(HttpServiceLayer):
        def __init__(self) -> None:
            self.read, self.change_set, self.ping = service_layer.read, service_layer.change_set, service_layer.ping  # type: ignore[method-assign]

        async def post(self, path: str, body: Any) -> B1Answer:
            answer = await service_layer.post(path, body)
            assert answer.body is not None
            return replace(answer, body={**answer.body, "DocTotal": 99})

    diagnosis = await doctor.run(Own(), settings, install=False, clock=clock)
    assert bad(diagnosis) == {"totals_as_sent": "B1 made 99 of 36.60"}
    assert diagnosis.tier == "claim"


async def test_a_customer_who_is_missing_is_said(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any
) -> None:
    other = settings.model_copy(update={"customers": settings.customers.model_copy(update={"card_code": "NOBODY"})})
    assert (
        "no such customer" in bad(await doctor.run(service_layer, other, install=False, clock=clock))["totals_as_sent"]
    )


@pytest.mark.parametrize("error", [UnavailableError("B1 is gone"), FatalError("wrong password")])
async def test_a_b1_that_does_not_let_us_in_is_a_finding(
    settings: CompanySettings, clock: Any, error: Exception
) -> None:
    class Shut:
        async def ping(self) -> bool:
            return True

        async def read(self, paths: list[str]) -> list[B1Answer]:
            raise error

    diagnosis = await doctor.run(Shut(), settings, install=True, clock=clock)  # type: ignore[arg-type]
    assert bad(diagnosis)["login"] == str(error)
    assert diagnosis.tier is None
    found = {finding.name: finding for finding in diagnosis.findings}
    assert found["login"].ok is (None if isinstance(error, UnavailableError) else False)
    assert found["tier"].ok is None
    assert "twice" not in "".join(f"{finding.detail}{finding.remedy}" for finding in diagnosis.findings)


@pytest.mark.parametrize(
    "fault",
    [
        {
            "kind": FaultKind.ERROR,
            "method": "POST",
            "path": "U_STREAMS_CLAIM",
            "status": 429,
            "code": -1,
            "text": "busy",
        },
        {
            "kind": FaultKind.ERROR,
            "method": "POST",
            "path": "Orders",
            "status": 400,
            "code": -2038,
            "text": "Internal error (-2038) occurred",
        },
    ],
)
async def test_a_proof_that_b1_was_too_busy_for_is_no_finding_against_it(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, faults: FaultPlan, fault: dict[str, Any]
) -> None:
    faults.script(**fault, times=100)
    diagnosis = await doctor.run(service_layer, settings, install=False, clock=clock)
    found = {finding.name: finding.ok for finding in diagnosis.findings}
    assert (found["second_claim_refused"], found["tier"], diagnosis.ok) == (None, None, False)


async def test_lost_answers_do_not_keep_the_doctor_from_installing_and_proving(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, bare: Company, faults: FaultPlan
) -> None:
    """Each write whose answer is lost is sent again, as all of them may be."""
    bare.load(
        {
            "BusinessPartners": [{"CardCode": "C-WEB", "CardName": "Web", "CardType": "cCustomer"}],
            "Warehouses": [{"WarehouseCode": "LON1", "WarehouseName": "London"}],
            "VatGroups": [{"Code": "O1", "Name": "20 %", "Rate": "20"}],
            "Items": [{"ItemCode": "A1", "ItemName": "Red"}],
            "AdditionalExpenses": [{"ExpensCode": 1, "Name": "Freight"}],
        }
    )
    faults.rate(FaultKind.LOST_AFTER, 0.4)
    diagnosis = await doctor.run(service_layer, settings, install=True, clock=clock)
    assert bad(diagnosis) == {}
    assert diagnosis.tier == "claim"
    assert faults.injected["lost_reply_after_commit"] > 4
    assert [row["Code"] for row in bare.ledger()["claims"]] == ["tier"]


@pytest.mark.parametrize(
    ("rules", "given"),
    [
        ({}, "claim"),
        ({"guard": True}, "claim"),
        ({"atomic_change_sets": False, "guard": True}, "guard"),
        ({"atomic_change_sets": False}, "lookup"),
    ],
)
@pytest.mark.parametrize("configured", claims.TIERS)
async def test_the_tier_that_an_installation_gives_is_proven_kept_in_b1_and_compared_with_the_configured_one(
    service_layer: HttpServiceLayer,
    settings: CompanySettings,
    clock: Any,
    company: Company,
    rules: dict[str, bool],
    given: str,
    configured: str,
) -> None:
    company.load({"rules": rules})
    asked = settings.model_copy(update={"idempotency": configured})
    diagnosis = await doctor.run(service_layer, asked, install=False, clock=clock)
    enough = claims.TIERS.index(given) <= claims.TIERS.index(configured)
    assert (diagnosis.tier, diagnosis.ok) == (given, enough), bad(diagnosis)
    found = {finding.name: finding for finding in diagnosis.findings}
    assert found["tier"].detail == f"{given}, configured is {configured}"
    assert f'"{given}"' in found["tier"].remedy or enough
    assert await claims.proven_tier(service_layer) == given
    ledger = company.ledger()
    assert (len(ledger["claims"]), ledger["documents"], ledger["drafts"]) == (1, [], [])


async def test_a_guard_that_is_configured_and_missing_says_what_to_do(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, company: Company
) -> None:
    company.load({"rules": {"atomic_change_sets": False}})
    asked = settings.model_copy(update={"idempotency": "guard"})
    diagnosis = await doctor.run(service_layer, asked, install=False, clock=clock)
    assert bad(diagnosis).keys() == {"guard", "tier"}
    assert "docs/guard-procedure.md" in next(one.remedy for one in diagnosis.findings if one.name == "guard")
    assert company.ledger()["drafts"] == []
    assert "B1 made the draft" in next(one.detail for one in diagnosis.findings if one.name == "guard")


async def test_the_proven_tier_follows_the_last_examination(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, company: Company
) -> None:
    assert await claims.proven_tier(service_layer) is None
    await doctor.run(service_layer, settings, install=False, clock=clock)
    company.load({"rules": {"atomic_change_sets": False}})
    await doctor.run(service_layer, settings, install=False, clock=clock)
    assert await claims.proven_tier(service_layer) == "lookup"


async def test_a_draft_whose_answer_is_lost_is_thrown_away(
    service_layer: HttpServiceLayer, settings: CompanySettings, clock: Any, company: Company, faults: FaultPlan
) -> None:
    company.load({"rules": {"atomic_change_sets": False}})
    faults.script(FaultKind.LOST_AFTER, path="Drafts", method="POST", times=2)
    await doctor.run(service_layer, settings, install=False, clock=clock)
    assert (faults.scripts_left, company.ledger()["drafts"]) == (0, [])
