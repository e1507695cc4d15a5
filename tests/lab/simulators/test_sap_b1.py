"""The Service Layer over HTTP: sessions, shapes, batches, locks, faults, administration."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import pytest

from lab.simulators.sap_b1.app import ServiceLayer, build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.rules import Rules
from lab.simulators.sap_b1.wire.replies import encode
from lab.simulators.wire import ConnectionDroppedError

MASTER: dict[str, Any] = {
    "VatGroups": [{"Code": "O1", "Rate": 20}],
    "Warehouses": [{"WarehouseCode": "LON1"}],
    "BusinessPartners": [{"CardCode": "C-WEB"}],
    "Items": [{"ItemCode": f"A{n}", "SalesVATGroup": "O1"} for n in range(9)],
    "stock": [{"item": f"A{n}", "warehouse": "LON1", "quantity": "100"} for n in range(9)],
}
LOGIN = {"CompanyDB": "SBO_DEMO", "UserName": "streams", "Password": "secret"}


class Clock:
    """Time that passes only in `sleep`, and then at once; `gate` holds sleepers back."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 21, 9, tzinfo=UTC)
        self.slept: list[float] = []
        self.gate: asyncio.Event | None = None

    def __call__(self) -> datetime:
        return self.now

    async def sleep(self, seconds: float) -> None:
        if self.gate is not None:
            await self.gate.wait()
        self.slept.append(seconds)
        self.now += timedelta(seconds=float(seconds))
        await asyncio.sleep(0)


class World:
    def __init__(self, **settings: Any) -> None:
        self.clock = Clock()
        self.company = Company(clock=self.clock, with_claims=True, master_data=MASTER)
        self.faults = FaultPlan()
        self.app: ServiceLayer = build_app(
            self.company,
            users={"streams": "secret"},
            faults=self.faults,
            clock=self.clock,
            sleep=self.clock.sleep,
            random=Random(7),
            settings=ServiceLayerSettings(**settings),
        )
        self.client = self.new_client()

    def new_client(self, version: str = "v2") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)  # type: ignore[arg-type]  # the same protocol, other names
        return httpx.AsyncClient(transport=transport, base_url=f"https://b1.example/b1s/{version}/")

    async def login(self, client: httpx.AsyncClient | None = None, **changes: str) -> httpx.Response:
        return await (client or self.client).post("Login", json={**LOGIN, **changes})

    async def admin(self, name: str, body: dict[str, Any]) -> Any:
        answer = await self.client.post(f"https://b1.example/_simulator/{name}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self.client.post(path, content=encode(body or {}), headers={"content-type": "application/json"})


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.login()
    yield world
    await world.client.aclose()


def order(item: str = "A1", **more: Any) -> dict[str, Any]:
    lines = [{"ItemCode": item, "Quantity": 1, "WarehouseCode": "LON1", "UnitPrice": Decimal("9.99")}]
    return {"CardCode": "C-WEB", "DocDueDate": "2026-11-21", "DocumentLines": lines, **more}


def issue(item: str = "A1") -> dict[str, Any]:
    return {"DocumentLines": [{"ItemCode": item, "Quantity": 1, "WarehouseCode": "LON1"}]}


def code(answer: httpx.Response) -> int:
    return int(answer.json()["error"]["code"])


def request_part(method: str, path: str, body: dict[str, Any] | None = None, content_id: str | None = None) -> str:
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    lines += [f"Content-ID: {content_id}"] if content_id else []
    content = ["Content-Type: application/json"] if body is not None else []
    text = encode(body) if body is not None else ""
    return "\r\n".join([*lines, "", f"{method} /b1s/v2/{path} HTTP/1.1", *content, "", text])


def change_set(*parts: str, boundary: str = "cs") -> str:
    inner = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return f"Content-Type: multipart/mixed;boundary={boundary}\r\n\r\n{inner}--{boundary}--\r\n"


def batch(*parts: str) -> tuple[bytes, dict[str, str]]:
    text = "".join(f"--b\r\n{part}\r\n" for part in parts) + "--b--\r\n"
    return text.encode(), {"content-type": "multipart/mixed;boundary=b"}


async def send_batch(world: World, *parts: str) -> httpx.Response:
    content, headers = batch(*parts)
    return await world.client.post("$batch", content=content, headers=headers)


def claimed(key: str, item: str = "A1") -> str:
    claim = request_part("POST", "U_STREAMS_CLAIM", {"Code": key, "Name": key}, "1")
    return change_set(claim, request_part("POST", "Orders", order(item, U_STREAMS_KEY=key), "2"))


# ---- sessions -------------------------------------------------------------------------------------------------------


async def test_login_answers_session_version_timeout_and_both_cookies() -> None:
    world = World()
    answer = await world.login()
    body = answer.json()
    assert (answer.status_code, body["SessionTimeout"]) == (200, 30)
    cookies = answer.headers.get_list("set-cookie")
    assert cookies == [f"B1SESSION={body['SessionId']}; HttpOnly", "ROUTEID=.node1; path=/b1s"]
    assert "odata.metadata" in (await world.login(world.new_client("v1"))).json()
    await world.client.aclose()


async def test_a_session_is_good_on_both_versions_and_gone_after_logout(world: World) -> None:
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        assert (await other.get("Items", headers=cookie)).status_code == 200
        assert (await world.client.post("Logout")).status_code == 204
        answer = await other.get("Items", headers=cookie)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 301)
    assert world.company.counters["sessions_open"] == 0


@pytest.mark.parametrize(("change", "wanted"), [({"Password": "x"}, -304), ({"CompanyDB": "NONE"}, -306)])
async def test_a_wrong_password_is_minus_304_an_unknown_company_minus_306(change: dict[str, str], wanted: int) -> None:
    world = World()
    answer = await world.login(**change)
    assert (answer.status_code, code(answer)) == (401, wanted)
    await world.client.aclose()


async def test_an_account_is_locked_after_the_tries_it_has() -> None:
    world = World(password_tries=2)
    for _ in range(2):
        await world.login(Password="wrong")
    assert code(await world.login()) == -304
    await world.admin("unlock-users", {})
    assert (await world.login()).status_code == 200
    await world.client.aclose()


async def test_a_lower_case_path_is_401_and_301_instead_of_a_login() -> None:
    world = World()
    answer = await world.client.post("login", json=LOGIN)
    assert (answer.status_code, code(answer)) == (401, 301)
    await world.client.aclose()


async def test_logins_that_overlap_fail_with_500_and_299() -> None:
    world = World()
    answers = await asyncio.gather(world.login(), world.login(), world.login())
    assert sorted(answer.status_code for answer in answers) == [200, 500, 500]
    assert {code(answer) for answer in answers if answer.status_code == 500} == {299}
    await world.client.aclose()


async def test_the_timeout_slides_with_use(world: World) -> None:
    for _ in range(5):
        world.clock.now += timedelta(minutes=10)
        assert (await world.client.get("Items")).status_code == 200
    world.clock.now += timedelta(minutes=31)
    assert (await world.client.get("Items")).status_code == 401


async def test_a_session_limit_refuses_the_next_login_until_one_logs_out() -> None:
    world = World(session_limit=1, session_limit_error=(503, 42, "too many"))
    await world.login()
    async with world.new_client() as other:
        answer = await world.login(other)
        assert (answer.status_code, code(answer)) == (503, 42)
        await world.client.post("Logout")
        assert (await world.login(other)).status_code == 200
    assert (world.company.counters["sessions_high_water"], world.company.counters["logins"]) == (1, 2)
    await world.client.aclose()


async def test_killed_sessions_are_401_at_the_next_call(world: World) -> None:
    assert await world.admin("kill-sessions", {}) == {"killed": 1}
    assert code(await world.client.get("Items")) == 301


# ---- shapes ---------------------------------------------------------------------------------------------------------


async def test_v2_errors_have_text_codes_and_v1_errors_numbers_and_an_object(world: World) -> None:
    two = (await world.client.get("Items('NONE')")).json()["error"]
    assert (two["code"], two["details"]) == ("-2028", [{"code": "", "message": ""}])
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        one = (await other.get("Items('NONE')", headers=cookie)).json()["error"]
    assert one == {"code": -2028, "message": {"lang": "en-us", "value": two["message"]}}


async def test_a_created_document_has_location_etag_and_exact_numbers(world: World) -> None:
    answer = await world.post("Orders", order())
    assert (answer.status_code, answer.headers["location"]) == (201, "https://b1.example/b1s/v2/Orders(1)")
    assert answer.headers["etag"].startswith('W/"')
    assert json.loads(answer.content, parse_float=str)["DocumentLines"][0]["UnitPrice"] == "9.99"
    assert answer.json()["DocDate"] == "2026-11-21T00:00:00Z"
    assert answer.headers["odata-version"] == "4.0"


async def test_v1_dates_have_no_time_and_counts_are_text(world: World) -> None:
    await world.post("Orders", order())
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        body = (await other.get("Orders?$inlinecount=allpages", headers=cookie)).json()
    assert (body["odata.count"], body["value"][0]["DocDate"]) == ("1", "2026-11-21")
    assert "odata.etag" in body["value"][0]


async def test_patch_is_204_without_an_etag(world: World) -> None:
    await world.post("Orders", order())
    answer = await world.client.patch("Orders(1)", json={"Comments": "x"})
    assert (answer.status_code, answer.content, "etag" in answer.headers) == (204, b"", False)
    override = {"x-http-method-override": "PATCH"}
    assert (await world.client.post("Orders(1)", json={"Comments": "y"}, headers=override)).status_code == 204
    assert (await world.client.get("Orders(1)")).json()["Comments"] == "y"


async def test_a_count_is_plain_text(world: World) -> None:
    answer = await world.client.get("Items/$count")
    assert (answer.text, answer.headers["content-type"]) == ("9", "text/plain")


async def test_a_body_that_is_no_json_object_is_minus_1000(world: World) -> None:
    assert code(await world.client.post("Orders", content=b"{")) == -1000
    assert code(await world.client.post("Orders", content=b"[1]")) == -1000


async def test_an_encoded_slash_in_a_path_is_apaches_404(world: World) -> None:
    answer = await world.client.get("Items('A%2FB')")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=iso-8859-1")


async def test_ping_answers_without_a_session() -> None:
    world = World()
    answer = await world.client.get("https://b1.example/ping/load-balancer")
    assert (answer.json()["message"], answer.json()["sender"]) == ("pong", "load balancer")
    await world.client.aclose()


# ---- batches --------------------------------------------------------------------------------------------------------


async def test_a_change_set_answers_one_part_per_request_inside_one_part(world: World) -> None:
    answer = await send_batch(world, claimed("K"))
    assert answer.status_code == 200
    assert (answer.text.count("HTTP/1.1 201 Created"), "changesetresponse" in answer.text) == (2, True)
    assert answer.text.count("Content-ID: 2") == 2
    assert len(world.company.ledger()["claims"]) == 1


async def test_a_failed_change_set_is_rolled_back_and_answered_by_one_part(world: World) -> None:
    answer = await send_batch(world, claimed("K", "NONE"))
    assert (answer.status_code, answer.text.count("HTTP/1.1"), "changesetresponse" in answer.text) == (200, 1, False)
    assert '"code":"-2028"' in answer.text
    assert world.company.ledger()["claims"] == []


async def test_a_batch_runs_in_order_and_stops_at_the_first_failure(world: World) -> None:
    answer = await send_batch(
        world,
        request_part("GET", "Items('A1')?$select=ItemCode"),
        claimed("K1"),
        claimed("K1"),
        claimed("K2"),
    )
    assert [line.split(" ")[1] for line in answer.text.splitlines() if line.startswith("HTTP/1.1")] == [
        "200",
        "201",
        "201",
        "400",
    ]
    assert [row["Code"] for row in world.company.ledger()["claims"]] == ["K1"]


async def test_a_v1_batch_answers_202_and_needs_no_content_ids(world: World) -> None:
    part = change_set(request_part("POST", "Orders", order()))
    content, headers = batch(part)
    answer = await world.client.post("https://b1.example/b1s/v1/$batch", content=content, headers={
        **headers, "cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"})  # fmt: skip
    assert (answer.status_code, answer.text.count("201 Created")) == (202, 1)
    answer = await world.client.post("$batch", content=content, headers=headers)
    assert (answer.status_code, code(answer)) == (400, -1000)


async def test_a_request_of_a_change_set_names_another_by_its_content_id(world: World) -> None:
    part = change_set(request_part("POST", "Orders", order(), "7"), request_part("POST", "$7/Cancel", None, "8"))
    answer = await send_batch(world, part)
    assert answer.text.count("HTTP/1.1 204 No Content") == 1


async def test_a_quoted_boundary_is_405(world: World) -> None:
    content, _ = batch(claimed("K"))
    headers = {"content-type": 'multipart/mixed;boundary="b"'}
    assert (await world.client.post("$batch", content=content, headers=headers)).status_code == 405


@pytest.mark.parametrize(
    "part",
    [
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET Items HTTP/1.1",
        "Content-Type: application/http\r\n\r\nGET Items HTTP/1.1\r\n\r\n",
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET It ems HTTP/1.1\r\n\r\n",
        change_set(change_set(request_part("POST", "Orders", {}, "1"), boundary="inner")),
        "nothing",
    ],
)
async def test_a_malformed_batch_is_400_and_minus_1000(world: World, part: str) -> None:
    answer = await send_batch(world, part)
    assert (answer.status_code, code(answer)) == (400, -1000)


async def test_an_unended_batch_is_400_and_minus_1000(world: World) -> None:
    content, headers = batch(claimed("K"))
    answer = await world.client.post("$batch", content=content[:-6], headers=headers)
    assert answer.json()["error"]["message"] == "Incomplete Batch Request Body!"
    assert world.company.ledger()["claims"] == []


# ---- locks ----------------------------------------------------------------------------------------------------------


async def test_a_document_takes_its_service_time_and_a_claim_its_own(world: World) -> None:
    world.clock.slept.clear()
    await send_batch(world, claimed("K"))
    assert world.clock.slept == [pytest.approx(0.080 + 0.004 + 0.028)]
    await world.admin("settings", {"speed": 0.5})
    world.clock.slept.clear()
    await world.post("InventoryGenExits", issue())
    assert world.clock.slept == [pytest.approx(0.042)]


async def test_a_request_waits_for_an_item_that_another_of_ours_holds(world: World) -> None:
    world.clock.gate = asyncio.Event()
    tasks = [asyncio.create_task(world.post("InventoryGenExits", issue(item))) for item in ("A1", "A1", "A2")]
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.company.counters["lock_waits_own"] == 1
    world.clock.gate.set()
    answers = await asyncio.gather(*tasks)
    # The wait's own timer runs on the same clock, so the second either waited long enough or was refused as locked.
    assert answers[0].status_code == answers[2].status_code == 201
    assert world.company.counters["lock_waits_people"] == 0


async def test_an_item_held_by_a_person_is_refused_after_the_wait_in_both_codes(world: World) -> None:
    assert await world.admin("lock", {"items": ["A1"], "holder": "anna"}) == {"locked": ["A1"]}
    before = world.clock.now
    assert code(await world.post("InventoryGenExits", issue())) == -2039
    assert (world.clock.now - before).total_seconds() >= 5
    world.company.rules = Rules(locked_code=-2035)
    answer = await world.post("InventoryGenExits", issue())
    assert (code(answer), "locked" in answer.json()["error"]["message"]) == (-2035, True)
    assert (await world.post("InventoryGenExits", issue("A2"))).status_code == 201
    assert (world.company.counters["lock_waits_people"], world.company.counters["lock_waits_own"]) == (2, 0)
    await world.admin("unlock", {"items": ["A1"], "holder": "anna"})
    assert (await world.post("InventoryGenExits", issue())).status_code == 201


async def test_an_item_given_back_is_taken_by_who_waits(world: World) -> None:
    await world.admin("lock", {"items": ["A1"], "holder": "anna"})
    world.clock.gate = asyncio.Event()
    task = asyncio.create_task(world.post("InventoryGenExits", issue()))
    for _ in range(20):
        await asyncio.sleep(0)
    await world.admin("unlock", {"items": ["A1"], "holder": "anna"})
    for _ in range(20):
        await asyncio.sleep(0)
    assert str(world.company.holder("A1")).startswith("request:")
    world.clock.gate.set()
    assert (await task).status_code == 201
    assert world.company.holder("A1") is None


# ---- faults ---------------------------------------------------------------------------------------------------------


async def test_a_reply_lost_before_commit_leaves_nothing(world: World) -> None:
    world.faults.script("lost_reply_before_commit", method="POST", path="Orders")
    assert (await world.client.get("Items")).status_code == 200
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    assert world.company.ledger()["documents"] == []
    assert (await send_batch(world, claimed("K"))).text.count("201 Created") == 2


@pytest.mark.parametrize("at", ["before_first_byte", "mid_body"])
async def test_a_reply_lost_after_commit_leaves_the_document(world: World, at: str) -> None:
    world.faults.script("lost_reply_after_commit", path="$batch", at=at)
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    assert len(world.company.ledger()["documents"]) == 1
    assert '"code":"-2035"' in (await send_batch(world, claimed("K"))).text


@pytest.mark.parametrize("holds", [False, True])
async def test_a_late_commit_happens_after_the_client_is_gone(world: World, holds: bool) -> None:
    world.clock.gate = asyncio.Event()
    world.faults.script("late_commit", path="Orders", after_s=45, holds=holds)
    with pytest.raises(ConnectionDroppedError):
        await send_batch(world, claimed("K"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert (len(world.company.ledger()["documents"]), world.company.holder("A1") is not None) == (0, holds)
    world.clock.gate.set()
    await world.app.settle()
    assert len(world.company.ledger()["documents"]) == 1
    assert 45 in world.clock.slept


async def test_a_truncated_batch_is_a_whole_response_with_half_its_text(world: World) -> None:
    world.faults.script("truncated_batch")
    answer = await send_batch(world, claimed("K"))
    assert (answer.status_code, answer.text.endswith("--\r\n")) == (200, False)
    assert len(world.company.ledger()["documents"]) == 1


async def test_a_reordered_batch_answers_backwards(world: World) -> None:
    world.faults.script("reordered_batch")
    answer = await send_batch(world, request_part("GET", "Items('A1')"), request_part("GET", "Items('A2')"))
    assert answer.text.index('"A2"') < answer.text.index('"A1"')


@pytest.mark.parametrize(("kind", "status"), [("html_502", 502), ("html_503", 503)])
async def test_apaches_page_comes_before_or_after_the_commit(world: World, kind: str, status: int) -> None:
    world.faults.script(kind, path="Orders")
    answer = await world.post("Orders", order())
    assert (answer.status_code, answer.text.startswith("<!DOCTYPE HTML")) == (status, True)
    assert world.company.ledger()["documents"] == []
    world.faults.script(kind, path="Orders", commit=True)
    assert (await world.post("Orders", order())).status_code == status
    assert len(world.company.ledger()["documents"]) == 1


async def test_a_login_collides_and_a_session_dies_by_script(world: World) -> None:
    world.faults.script("session_kill", skip=1)
    assert (await world.client.get("Items")).status_code == 200
    assert code(await world.client.get("Items")) == 301
    world.faults.script("login_collision")
    assert code(await world.login()) == 299
    assert (await world.login()).status_code == 200


@pytest.mark.parametrize(
    ("script", "wanted", "text"),
    [
        ({"kind": "duplicate"}, -2035, "already exists"),
        ({"kind": "locked"}, -2035, "Object locked"),
        ({"kind": "conflict"}, -2039, "modified data"),
        ({"kind": "closed_period"}, -4013, "Posting period locked"),
        ({"kind": "error", "status": 500, "code": 407, "text": "Table definition not found"}, 407, "definition"),
    ],
)
async def test_b1s_refusals_are_played_alone_and_inside_a_batch(
    world: World, script: dict[str, Any], wanted: int, text: str
) -> None:
    await world.admin("faults", {"scripts": [{**script, "path": "Orders", "times": 2}]})
    answer = await world.post("Orders", order())
    assert (code(answer), text in answer.json()["error"]["message"]) == (wanted, True)
    answer = await send_batch(world, claimed("K"))
    assert (answer.status_code, f'"code":"{wanted}"' in answer.text) == (200, True)
    assert world.company.ledger()["documents"] == []
    assert (await send_batch(world, claimed("K"))).text.count("201 Created") == 2


async def test_approval_makes_a_draft_by_script(world: World) -> None:
    world.faults.script("approval", path="Orders")
    assert code(await world.post("Orders", order())) == -2028
    assert len(world.company.ledger()["drafts"]) == 1
    assert (await world.post("Orders", order())).status_code == 201


async def test_slow_adds_its_seconds(world: World) -> None:
    world.faults.script("slow", after_s=30)
    await world.client.get("Items")
    assert 30 in world.clock.slept


@pytest.mark.parametrize("mode", ["html_503", "drop"])
async def test_an_outage_lasts_until_it_is_switched_off(world: World, mode: str) -> None:
    await world.admin("outage", {"on": True, "mode": mode})
    if mode == "drop":
        with pytest.raises(ConnectionDroppedError):
            await world.client.get("Items")
    else:
        assert (await world.client.get("Items")).status_code == 503
        assert (await world.client.get("https://b1.example/ping/")).status_code == 503
    await world.admin("outage", {"on": False})
    assert (await world.client.get("Items")).status_code == 200


async def test_serialised_sessions_run_one_request_at_a_time() -> None:
    world = World(serialise_sessions=True)
    await world.login()
    answers = await asyncio.gather(*(world.post("InventoryGenExits", issue(f"A{n}")) for n in range(4)))
    assert {answer.status_code for answer in answers} == {201}
    await world.client.aclose()


# ---- administration -------------------------------------------------------------------------------------------------


async def test_the_ledger_is_json_with_decimal_text(world: World) -> None:
    await send_batch(world, claimed("K"))
    await world.post("InventoryGenExits", issue())
    answer = await world.client.get("https://b1.example/_simulator/ledger")
    assert answer.headers["content-encoding"] == "gzip"
    ledger = answer.json()
    first = ledger["documents"][0]
    assert (first["entity"], first["object"], first["U_STREAMS_KEY"], first["DocTotal"]) == ("Orders", 17, "K", "11.99")
    assert ledger["movements"][-1]["quantity"] == "-1"
    assert {"item": "A1", "warehouse": "LON1", "quantity": "99"} in ledger["on_hand"]
    assert ledger["claims"][0]["Code"] == "K"
    assert ledger["counters"]["change_sets"] == 2
    assert ledger["counters"]["document_sets"] == 2


async def test_a_preview_and_a_refusal_make_no_document_and_are_counted_apart(world: World) -> None:
    await world.post("OrdersService_Preview", {"Document": order()})
    await world.post("Orders", order())
    await world.post("Orders", {"CardCode": "nobody"})
    counters = (await world.client.get("https://b1.example/_simulator/ledger")).json()["counters"]
    assert [counters[name] for name in ("change_sets", "document_sets", "previews", "refused")] == [3, 1, 1, 1]


async def test_the_documents_of_a_large_ledger_come_in_pages_in_the_order_of_their_commits(world: World) -> None:
    await world.post("Orders", order())
    await world.post("InventoryGenExits", issue())
    await world.post("Orders", order())
    url = "https://b1.example/_simulator"
    whole = (await world.client.get(f"{url}/ledger")).json()
    bare = (await world.client.get(f"{url}/ledger?documents=0")).json()
    assert (bare["documents"], bare["on_hand"]) == ([], whole["on_hand"])
    first = (await world.client.get(f"{url}/documents?limit=2")).json()
    rest = (await world.client.get(f"{url}/documents?after={first[-1]['sequence']}&limit=2")).json()
    assert [one["entity"] for one in (*first, *rest)] == ["Orders", "InventoryGenExits", "Orders"]
    assert sorted((*first, *rest), key=str) == sorted(whole["documents"], key=str)


async def test_people_change_master_data_and_documents(world: World) -> None:
    await world.admin("master-data", {"Items": [{"ItemCode": "A1", "Valid": "tNO"}]})
    assert "inactive" in (await world.post("Orders", order())).text
    await world.admin(
        "master-data", {"Items": [{"ItemCode": "A1", "Valid": "tYES"}], "rules": {"inactive_code": -5002}}
    )
    await world.post("Orders", order())
    await world.admin("backup", {})
    assert await world.admin("requests", {"requests": [{"method": "POST", "path": "Orders(1)/Cancel"}]}) == [
        {"status": 204, "body": None}
    ]
    await world.admin("restore", {})
    assert (await world.client.get("Orders(1)")).json()["Cancelled"] == "tNO"
    counters = (await world.client.get("https://b1.example/_simulator/counters")).json()
    assert counters["companies"]["SBO_DEMO"]["sessions_open"] == 1
    for name, body in (("faults", {"rates": {"nonsense": 1}}), ("nothing", {}), ("master-data", {"Nothing": []})):
        answer = await world.client.post(f"https://b1.example/_simulator/{name}", json=body)
        assert answer.status_code in (400, 404)
