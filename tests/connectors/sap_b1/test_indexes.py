"""What a look-up by our user fields costs, and the keys that make it a seek."""

from dataclasses import replace
from typing import Any

from connectors.sap_b1 import indexes
from connectors.sap_b1.client import HttpServiceLayer
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.state.company import Company
from tests.connectors.sap_b1.conftest import ManualClock


class SlowClock(ManualClock):
    """A second goes by between two looks at it."""

    def monotonic(self) -> float:
        self.seconds += 1
        return self.seconds


async def test_install_makes_a_key_for_each_of_our_fields_once(
    service_layer: HttpServiceLayer, clock: Any, company: Company
) -> None:
    assert len(await indexes.missing_keys(service_layer)) == 8
    finding = await indexes.examine(service_layer, clock, install=True)
    assert finding.ok
    assert "keys on our user fields are there" in finding.detail
    keys = company.rows("UserKeysMD").values()
    assert {(key["TableName"], key["UserKeysMD_Elements"][0]["ColumnAlias"]) for key in keys} == {
        (table, column) for table in ("ORDR", "ODLN", "OINV", "ORIN") for column in ("STREAMS_KEY", "STREAMS_ORDER")
    }
    assert {key["Unique"] for key in keys} == {"tNO"}
    await indexes.examine(service_layer, clock, install=True)
    assert len(company.rows("UserKeysMD")) == 8


async def test_without_keys_a_quick_look_up_is_told_with_its_time(service_layer: HttpServiceLayer, clock: Any) -> None:
    finding = await indexes.examine(service_layer, clock, install=False)
    assert finding.ok
    assert "no key on ORDR.U_STREAMS_KEY" in finding.detail
    assert "a look-up of one order takes" in finding.detail
    assert "over 0 documents" in finding.detail


async def test_a_slow_look_up_without_keys_is_a_finding_that_says_what_mends_it(
    service_layer: HttpServiceLayer, company: Company
) -> None:
    clock = SlowClock()
    finding = await indexes.examine(service_layer, clock, install=False)
    assert (finding.ok, "--install" in finding.remedy) == (False, True)
    company.rules = replace(company.rules, keys_on_documents=False)
    finding = await indexes.examine(service_layer, clock, install=True)
    assert (finding.ok, "administrator" in finding.remedy) == (False, True)
    assert "B1 refuses one: ORDR.U_STREAMS_KEY" in finding.detail
    assert not company.rows("UserKeysMD")


async def test_a_b1_that_does_not_list_its_keys_could_not_be_asked(
    service_layer: HttpServiceLayer, clock: Any, faults: FaultPlan
) -> None:
    faults.script("error", method="GET", path="UserKeysMD", times=9, status=403, code=-6006, text="not permitted")
    finding = await indexes.examine(service_layer, clock, install=False)
    assert (finding.name, finding.ok) == ("indexes", None)
