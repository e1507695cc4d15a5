"""The client against the simulated Service Layer: the ERP's faults of the matrix (F10-F19)."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from connectors.base.errors import FatalError
from connectors.base.settings import Secret
from connectors.sap_b1.change_set import B1Request
from connectors.sap_b1.claims import Claim
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import NotSentError, UnavailableError, quote_literal, read_rows
from connectors.sap_b1.sink import B1Sink, Written
from lab.simulators.sap_b1.app import ServiceLayerApp
from lab.simulators.sap_b1.faults import FaultKind, FaultPlan
from lab.simulators.sap_b1.state.company import Company

K = "stock_document-abcdefghijklmnopqrstuvwxyz"
CLAIM = Claim(K, "stock_document", bytes(16), "1 erp-documents/0/0")
LINE = {"ItemCode": "A1", "Quantity": Decimal("2.500000"), "WarehouseCode": "LON1"}
ENTRY = B1Request("POST", "InventoryGenEntries", {"DocDate": "2026-11-02", "U_STREAMS_KEY": K, "DocumentLines": [LINE]})
FINAL = {OutcomeClass.APPLIED, OutcomeClass.EXISTS, OutcomeClass.REJECTED}


@pytest.fixture
def sink(service_layer: HttpServiceLayer) -> B1Sink:
    return B1Sink(service_layer)


async def write_until_known(sink: B1Sink) -> tuple[list[OutcomeClass], Written]:
    """What the poster does: the identical request again, as long as its class says so."""
    outcomes: list[OutcomeClass] = []
    while True:
        written = await sink.write([CLAIM], [ENTRY])
        outcomes.append(written.outcome)
        if written.outcome in FINAL:
            return outcomes, written
        assert len(outcomes) < 10


@pytest.mark.parametrize(
    ("fault", "first"),
    [
        ({"kind": FaultKind.LOST_BEFORE}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.LOST_AFTER}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.LOST_AFTER, "at": "mid_body"}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.TRUNCATED_BATCH}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.REORDERED_BATCH}, OutcomeClass.APPLIED),
        ({"kind": FaultKind.HTML_502}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.HTML_502, "commit": True}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.HTML_503, "commit": True}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.SESSION_KILL}, OutcomeClass.APPLIED),
        ({"kind": FaultKind.DUPLICATE}, OutcomeClass.LOCKED),
        ({"kind": FaultKind.LOCKED}, OutcomeClass.LOCKED),
        ({"kind": FaultKind.CONFLICT}, OutcomeClass.LOCKED),
        ({"kind": FaultKind.ERROR}, OutcomeClass.LOCKED),
        ({"kind": FaultKind.ERROR, "commit": True}, OutcomeClass.LOCKED),
        ({"kind": FaultKind.ERROR, "commit": True, "text": "something"}, OutcomeClass.UNKNOWN),
        ({"kind": FaultKind.CLOSED_PERIOD}, OutcomeClass.REJECTED),
        ({"kind": FaultKind.APPROVAL}, OutcomeClass.REJECTED),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else None,
)
async def test_there_is_one_document_whatever_happens_on_the_way(
    sink: B1Sink, faults: FaultPlan, company: Company, fault: dict[str, Any], first: OutcomeClass
) -> None:
    parameters = dict(fault)
    faults.script(parameters.pop("kind"), path="$batch", method="POST", **parameters)
    outcomes, written = await write_until_known(sink)
    assert outcomes[0] is first
    ledger = company.ledger()
    made = 0 if written.outcome is OutcomeClass.REJECTED else 1
    assert (len(ledger["documents"]), len(ledger["claims"])) == (made, made)
    if made:
        assert written.ref is not None
        assert written.ref.object == "InventoryGenEntries"
        lines = (
            ledger["documents"][0]["lines"]
            if "lines" in ledger["documents"][0]
            else ledger["documents"][0]["DocumentLines"]
        )
        assert Decimal(lines[0].get("quantity", lines[0].get("Quantity"))) == Decimal("2.5")


@pytest.mark.parametrize("holds", [False, True])
async def test_a_commit_that_comes_late_is_met_by_the_claim(
    sink: B1Sink, faults: FaultPlan, company: Company, simulator: ServiceLayerApp, holds: bool
) -> None:
    """F14."""
    release = asyncio.Event()

    async def held(seconds: float) -> None:
        await (release.wait() if seconds == 45 else asyncio.sleep(0))

    simulator.server.sleep = held
    faults.script(FaultKind.LATE_COMMIT, path="$batch", after_s=45, holds=holds)
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.UNKNOWN
    for _ in range(5):  # the simulator begins to commit, and holds the lock or not
        await asyncio.sleep(0)
    second = await sink.write([CLAIM], [ENTRY])
    assert second.outcome is (OutcomeClass.LOCKED if holds else OutcomeClass.APPLIED)
    release.set()
    await simulator.settle()
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.EXISTS
    assert (len(company.ledger()["documents"]), len(company.ledger()["claims"])) == (1, 1)


async def test_an_item_that_a_person_holds_is_locked_and_others_are_not(
    sink: B1Sink, company: Company, service_layer: HttpServiceLayer
) -> None:
    """F11."""
    company.lock("A1", "people:ann")
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.LOCKED
    other = B1Request("POST", "InventoryGenEntries", {"DocumentLines": [{**LINE, "ItemCode": "A/B#1 ?%+\\'ü"}]})
    assert (await service_layer.change_set([other]))[0].ok
    company.unlock("A1", "people:ann")
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.APPLIED


async def test_every_twentieth_call_loses_its_session(sink: B1Sink, faults: FaultPlan, company: Company) -> None:
    """F18."""
    for skip in range(0, 200, 20):
        faults.script(FaultKind.SESSION_KILL, path="$batch", skip=skip)
    for _ in range(60):
        assert await sink.look_up([K]) is not None
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.APPLIED
    assert company.counters["sessions_high_water"] <= 2


async def test_no_session_is_left_after_close(service_layer: HttpServiceLayer, company: Company) -> None:
    """I8."""
    await asyncio.gather(*(service_layer.read(["Items"]) for _ in range(16)))
    assert company.counters["sessions_high_water"] == 2
    await service_layer.close()
    assert company.counters["sessions_open"] == 0


async def test_a_session_limit_below_ours_is_lived_with(
    service_layer: HttpServiceLayer, simulator: ServiceLayerApp, company: Company
) -> None:
    """F17: one session is granted, then none."""
    simulator.server.settings = simulator.server.settings.changed({"session_limit": 1})
    await asyncio.gather(*(service_layer.read(["Items"]) for _ in range(16)))
    assert company.counters["logins"] == 1
    assert company.counters["login_failures"] == 1
    simulator.server.settings = simulator.server.settings.changed({"session_limit": 0})
    simulator.server.sessions.clear()
    with pytest.raises(UnavailableError, match="limit is reached"):
        await service_layer.read(["Items"])


async def test_a_wrong_password_does_not_lock_the_account(transport: Any, clock: Any, company: Company) -> None:
    """F19."""
    layer = HttpServiceLayer(
        "https://b1.example:50000/b1s/v2",
        "SBO_ACME",
        "streams",
        Secret("env:B1", "wrong"),
        transport=transport,
        clock=clock,
        sleep=clock.sleep,
    )
    for _ in range(5):
        with pytest.raises(FatalError):
            await layer.read(["Items"])
    await layer.close()
    assert company.counters["login_failures"] == 1


async def test_logins_never_collide(transport: Any, clock: Any, company: Company, simulator: ServiceLayerApp) -> None:
    simulator.server.sleep = lambda seconds: asyncio.sleep(0)  # type: ignore[assignment]
    layer = HttpServiceLayer(
        "https://b1.example:50000/b1s/v2",
        "SBO_ACME",
        "streams",
        Secret("env:B1", "right"),
        transport=transport,
        clock=clock,
        session_limit=8,
        sleep=clock.sleep,
    )
    await asyncio.gather(*(layer.read(["Items"]) for _ in range(32)))
    await layer.close()
    assert clock.slept == []
    assert company.counters["sessions_open"] == 0


@pytest.mark.parametrize("code", ["A/B#1 ?%+\\'ü", "A1"])
async def test_every_item_code_is_found_by_its_literal(service_layer: HttpServiceLayer, code: str) -> None:
    rows = await read_rows(service_layer, [f"Items?$filter=ItemCode eq {quote_literal(code)}"])
    assert [row["ItemCode"] for row in rows[0]] == [code]


async def test_pages_are_followed_to_the_last(service_layer: HttpServiceLayer, company: Company) -> None:
    company.load({"Items": [{"ItemCode": f"P{number:03}"} for number in range(95)]})
    rows = await read_rows(
        service_layer, ["Items?$select=ItemCode&$filter=startswith(ItemCode,'P')&$orderby=ItemCode", "Warehouses"]
    )
    assert [row["ItemCode"] for row in rows[0]] == [f"P{number:03}" for number in range(95)]
    assert len(rows[1]) == 1


async def test_a_missing_record_among_reads_does_not_hide_the_others(service_layer: HttpServiceLayer) -> None:
    answers = await service_layer.read(
        ["Items('A1')", "Items('NONE')", "Warehouses('LON1')", "Nonsense", "Items('A1')"]
    )
    assert [answer.status for answer in answers] == [200, 404, 200, 404, 200] or answers[3].status == 400
    assert answers[4].body is not None
    assert answers[4].body["ItemCode"] == "A1"


@pytest.mark.parametrize("mode", ["html_503", "drop"])
async def test_an_outage_is_seen_by_ping_and_ends(
    service_layer: HttpServiceLayer, faults: FaultPlan, sink: B1Sink, mode: str
) -> None:
    """F10."""
    assert await service_layer.ping()
    faults.outage = mode  # type: ignore[assignment]
    assert not await service_layer.ping()
    assert (await sink.write([CLAIM], [ENTRY])).outcome in (OutcomeClass.UNAVAILABLE, OutcomeClass.UNKNOWN)
    with pytest.raises((UnavailableError, NotSentError)):
        await sink.look_up([K])
    faults.outage = None
    assert (await sink.write([CLAIM], [ENTRY])).outcome is OutcomeClass.APPLIED
