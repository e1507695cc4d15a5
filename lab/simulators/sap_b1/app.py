"""The Service Layer of SAP Business One over HTTP: an ASGI app in front of `ledger.Company`.

Serves `/b1s/v1` (OData v3) and `/b1s/v2` (OData v4), `/ping/`, and `/_simulator/...` for tests, demo and checker.
Written from the Service Layer user guide (v1.22, v1.29), the API reference and published live notes, read 2026-11.

A dropped connection: under a server that puts `simulator.drop` (a callable that closes the transport) into the scope's
`extensions` (`python -m lab.simulators` does), the client sees the connection close. Under
`httpx.ASGITransport` the app raises `ConnectionDroppedError`; a test's transport maps it to what httpx would raise.
"""

import asyncio
import gzip
import itertools
import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from json.encoder import encode_basestring_ascii
from random import Random
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl

from lab.simulators.faults import Fault, Faults, Kind
from lab.simulators.sap_b1.ledger import Answer, Company, RefusedError, Request, lock_cause, refusal
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

Headers: TypeAlias = list[tuple[str, str]]

_DOCUMENT_SETS: Final = frozenset(
    {
        "Orders", "DeliveryNotes", "Invoices", "CreditNotes", "InventoryGenEntries", "InventoryGenExits",
        "StockTransfers",
    }
)  # fmt: skip
_PHRASES: Final = {
    200: "OK", 201: "Created", 204: "No Content", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 412: "Precondition Failed", 500: "Internal Server Error",
}  # fmt: skip
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT00:00:00Z\Z")
_BOUNDARY: Final = re.compile(r"boundary=([^;\s]+)")
_V1_NAMES: Final = {
    "@odata.context": "odata.metadata",
    "@odata.etag": "odata.etag",
    "@odata.nextLink": "odata.nextLink",
    "@odata.count": "odata.count",
}
_PROXY_ERROR: Final = (
    '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>{status} {title}</title>\n</head><body>\n'
    "<h1>{title}</h1>\n<p>The proxy server could not handle the request.</p>\n</body></html>\n"
)


class _DropError(Exception):
    def __init__(self, partial: "Reply | None" = None) -> None:
        super().__init__()
        self.partial = partial


@dataclass(frozen=True, slots=True)
class Settings:
    """How the server behaves; times in seconds are multiplied by `speed`, except `lock_wait_s`.

    Attributes:
        speed: 1 is a real installation, 0.2 takes a fifth of the times, 0 no time at all.
        base_s: a document, before its lines.
        per_line_s: each of its lines.
        row_s: a row of a user table or master data (a claim).
        read_s: a query.
        login_s: a login; another one during it collides.
        lock_wait_s: how long a request waits for an item that another holds, then it is refused as locked.
        session_limit: sessions of one company at a time, None for any number.
        session_limit_error: status, code, text of a login beyond it (nothing public says what B1 answers).
        session_timeout_min: idle minutes after which a session ends.
        password_tries: wrong passwords after which the account is locked.
        login_overlap_rate: share of overlapping logins that fail with 500 / 299 (live: 2 of 8).
        serialise_sessions: whether the requests of one session run one after another (unknown of B1).
        refuse_encoded_slash: whether `%2F` in a path is a 404 from Apache.
    """

    speed: float = 1.0
    base_s: float = 0.080
    per_line_s: float = 0.004
    row_s: float = 0.028
    read_s: float = 0.005
    login_s: float = 0.300
    lock_wait_s: float = 5.0
    session_limit: int | None = None
    session_limit_error: tuple[int, int, str] = (500, 100000085, "Maximum number of sessions of this user is reached")
    session_timeout_min: float = 30.0
    password_tries: int = 3
    login_overlap_rate: float = 1.0
    serialise_sessions: bool = False
    refuse_encoded_slash: bool = True

    def changed(self, changes: Mapping[str, Any]) -> "Settings":
        """These settings with some fields replaced, from JSON."""
        # JSON is read with exact decimals; times are floats.
        values: dict[str, Any] = {
            name: float(value) if isinstance(value, Decimal) else value for name, value in changes.items()
        }
        if "session_limit_error" in values:
            values["session_limit_error"] = tuple(values["session_limit_error"])
        return replace(self, **values)


@dataclass(slots=True)
class Session:
    """A logged-in session."""

    id: str
    company: Company
    user: str
    used_at: datetime
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    headers: Headers
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class _ChangeSet:
    requests: tuple[Request, ...]


_Part: TypeAlias = Request | _ChangeSet


class ServiceLayer:
    """The ASGI app; make it with `build_app`. `settle` awaits late commits."""

    def __init__(
        self,
        companies: Mapping[str, Company],
        *,
        users: Mapping[str, str],
        faults: Faults,
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
        random: Random,
        settings: Settings,
    ) -> None:
        self.companies = companies
        self.users = users
        self.faults = faults
        self.settings = settings
        self.sessions: dict[str, Session] = {}
        self.sessions_high_water: dict[str, int] = {}
        self._clock = clock
        self._sleep = sleep
        self._random = random
        self._wrong_passwords: dict[str, int] = {}
        self._logins_under_way = 0
        self._released = asyncio.Event()
        self._holders = itertools.count(1)
        self._late: set[asyncio.Task[None]] = set()
        self._backups: dict[str, Mapping[str, Any]] = {}

    # ---- ASGI ---------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the lifespan of a server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        call = _Call(
            scope["method"],
            raw.decode("latin-1"),
            dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            await whole_body(receive),
        )
        try:
            reply = await self._route(call)
        except _DropError as drop:
            await self._drop(scope, receive, send, drop.partial)
            return
        await _send(send, reply, len(reply.body), more=False)

    async def settle(self) -> None:
        """Wait until every late commit has happened."""
        while self._late:
            await asyncio.gather(*self._late)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                for task in self._late:
                    task.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _drop(self, scope: Scope, receive: Receive, send: Send, partial: Reply | None) -> None:
        if partial is not None:
            half = replace(partial, body=partial.body[: len(partial.body) // 2])
            await _send(send, half, len(partial.body), more=True)
        close = (scope.get("extensions") or {}).get("simulator.drop")
        if close is None:
            raise ConnectionDroppedError("the simulator dropped the connection")
        close()
        while (await receive())["type"] != "http.disconnect":
            pass

    # ---- routing ------------------------------------------------------------------------------------------------

    async def _route(self, call: _Call) -> Reply:
        if call.path.startswith("/_simulator/"):
            return self._administer(call)
        if self.faults.outage == "drop":
            raise _DropError
        if self.faults.outage == "html_503":
            return _html(503)
        if call.path.startswith("/ping"):
            return self._ping(call)
        match = re.match(r"/b1s/(v1|v2)/(.*)\Z", call.path, re.DOTALL)
        if match is None or (self.settings.refuse_encoded_slash and "%2f" in call.path.lower()):
            return _html(404)
        return await self._serve(call, match[1], match[2])

    def _ping(self, call: _Call) -> Reply:
        sender = "node 1" if "node" in call.path else "load balancer"
        stamp = f"{self._clock().timestamp():.3f}"
        return _json_reply(200, {"message": "pong", "sender": sender, "timestamp": stamp})

    async def _serve(self, call: _Call, version: str, resource: str) -> Reply:
        parts: list[_Part] | Reply = []
        calls = [(call.method, resource)]
        if resource == "$batch":
            parts = self._batch_parts(call, version)
            if not isinstance(parts, Reply):
                calls += [(request.method, _bare(request.path)) for part in parts for request in _requests(part)]
        fault = self.faults.choose(calls, self._random)
        kind = fault.kind if fault else None
        if fault and kind is Kind.SLOW:
            await self._sleep(fault.after_s)
        elif kind is Kind.LOST_BEFORE:
            raise _DropError
        elif fault and kind in (Kind.HTML_502, Kind.HTML_503) and not fault.commit:
            return _html(502 if kind is Kind.HTML_502 else 503)
        if resource == "Login" and call.method == "POST":
            return await self._login(call, version, fault)
        session = self._session(call, kill=kind is Kind.SESSION_KILL)
        if session is None:
            return _answer_reply(refusal(301, "Invalid session or session already timeout.", 401), version, call)
        if resource == "Logout" and call.method == "POST":
            self._end(session)
            session.company.counters["logouts"] += 1
            return Reply(204, [])
        if fault and kind is Kind.LATE_COMMIT:
            task = asyncio.create_task(self._commit_late(call, version, resource, parts, session, fault))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            raise _DropError
        if self.settings.serialise_sessions:
            async with session.turn:
                reply = await self._execute(call, version, resource, parts, session, fault)
        else:
            reply = await self._execute(call, version, resource, parts, session, fault)
        return self._spoil(reply, fault)

    def _spoil(self, reply: Reply, fault: Fault | None) -> Reply:
        """What is left of a good answer."""
        if fault is None:
            return reply
        if fault.kind is Kind.LOST_AFTER:
            raise _DropError(reply if fault.at == "mid_body" else None)
        if fault.kind is Kind.TRUNCATED_BATCH:
            return replace(reply, body=reply.body[: len(reply.body) // 2])
        if fault.kind in (Kind.HTML_502, Kind.HTML_503):
            return _html(502 if fault.kind is Kind.HTML_502 else 503)
        return reply

    # ---- sessions -----------------------------------------------------------------------------------------------

    async def _login(self, call: _Call, version: str, fault: Fault | None) -> Reply:
        collision = _answer_reply(refusal(299, "SAML Login Failed", 500), version, call)
        if fault and fault.kind is Kind.LOGIN_COLLISION:
            return collision
        if self._logins_under_way and self._random.random() < self.settings.login_overlap_rate:
            return collision
        self._logins_under_way += 1
        try:
            await self._sleep(self.settings.login_s * self.settings.speed)
        finally:
            self._logins_under_way -= 1
        try:
            asked = _load(call.body)
        except RefusedError as error:
            return _answer_reply(error.answer(), version, call)
        company = self.companies.get(str(asked.get("CompanyDB")))
        text = "Fail to NONE-SSO login from SLD."
        if company is None:
            return _answer_reply(refusal(-306, text, 401), version, call)
        user = str(asked.get("UserName"))
        wrong = self._wrong_passwords.get(user, 0)
        if wrong >= self.settings.password_tries or self.users.get(user) != asked.get("Password"):
            self._wrong_passwords[user] = wrong + 1
            company.counters["login_failures"] += 1
            return _answer_reply(refusal(-304, text, 401), version, call)
        self._wrong_passwords[user] = 0
        self._expire()
        limit = self.settings.session_limit
        if limit is not None and self._open(company) >= limit:
            company.counters["login_failures"] += 1
            status, code, message = self.settings.session_limit_error
            return _answer_reply(refusal(code, message, status), version, call)
        session = Session(f"{self._random.getrandbits(128):032x}", company, user, self._clock())
        self.sessions[session.id] = session
        counters = company.counters
        counters["logins"] += 1
        counters["sessions_open"] = self._open(company)
        counters["sessions_high_water"] = max(counters["sessions_high_water"], counters["sessions_open"])
        self.sessions_high_water[user] = max(self.sessions_high_water.get(user, 0), self._open_of(user))
        body = {
            "@odata.context": "$metadata#B1Sessions/@Element",
            "SessionId": session.id,
            "Version": "1000280",
            "SessionTimeout": int(self.settings.session_timeout_min),
        }
        cookies = [("Set-Cookie", f"B1SESSION={session.id}; HttpOnly"), ("Set-Cookie", "ROUTEID=.node1; path=/b1s")]
        reply = _answer_reply(Answer(200, body), version, call)
        return replace(reply, headers=[*reply.headers, *cookies])

    def _open(self, company: Company) -> int:
        return sum(1 for session in self.sessions.values() if session.company is company)

    def _open_of(self, user: str) -> int:
        return sum(1 for session in self.sessions.values() if session.user == user)

    def _end(self, session: Session) -> None:
        self.sessions.pop(session.id, None)
        session.company.counters["sessions_open"] = self._open(session.company)

    def _expire(self) -> None:
        oldest = self._clock() - timedelta(minutes=self.settings.session_timeout_min)
        for session in [one for one in self.sessions.values() if one.used_at <= oldest]:
            self._end(session)

    def _session(self, call: _Call, *, kill: bool) -> Session | None:
        cookies = dict(part.strip().split("=", 1) for part in call.headers.get("cookie", "").split(";") if "=" in part)
        self._expire()
        session = self.sessions.get(cookies.get("B1SESSION", ""))
        if session is None:
            return None
        if kill:
            self._end(session)
            return None
        session.used_at = self._clock()
        return session

    # ---- execution ----------------------------------------------------------------------------------------------

    async def _commit_late(
        self, call: _Call, version: str, resource: str, parts: list[_Part] | Reply, session: Session, fault: Fault
    ) -> None:
        if not fault.holds:
            await self._sleep(fault.after_s)
        await self._execute(call, version, resource, parts, session, fault)

    async def _execute(
        self,
        call: _Call,
        version: str,
        resource: str,
        parts: list[_Part] | Reply,
        session: Session,
        fault: Fault | None,
    ) -> Reply:
        if resource == "$batch":
            if isinstance(parts, Reply):
                return parts
            return await self._run_batch(call, version, parts, session, fault)
        if call.method == "GET":
            answer = await self._read(session.company, resource, call.query, call.headers, fault)
            return _answer_reply(answer, version, call)
        try:
            body = _load(call.body) if call.body else {}
        except RefusedError as error:
            return _answer_reply(error.answer(), version, call)
        request = Request(call.method, resource, body, headers=call.headers)
        answers = await self._change(session.company, (request,), fault)
        return _answer_reply(answers[0], version, call)

    async def _read(
        self, company: Company, path: str, query: Mapping[str, str], headers: Mapping[str, str], fault: Fault | None
    ) -> Answer:
        await self._sleep(self.settings.read_s * self.settings.speed)
        if fault and fault.kind is Kind.ERROR:
            return refusal(fault.code, fault.text, fault.status)
        return company.read(path, query, headers)

    async def _change(self, company: Company, requests: Sequence[Request], fault: Fault | None) -> list[Answer]:
        """One change set in service: take the locks, take the time, commit, let go."""
        settings = self.settings
        work = company.work(requests)
        holder = f"request:{next(self._holders)}"
        names = (*sorted(work.items), *sorted(work.keys))
        taken: list[str] = []
        try:
            for name in names:
                if not await self._take(company, name, holder):
                    return [company.locked_error().answer()]
                taken.append(name)
            time_s = work.documents * settings.base_s + work.lines * settings.per_line_s + work.rows * settings.row_s
            await self._sleep(time_s * settings.speed)
            if fault and fault.kind is Kind.LATE_COMMIT and fault.holds:
                await self._sleep(fault.after_s)
            refused = _business_refusal(fault)
            if refused is not None and not (fault and fault.commit):
                return [refused]
            rules = company.rules
            if fault and fault.kind is Kind.APPROVAL:
                company.rules = replace(rules, approval=_DOCUMENT_SETS)
            try:
                answers = company.apply(requests, holder)
            finally:
                company.rules = rules
            return answers if refused is None else [refused]
        finally:
            for name in taken:
                company.unlock(name, holder)
            if taken:
                self._wake()

    async def _take(self, company: Company, name: str, holder: str) -> bool:
        started: datetime | None = None
        cause = ""
        try:
            while not company.lock(name, holder):
                now = self._clock()
                if started is None:
                    started = now
                    cause = lock_cause(name, company.holder(name) or "")
                    company.counters[f"lock_waits_{cause}"] += 1
                left = self.settings.lock_wait_s - (now - started).total_seconds()
                if left <= 0 or not await self._wait_released(left):
                    return False
            return True
        finally:
            if started is not None:
                company.counters[f"lock_wait_{cause}_s"] += (self._clock() - started).total_seconds()

    async def _wait_released(self, seconds: float) -> bool:
        """Wait until something is given back; False if the time is over first."""
        event = asyncio.create_task(self._released.wait())
        timer = asyncio.ensure_future(self._sleep(seconds))
        try:
            await asyncio.wait({event, timer}, return_when=asyncio.FIRST_COMPLETED)
            return event.done()
        finally:
            for task in (event, timer):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    def _wake(self) -> None:
        self._released.set()
        self._released = asyncio.Event()

    # ---- batches ------------------------------------------------------------------------------------------------

    def _batch_parts(self, call: _Call, version: str) -> list[_Part] | Reply:
        kind = call.headers.get("content-type", "")
        boundary = _BOUNDARY.search(kind)
        if call.method != "POST" or boundary is None or '"' in kind or not kind.startswith("multipart/mixed"):
            return _html(405)
        try:
            return _parse_batch(call.body, boundary[1], strict=version == "v2")
        except RefusedError as error:
            return _answer_reply(error.answer(), version, call)

    async def _run_batch(
        self, call: _Call, version: str, parts: Iterable[_Part], session: Session, fault: Fault | None
    ) -> Reply:
        """Run the parts in order and stop at the first that fails; what came before it stays."""
        made: list[bytes] = []
        waiting = fault
        for part in parts:
            if isinstance(part, Request) and part.method == "GET":
                path, _, query = part.path.partition("?")
                options = dict(parse_qsl(query, keep_blank_values=True))
                answers = [await self._read(session.company, path, options, part.headers, waiting)]
            else:
                answers = await self._change(session.company, _requests(part), waiting)
                if waiting and _business_refusal(waiting) is not None:
                    waiting = None
            failed = answers[0].status >= 400
            if isinstance(part, _ChangeSet) and not failed:
                made.append(_set_part(part, answers, version, call, len(made)))
            else:
                content_id = part.content_id if isinstance(part, Request) else None
                made.append(_http_part(answers[0], content_id, version, call))
            if failed:
                break
        if fault and fault.kind is Kind.REORDERED_BATCH:
            made.reverse()
        boundary = "batchresponse_7f1e"
        headers = [("Content-Type", f"multipart/mixed; boundary={boundary}"), *_common(version)]
        return Reply(202 if version == "v1" else 200, headers, _multipart(made, boundary))

    # ---- administration -----------------------------------------------------------------------------------------

    def _administer(self, call: _Call) -> Reply:
        """The surface for tests, demo and checker: no session, no faults, no delay."""
        name = call.path.removeprefix("/_simulator/")
        try:
            asked = _load(call.body) if call.body else {}
            return self._administered(call, name, asked)
        except RefusedError as error:
            return _json_reply(error.status, {"error": error.text})
        except (KeyError, TypeError, ValueError) as error:
            return _json_reply(400, {"error": f"{type(error).__name__}: {error}"})

    def _company(self, asked: Mapping[str, Any], query: Mapping[str, str]) -> Company:
        name = asked.get("company") or query.get("company")
        return self.companies[str(name)] if name else next(iter(self.companies.values()))

    def _administered(self, call: _Call, name: str, asked: Mapping[str, Any]) -> Reply:
        company = self._company(asked, call.query)
        result: Any = {"ok": True}
        match (call.method, name):
            case ("GET", "ledger"):
                reply = _json_reply(200, company.ledger(with_documents=call.query.get("documents") != "0"))
                if "gzip" not in call.headers.get("accept-encoding", ""):
                    return reply
                packed = gzip.compress(reply.body, compresslevel=1)
                return replace(reply, headers=[*reply.headers, ("Content-Encoding", "gzip")], body=packed)
            case ("GET", "documents"):
                result = company.documents(int(call.query.get("after", 0)), int(call.query.get("limit", 500)))
            case ("GET", "counters"):
                self._expire()
                result = {
                    "companies": {key: dict(one.counters) for key, one in self.companies.items()},
                    "sequences": {key: one.sequence for key, one in self.companies.items()},
                    "users": {
                        user: {"sessions_open": self._open_of(user), "sessions_high_water": most}
                        for user, most in self.sessions_high_water.items()
                    },
                    "faults": dict(self.faults.injected),
                    "scripts_left": self.faults.scripts_left,
                    "outage": self.faults.outage,
                    "late_commits_waiting": len(self._late),
                }
            case ("POST", "faults"):
                self.faults.update(asked)
            case ("POST", "lock" | "unlock"):
                holder = f"people:{asked.get('holder', 'person')}"
                if name == "lock":
                    result = {"locked": [item for item in asked["items"] if company.lock(item, holder)]}
                else:
                    for item in asked["items"]:
                        company.unlock(item, holder)
                    self._wake()
            case ("POST", "kill-sessions"):
                killed = list(self.sessions.values())
                for session in killed:
                    self._end(session)
                result = {"killed": len(killed)}
            case ("POST", "outage"):
                mode = asked.get("mode", "html_503")
                if mode not in ("html_503", "drop"):
                    raise ValueError(f"unknown outage mode {mode}")
                self.faults.outage = mode if asked["on"] else None
            case ("POST", "master-data"):
                company.load({key: value for key, value in asked.items() if key != "company"})
            case ("POST", "settings"):
                self.settings = self.settings.changed({key: value for key, value in asked.items() if key != "company"})
            case ("POST", "requests"):
                holder = f"people:{asked.get('holder', 'person')}"
                requests = [Request(one["method"], one["path"], one.get("body")) for one in asked["requests"]]
                answers = company.apply(requests, holder)
                result = [{"status": answer.status, "body": answer.body} for answer in answers]
            case ("POST", "pay"):
                company.pay(int(asked["invoice"]))
            case ("POST", "unlock-users"):
                self._wrong_passwords.clear()
            case ("POST", "backup"):
                self._backups[company.name] = company.backup()
            case ("POST", "restore"):
                company.restore(self._backups[company.name])
            case _:
                return _json_reply(404, {"error": f"no route {call.method} {name}"})
        return _json_reply(200, result)


def build_app(
    company: Company | Mapping[str, Company],
    *,
    users: Mapping[str, str],
    clock: Callable[[], datetime],
    random: Random,
    faults: Faults | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    settings: Settings | None = None,
) -> ServiceLayer:
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
    return ServiceLayer(
        companies,
        users=users,
        faults=faults or Faults(),
        clock=clock,
        sleep=sleep,
        random=random,
        settings=settings or Settings(),
    )


def encode(value: Any) -> str:
    """JSON text; a Decimal is a number with exactly its digits.

    Raises:
        TypeError: for what JSON has no shape for.
    """
    if isinstance(value, str):
        return encode_basestring_ascii(value)
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{encode_basestring_ascii(str(k))}:{encode(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(encode(member) for member in value) + "]"
    raise TypeError(f"{type(value).__name__} has no JSON form")


def _load(body: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(body, parse_float=Decimal)
    except ValueError:
        raise RefusedError(-1000, "Invalid JSON body") from None
    if not isinstance(loaded, dict):
        raise RefusedError(-1000, "Invalid JSON body")
    return loaded


def _business_refusal(fault: Fault | None) -> Answer | None:
    if fault is None:
        return None
    match fault.kind:
        case Kind.DUPLICATE:
            return refusal(-2035, "This entry already exists in the following tables (ODBC -2035)")
        case Kind.LOCKED:
            return refusal(-2035, "Object locked by another user (ODBC -2035)")
        case Kind.CONFLICT:
            text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
            return refusal(-2039, text)
        case Kind.CLOSED_PERIOD:
            return refusal(-4013, "Posting period locked; specify an alternative date")
        case Kind.ERROR:
            return refusal(fault.code, fault.text, fault.status)
        case _:
            return None


# ---- the wire ---------------------------------------------------------------------------------------------------


async def _send(send: Send, reply: Reply, length: int, *, more: bool) -> None:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in reply.headers]
    if reply.status != 204:
        headers.append((b"content-length", str(length).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body, "more_body": more})


def _html(status: int) -> Reply:
    title = {404: "Not Found", 405: "Method Not Allowed", 502: "Proxy Error", 503: "Service Unavailable"}[status]
    page = _PROXY_ERROR.format(status=status, title=title).encode()
    return Reply(status, [("Content-Type", "text/html; charset=iso-8859-1"), ("Server", "Apache/2.4.61")], page)


def _json_reply(status: int, body: Any) -> Reply:
    return Reply(status, [("Content-Type", "application/json")], encode(body).encode())


def _common(version: str) -> Headers:
    headers = [("Server", "Apache/2.4.61"), ("Vary", "Accept-Encoding"), ("Keep-Alive", "timeout=5, max=100")]
    return headers if version == "v1" else [*headers, ("OData-Version", "4.0")]


def _root(version: str, call: _Call) -> str:
    return f"https://{call.headers.get('host', 'localhost')}/b1s/{version}/"


def _wire(answer: Answer, version: str, call: _Call) -> tuple[Headers, bytes]:
    """Headers and body of an answer in a version's shape."""
    root = _root(version, call)
    headers: Headers = []
    for name, value in answer.headers.items():
        headers.append((name, root + value if name == "Location" else value))
    if answer.headers.get("Content-Type") == "text/plain":
        return headers, str(answer.body).encode()
    if answer.body is None:
        return headers, b""
    body = answer.body
    if isinstance(body, Mapping) and "@odata.context" in body:
        body = {**body, "@odata.context": root + str(body["@odata.context"])}
    if version == "v1":
        body = _as_v1(body)
        headers.append(("Content-Type", "application/json;odata=minimalmetadata;charset=utf-8"))
    else:
        headers.append(("Content-Type", "application/json;odata.metadata=minimal;charset=utf-8"))
    return headers, encode(body).encode()


def _as_v1(value: Any) -> Any:
    if isinstance(value, Mapping):
        error = value.get("error")
        if len(value) == 1 and isinstance(error, Mapping):
            return {"error": {"code": int(error["code"]), "message": {"lang": "en-us", "value": error["message"]}}}
        shaped = {_V1_NAMES.get(name, name): _as_v1(member) for name, member in value.items()}
        if "odata.count" in shaped:
            shaped["odata.count"] = str(shaped["odata.count"])
        return shaped
    if isinstance(value, list):
        return [_as_v1(member) for member in value]
    if isinstance(value, str) and _DATE.match(value):
        return value[:10]
    return value


def _answer_reply(answer: Answer, version: str, call: _Call) -> Reply:
    headers, body = _wire(answer, version, call)
    return Reply(answer.status, [*headers, *_common(version)], body)


def _http_part(answer: Answer, content_id: str | None, version: str, call: _Call) -> bytes:
    headers, body = _wire(answer, version, call)
    lines = ["Content-Type: application/http", "Content-Transfer-Encoding: binary"]
    if content_id is not None:
        lines.append(f"Content-ID: {content_id}")
    lines += ["", f"HTTP/1.1 {answer.status} {_PHRASES.get(answer.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in headers]
    if content_id is not None:
        lines.append(f"Content-ID: {content_id}")
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def _set_part(part: _ChangeSet, answers: Sequence[Answer], version: str, call: _Call, number: int) -> bytes:
    boundary = f"changesetresponse_{number}"
    inner = [
        _http_part(answer, request.content_id, version, call)
        for request, answer in zip(part.requests, answers, strict=True)
    ]
    return f"Content-Type: multipart/mixed; boundary={boundary}\r\n\r\n".encode() + _multipart(inner, boundary)


def _multipart(parts: Iterable[bytes], boundary: str) -> bytes:
    mark = f"--{boundary}".encode()
    return b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--\r\n"


def _bare(path: str) -> str:
    for root in ("b1s/v1/", "b1s/v2/"):
        path = path.lstrip("/").removeprefix(root)
    return path


def _requests(part: _Part) -> tuple[Request, ...]:
    return part.requests if isinstance(part, _ChangeSet) else (part,)


def _incomplete() -> RefusedError:
    return RefusedError(-1000, "Incomplete Batch Request Body!")


def _split_multipart(body: bytes, boundary: str) -> list[bytes]:
    mark = b"--" + boundary.encode()
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--") or any(not p.startswith(b"\r\n") for p in pieces[1:-1]):
        raise _incomplete()
    return [piece[2:] for piece in pieces[1:-1]]


def _head(part: bytes) -> tuple[list[str], dict[str, str], bytes]:
    """First line and header lines up to the empty line, and what follows it."""
    head, gap, rest = part.partition(b"\r\n\r\n")
    if not gap:
        raise _incomplete()
    lines = head.decode("utf-8", "replace").split("\r\n")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon and " " not in name:
            headers[name.strip().lower()] = value.strip()
    return lines, headers, rest


def _parse_batch(body: bytes, boundary: str, *, strict: bool) -> list[_Part]:
    """The parts of a `$batch`.

    Args:
        body: multipart text.
        boundary: unquoted.
        strict: whether each request of a change set needs a Content-ID (v2).

    Raises:
        RefusedError: -1000 for anything that is not well-formed.
    """
    parts: list[_Part] = []
    for piece in _split_multipart(body, boundary):
        _, headers, rest = _head(piece)
        kind = headers.get("content-type", "")
        if kind.startswith("multipart/mixed"):
            inner = _BOUNDARY.search(kind)
            if inner is None or '"' in kind:
                raise _incomplete()
            requests = []
            for member in _split_multipart(rest, inner[1]):
                _, member_headers, member_rest = _head(member)
                if not member_headers.get("content-type", "").startswith("application/http"):
                    # A change set in a change set, or no request at all.
                    raise _incomplete()
                request = _parse_request(member_headers, member_rest)
                if strict and request.content_id is None:
                    raise RefusedError(-1000, "Content-ID is mandatory for each request of a change set")
                requests.append(request)
            parts.append(_ChangeSet(tuple(requests)))
        elif kind.startswith("application/http") and headers.get("content-transfer-encoding") == "binary":
            parts.append(_parse_request(headers, rest))
        else:
            raise _incomplete()
    return parts


def _parse_request(outer: Mapping[str, str], text: bytes) -> Request:
    lines, headers, body = _head(text)
    match lines[0].split(" "):
        case [method, path] | [method, path, "HTTP/1.1" | "HTTP/1.0"]:
            pass
        case _:
            raise _incomplete()
    content_id = outer.get("content-id") or headers.get("content-id")
    stripped = body.strip()
    return Request(method, _bare(path), _load(stripped) if stripped else None, content_id, headers)
