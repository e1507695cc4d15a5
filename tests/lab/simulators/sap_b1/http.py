"""The Service Layer over HTTP, with a clock that passes only in `sleep`."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import httpx

from lab.simulators.sap_b1.app import ServiceLayerApp, build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.wire.replies import encode

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
        self.app: ServiceLayerApp = build_app(
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
