"""The Service Layer of SAP Business One over HTTP: an ASGI app in front of `state.Company`.

Serves `/b1s/v1` (OData v3) and `/b1s/v2` (OData v4), `/ping/`, and `/_simulator/...` for tests, demo and checker.
Written from the Service Layer user guide (v1.22, v1.29), the API reference and published live notes, read 2026-11.

A dropped connection: under a server that puts `simulator.drop` (a callable that closes the transport) into the scope's
`extensions` (`python -m lab.simulators` does), the client sees the connection close. Under
`httpx.ASGITransport` the app raises `ConnectionDroppedError`; a test's transport maps it to what httpx would raise.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import datetime
from random import Random
from urllib.parse import parse_qsl

from lab.simulators.sap_b1.admin import administer
from lab.simulators.sap_b1.execution import commit_late, execute
from lab.simulators.sap_b1.faults import FaultKind, FaultPlan, InjectedFault
from lab.simulators.sap_b1.server import ServerState
from lab.simulators.sap_b1.sessions import end_session, login, session_of
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import NodeDiedError, refusal
from lab.simulators.sap_b1.wire.multipart import Part, batch_parts, below_root, requests_of
from lab.simulators.sap_b1.wire.replies import B1Reply, HttpCall, answer_reply, html_reply, json_reply
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body


class _DropConnectionError(Exception):
    def __init__(self, partial: B1Reply | None = None) -> None:
        super().__init__()
        self.partial = partial


class ServiceLayerApp:
    """The ASGI app; make it with `build_app`. `settle` awaits late commits."""

    def __init__(self, server: ServerState) -> None:
        self.server = server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        call = HttpCall(
            scope["method"],
            raw.decode("latin-1"),
            dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            await whole_body(receive),
        )
        try:
            reply = await self._route(call)
        except _DropConnectionError as drop:
            await self._drop(scope, receive, send, drop.partial)
            return
        await _send(send, reply, len(reply.body), more=False)

    async def settle(self) -> None:
        """Wait until every late commit has happened."""
        while self.server.late:
            await asyncio.gather(*self.server.late)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                for task in self.server.late:
                    task.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _drop(self, scope: Scope, receive: Receive, send: Send, partial: B1Reply | None) -> None:
        if partial is not None:
            half = replace(partial, body=partial.body[: len(partial.body) // 2])
            await _send(send, half, len(partial.body), more=True)
        close = (scope.get("extensions") or {}).get("simulator.drop")
        if close is None:
            raise ConnectionDroppedError("the simulator dropped the connection")
        close()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _route(self, call: HttpCall) -> B1Reply:
        if call.path.startswith("/_simulator/"):
            return administer(self.server, call)
        if self.server.faults.outage == "drop":
            raise _DropConnectionError
        if self.server.faults.outage == "html_503":
            return html_reply(503)
        if call.path.startswith("/ping"):
            return self._ping(call)
        match = re.match(r"/b1s/(v1|v2)/(.*)\Z", call.path, re.DOTALL)
        if match is None or (self.server.settings.refuse_encoded_slash and "%2f" in call.path.lower()):
            return html_reply(404)
        return await self._serve(call, match[1], match[2])

    def _ping(self, call: HttpCall) -> B1Reply:
        sender = "node 1" if "node" in call.path else "load balancer"
        stamp = f"{self.server.clock().timestamp():.3f}"
        return json_reply(200, {"message": "pong", "sender": sender, "timestamp": stamp})

    async def _serve(self, call: HttpCall, version: str, resource: str) -> B1Reply:
        parts: list[Part] | B1Reply = []
        calls = [(call.method, resource)]
        if resource == "$batch":
            parts = batch_parts(call, version)
            if not isinstance(parts, B1Reply):
                calls += [(request.method, below_root(request.path)) for part in parts for request in requests_of(part)]
        fault = self.server.faults.choose(calls, self.server.random)
        kind = fault.kind if fault else None
        if fault and kind is FaultKind.SLOW:
            await self.server.sleep(fault.after_s)
        elif kind is FaultKind.LOST_BEFORE:
            raise _DropConnectionError
        elif fault and kind in (FaultKind.HTML_502, FaultKind.HTML_503) and not fault.commit:
            return html_reply(502 if kind is FaultKind.HTML_502 else 503)
        if resource == "Login" and call.method == "POST":
            return await login(self.server, call, version, fault)
        session = session_of(self.server, call, kill=kind is FaultKind.SESSION_KILL)
        if session is None:
            return answer_reply(refusal(301, "Invalid session or session already timeout.", 401), version, call)
        if resource == "Logout" and call.method == "POST":
            end_session(self.server, session)
            session.company.counters["logouts"] += 1
            return B1Reply(204, [])
        if fault and kind is FaultKind.LATE_COMMIT:
            task = asyncio.create_task(commit_late(self.server, call, version, resource, parts, session, fault))
            self.server.late.add(task)
            task.add_done_callback(self.server.late.discard)
            raise _DropConnectionError
        try:
            if self.server.settings.serialise_sessions:
                async with session.turn:
                    reply = await execute(self.server, call, version, resource, parts, session, fault)
            else:
                reply = await execute(self.server, call, version, resource, parts, session, fault)
        except NodeDiedError:
            return html_reply(502)
        return self._spoil(reply, fault)

    def _spoil(self, reply: B1Reply, fault: InjectedFault | None) -> B1Reply:
        """What is left of a good answer."""
        if fault is None:
            return reply
        if fault.kind is FaultKind.LOST_AFTER:
            raise _DropConnectionError(reply if fault.at == "mid_body" else None)
        if fault.kind is FaultKind.TRUNCATED_BATCH:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        if fault.kind in (FaultKind.HTML_502, FaultKind.HTML_503):
            return html_reply(502 if fault.kind is FaultKind.HTML_502 else 503)
        return reply


def build_app(
    company: Company | Mapping[str, Company],
    *,
    users: Mapping[str, str],
    clock: Callable[[], datetime],
    random: Random,
    faults: FaultPlan | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    settings: ServiceLayerSettings | None = None,
) -> ServiceLayerApp:
    """The Service Layer in front of one company or several.

    Args:
        company: one company, known by its name, or companies by CompanyDB.
        users: user name -> password.
        clock: aware time, for sessions and lock waits.
        random: everything random comes from it.
        faults: what goes wrong; may be changed while it runs.
        sleep: takes the service times and delays; `asyncio.sleep`, or a simulation's.
        settings: times and limits; may be replaced while it runs.
    """
    companies = {company.name: company} if isinstance(company, Company) else company
    server = ServerState(
        companies=companies,
        users=users,
        faults=faults or FaultPlan(),
        clock=clock,
        sleep=sleep,
        random=random,
        settings=settings or ServiceLayerSettings(),
    )
    return ServiceLayerApp(server)


async def _send(send: Send, reply: B1Reply, length: int, *, more: bool) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status != 204:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": more})
