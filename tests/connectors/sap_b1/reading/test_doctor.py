"""What the doctor says of a B1 that is read."""

from connectors.base.doctor import Finding
from connectors.sap_b1.reading import doctor
from tests.connectors.sap_b1.reading.stage import B1, settings_of


async def findings_of(b1: B1, **table: object) -> dict[str, Finding]:
    settings = settings_of(**table)
    return {each.name: each for each in await doctor.examine("b1", settings, frozenset(), b1.clock, transport=b1.wire)}


async def test_it_says_what_a_sweep_costs_and_what_only_sweeps_see() -> None:
    found = await findings_of(B1(items=45), price_lists=[1])
    assert all(each.ok for each in found.values())
    assert "a sweep of 45 takes 2 calls" in found["items"].detail
    assert "Returns" in found["movements"].detail, "the simulator has none"
    assert found["changes"].detail == "may be asked for by date and time"


async def test_a_release_field_and_a_price_list_that_b1_lacks_are_findings() -> None:
    b1 = B1()
    b1.order()
    found = await findings_of(b1, price_lists=[1, 7], release={"user_field": "U_NONE"})
    assert found["items"].ok is False
    assert "no price list 7" in found["items"].detail
    assert found["orders"].ok is not True
    assert "U_NONE" in found["orders"].detail


async def test_nothing_is_written_and_no_session_stays() -> None:
    b1 = B1()
    before = b1.company.ledger()
    await findings_of(b1)
    after = b1.company.ledger()
    assert {**before, "counters": 0} == {**after, "counters": 0}
    assert not b1.app.server.sessions
