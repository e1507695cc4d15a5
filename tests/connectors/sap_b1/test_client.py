"""The Service Layer over httpx, against a few lines of server."""

import asyncio
import json
import random
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.base.errors import FatalError
from connectors.base.settings import Secret
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.service_layer import (
    AnswerUnknownError,
    B1Request,
    NotSentError,
    PasswordRefusedError,
    UnavailableError,
    quote_literal,
)

URL = "https://b1.example:50000/b1s/v2"
PASSWORD = "hunter2-canary"
CLAIM = [B1Request("POST", "U_STREAMS_CLAIM", {"Code": "k"})]


def refusal(status: int, code: int, text: str = "no") -> httpx.Response:
    return httpx.Response(status, json={"error": {"code": str(code), "message": text}})


def batch(*bodies: object, status: int = 200, nested: bool = False) -> httpx.Response:
    def part(body: object) -> str:
        text = json.dumps(body)
        return f"Content-Type: application/http\r\n\r\nHTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}"

    parts = "".join(f"--b\r\n{part(body)}\r\n" for body in bodies) + "--b--\r\n"
    if nested:
        parts = f"--o\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}\r\n--o--\r\n"
    kind = f"multipart/mixed; boundary={'o' if nested else 'b'}"
    return httpx.Response(200, headers={"Content-Type": kind}, content=parts.encode())


class Server:
    """A Service Layer that answers every batch with one good part, unless `answer` says something else."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response | None] = lambda _: None) -> None:
        self.answer = answer
        self.logins = 0
        self.logouts: list[str] = []
        self.logging_in = 0
        self.most_logging_in = 0
        self.live: set[str] = set()
        self.used: list[str] = []
        self.gate: asyncio.Event | None = None
        self.login_answers: list[httpx.Response] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.rpartition("/")[2]
        session = dict(c.split("=", 1) for c in request.headers.get("cookie", "").split("; ") if c).get("B1SESSION", "")
        if path == "Login":
            return await self._login(request)
        if path == "Logout":
            self.logouts.append(session)
            self.live.discard(session)
            return httpx.Response(204)
        if session not in self.live:
            return refusal(401, 301, "Invalid session or session already timeout.")
        self.used.append(session)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answer(request)
        if answer is not None:
            return answer
        if path != "$batch":
            return httpx.Response(200, json={"DocTotal": 1})
        return batch({"Code": "k"}, nested=b"changeset" in request.content)

    async def _login(self, request: httpx.Request) -> httpx.Response:
        assert json.loads(request.content)["Password"] == PASSWORD
        self.logging_in += 1
        self.most_logging_in = max(self.most_logging_in, self.logging_in)
        await asyncio.sleep(0)
        self.logging_in -= 1
        self.logins += 1
        if self.login_answers:
            return self.login_answers.pop(0)
        name = f"s{self.logins}"
        self.live.add(name)
        cookies = [
            ("Set-Cookie", f"B1SESSION={name};HttpOnly;"),
            ("Set-Cookie", f"ROUTEID=.node{self.logins}; path=/b1s"),
        ]
        return httpx.Response(200, headers=cookies, json={"SessionId": name, "SessionTimeout": 30})


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


class Sleeps:
    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def connect(server: Callable[[httpx.Request], object], limit: int = 1, **more: object) -> HttpServiceLayer:
    return HttpServiceLayer(
        URL,
        "SBO",
        "streams",
        Secret("env:X", PASSWORD),
        session_limit=limit,
        transport=httpx.MockTransport(server),
        random=random.Random(1),
        sleep=Sleeps(),
        **more,
    )  # type: ignore[arg-type]


def raising(error: type[httpx.HTTPError]) -> Callable[[httpx.Request], None]:
    def answer(request: httpx.Request) -> None:
        raise error("x")

    return answer


class TestSessions:
    async def test_one_login_serves_every_call(self) -> None:
        server = Server()
        layer = connect(server)
        for _ in range(5):
            await layer.change_set(CLAIM)
        await layer.close()
        assert (server.logins, server.logouts, server.live) == (1, ["s1"], set())

    async def test_calls_spread_over_the_sessions_and_each_keeps_its_own_cookies(self) -> None:
        server = Server()
        server.gate = asyncio.Event()
        layer = connect(server, limit=2)
        calls = [asyncio.create_task(layer.change_set(CLAIM)) for _ in range(6)]
        await until(lambda: len(server.used) == 6)
        server.gate.set()
        await asyncio.gather(*calls)
        await layer.close()
        assert {name: server.used.count(name) for name in ("s1", "s2")} == {"s1": 3, "s2": 3}
        assert server.most_logging_in == 1
        assert sorted(server.logouts) == ["s1", "s2"]

    async def test_a_session_that_expired_is_renewed_once_for_all_who_wait(self) -> None:
        server = Server()
        layer = connect(server)
        await layer.change_set(CLAIM)
        server.live.clear()
        answers = await asyncio.gather(*(layer.change_set(CLAIM) for _ in range(8)))
        assert all(answer.ok for (answer,) in answers)
        assert server.logins == 2
        await layer.close()

    async def test_a_session_refused_inside_a_batch_is_renewed_too(self) -> None:
        answers = [batch({"error": {"code": "301", "message": "x"}}, status=401)]
        server = Server(lambda _: answers.pop() if answers else None)
        layer = connect(server)
        assert (await layer.change_set(CLAIM))[0].ok
        assert server.logins == 2
        await layer.close()

    @pytest.mark.parametrize("number", [301, 407])
    async def test_a_customers_own_refusal_number_asks_for_no_new_login(self, number: int) -> None:
        error = {"error": {"code": str(number), "message": f"({number}) order without a channel"}}
        server = Server(lambda _: batch(error, status=400))
        layer = connect(server)
        for _ in range(3):
            (answer,) = await layer.change_set(CLAIM)
            assert answer.error[0] == str(number)
        assert (server.logins, server.logouts) == (1, [])
        await layer.close()

    async def test_a_session_refused_right_after_its_login_is_not_asked_for_again_and_again(self) -> None:
        server = Server(lambda _: refusal(401, 301))
        layer = connect(server)
        with pytest.raises(UnavailableError):
            await layer.change_set(CLAIM)
        assert server.logins == 2
        await layer.close()

    async def test_a_node_with_stale_metadata_is_left_by_a_new_login_once_a_minute(self) -> None:
        server = Server(lambda _: refusal(500, 407, "Table definition not found for '@X'"))
        layer = connect(server)
        for _ in range(3):
            with pytest.raises(UnavailableError):
                await layer.change_set(CLAIM)
        assert server.logins == 2
        assert server.logouts == ["s1"]
        await layer.close()

    async def test_logins_that_collide_are_tried_again(self) -> None:
        server = Server()
        server.login_answers = [refusal(500, 299, "SAML Login Failed")] * 2
        layer = connect(server)
        assert (await layer.change_set(CLAIM))[0].ok
        assert server.logins == 3
        await layer.close()

    async def test_a_wrong_password_is_tried_once_and_half_an_hour_later(self, clock: Any) -> None:
        server = Server()
        server.login_answers = [refusal(401, -304, "Fail to NONE-SSO login from SLD.") for _ in range(50)]
        layer = connect(server, limit=4, clock=clock)
        results = await asyncio.gather(*(layer.change_set(CLAIM) for _ in range(8)), return_exceptions=True)
        results += await asyncio.gather(layer.read(["Items"]), return_exceptions=True)
        assert all(isinstance(result, PasswordRefusedError) for result in results)
        assert server.logins == 1
        assert all(PASSWORD not in repr(result) for result in results)
        assert "locked" in str(results[0])
        await clock.sleep(1801)
        with pytest.raises(PasswordRefusedError):
            await layer.read(["Items"])
        assert server.logins == 2
        server.login_answers = []
        await clock.sleep(1801)
        await layer.read(["Items"])
        await layer.close()

    async def test_another_process_does_not_try_a_refused_password_but_another_one(
        self, clock: Any, tmp_path: Path
    ) -> None:
        remembered = tmp_path / "state" / "refused.json"
        server = Server()
        server.login_answers = [refusal(401, -304, "Fail to NONE-SSO login from SLD.")]
        for tries in (1, 1):
            layer = connect(server, clock=clock, refused_logins=remembered)
            with pytest.raises(PasswordRefusedError) as refused:
                await layer.read(["Items"])
            assert refused.value.retry_in_s == 1800
            assert server.logins == tries
            await layer.close()
        assert PASSWORD not in remembered.read_text()
        other = HttpServiceLayer(
            URL,
            "SBO",
            "streams",
            Secret("env:X", "another"),
            transport=httpx.MockTransport(lambda request: refusal(401, -304, "Fail to NONE-SSO login from SLD.")),
            clock=clock,
            refused_logins=remembered,
        )
        with pytest.raises(PasswordRefusedError, match="HTTP 401"):
            await other.read(["Items"])
        await other.close()

    async def test_a_login_that_is_taken_again_is_forgotten_as_refused(self, clock: Any, tmp_path: Path) -> None:
        remembered = tmp_path / "refused.json"
        server = Server()
        server.login_answers = [refusal(401, -304, "Fail to NONE-SSO login from SLD.")]
        layer = connect(server, clock=clock, refused_logins=remembered)
        with pytest.raises(PasswordRefusedError):
            await layer.read(["Items"])
        await clock.sleep(1801)
        await layer.read(["Items"])
        await layer.close()
        assert remembered.read_text() == "{}"

    async def test_a_memory_that_cannot_be_written_or_read_is_done_without(self, clock: Any, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("[1")
        for place in (tmp_path / "file", tmp_path / "file" / "below"):
            server = Server()
            server.login_answers = [refusal(401, -304, "Fail to NONE-SSO login from SLD.")]
            layer = connect(server, clock=clock, refused_logins=place)
            for _ in range(2):
                with pytest.raises(PasswordRefusedError):
                    await layer.read(["Items"])
            assert server.logins == 1
            await layer.close()

    async def test_a_login_refused_for_the_limit_says_so(self) -> None:
        server = Server()
        server.login_answers = [refusal(500, 100000085, "Maximum number of sessions of this user is reached")]
        layer = connect(server)
        with pytest.raises(UnavailableError, match="limit is reached"):
            await layer.change_set(CLAIM)
        await layer.close()

    async def test_with_one_session_granted_the_pool_works_with_that_one(self) -> None:
        server = Server()
        layer = connect(server, limit=2)
        await layer.change_set(CLAIM)
        server.gate = asyncio.Event()
        server.login_answers = [refusal(500, 100000085, "Maximum number of sessions of this user is reached")] * 9
        calls = [asyncio.create_task(layer.change_set(CLAIM)) for _ in range(4)]
        await until(lambda: len(server.used) == 5)
        server.gate.set()
        await asyncio.gather(*calls)
        assert set(server.used) == {"s1"}
        assert server.logins == 2
        await layer.close()

    async def test_a_caller_who_gives_up_does_not_end_the_login_for_the_others(self) -> None:
        server = Server()
        layer = connect(server)
        first = asyncio.create_task(layer.change_set(CLAIM))
        second = asyncio.create_task(layer.change_set(CLAIM))
        await until(lambda: server.logging_in > 0)
        first.cancel()
        assert (await second)[0].ok
        with pytest.raises(asyncio.CancelledError):
            await first
        await layer.close()
        assert (server.logins, server.live) == (1, set())

    async def test_nothing_is_sent_after_close(self) -> None:
        layer = connect(Server())
        await layer.close()
        with pytest.raises(NotSentError):
            await layer.change_set(CLAIM)
        assert not await layer.ping()

    async def test_who_waits_for_a_login_that_close_ends_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("connectors.sap_b1.sessions.LOGOUT_TIMEOUT_S", 0.01)
        waiting = asyncio.Event()

        async def silent(request: httpx.Request) -> httpx.Response:
            waiting.set()
            await asyncio.Event().wait()
            raise AssertionError

        layer = connect(silent)
        call = asyncio.create_task(layer.change_set(CLAIM))
        await waiting.wait()
        await layer.close()
        with pytest.raises(NotSentError):
            await call

    async def test_close_does_not_wait_for_a_b1_that_is_gone(self) -> None:
        server = Server()
        layer = connect(server)
        await layer.change_set(CLAIM)

        async def gone(request: httpx.Request) -> httpx.Response:
            raise httpx.ConnectError("x")

        layer._client._transport = httpx.MockTransport(gone)
        await layer.close()

    async def test_every_call_is_told_to_the_meter(self) -> None:
        told: list[tuple[str, str]] = []
        answers = [
            batch({"error": {"code": "-2035", "message": "x"}}, status=400),
            refusal(400, -10),
            httpx.Response(502),
        ]
        server = Server(lambda _: answers.pop(0) if answers else None)
        layer = connect(server, on_call=lambda operation, label, seconds: told.append((operation, label)))
        await layer.change_set(CLAIM)
        await layer.post("OrdersService_Preview", {})
        with pytest.raises(UnavailableError):
            await layer.read(["Items"])
        await layer.ping()
        await layer.close()
        assert told == [
            ("login", "ok"),
            ("change_set", "-2035"),
            ("post", "-10"),
            ("read", "http_5xx"),
            ("ping", "ok"),
            ("logout", "ok"),
        ]


class TestDoor:
    @pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout])
    async def test_what_never_left_is_not_sent(self, error: type[httpx.HTTPError]) -> None:
        layer = connect(Server(raising(error)))
        with pytest.raises(NotSentError):
            await layer.change_set(CLAIM)
        with pytest.raises(NotSentError):
            await layer.read(["Items"])
        await layer.close()

    @pytest.mark.parametrize(
        "error",
        [
            httpx.ReadTimeout,
            httpx.WriteTimeout,
            httpx.ReadError,
            httpx.WriteError,
            httpx.RemoteProtocolError,
            httpx.DecodingError,
        ],
    )
    async def test_a_write_without_an_answer_is_unknown_and_a_read_unavailable(
        self, error: type[httpx.HTTPError]
    ) -> None:
        layer = connect(Server(raising(error)))
        with pytest.raises(AnswerUnknownError):
            await layer.change_set(CLAIM)
        with pytest.raises(AnswerUnknownError):
            await layer.post("OrdersService_Preview", {})
        with pytest.raises(UnavailableError):
            await layer.read(["Items"])
        await layer.close()

    @pytest.mark.parametrize(
        "answer",
        [
            httpx.Response(500, text="oops"),
            httpx.Response(502, html="<h1>Proxy Error</h1>"),
            httpx.Response(503),
            httpx.Response(504),
            httpx.Response(500, json={"error": {"code": "-1", "message": "x"}}),
            httpx.Response(302, headers={"Location": "https://elsewhere.example/"}),
            httpx.Response(200, html="<h1>hello</h1>"),
            httpx.Response(200, json={"value": 1}),
            httpx.Response(200, headers={"Content-Type": "multipart/mixed; boundary=b"}, content=b"--b\r\n"),
            httpx.Response(200, headers={"Content-Type": "multipart/mixed; boundary=b"}, content=b""),
        ],
    )
    async def test_any_answer_that_leaves_a_write_open_is_unknown(self, answer: httpx.Response) -> None:
        layer = connect(Server(lambda _: answer))
        with pytest.raises(AnswerUnknownError):
            await layer.change_set(CLAIM)
        with pytest.raises(UnavailableError):
            await layer.read(["Items"])
        await layer.close()

    async def test_throttling_is_unavailable_and_carries_how_long(self) -> None:
        layer = connect(Server(lambda _: httpx.Response(429, headers={"Retry-After": "7"})))
        with pytest.raises(UnavailableError) as caught:
            await layer.change_set(CLAIM)
        assert caught.value.retry_after_s == 7
        await layer.close()

    async def test_a_malformed_batch_is_an_answer(self) -> None:
        layer = connect(Server(lambda _: refusal(400, -1000, "Incomplete Batch Request Body!")))
        assert [answer.error for answer in await layer.change_set(CLAIM)] == [
            ("-1000", "Incomplete Batch Request Body!")
        ]
        await layer.close()

    async def test_reads_go_on_after_one_that_failed(self) -> None:
        def answer(request: httpx.Request) -> httpx.Response:
            return batch({"error": {"code": "-2028", "message": "x"}}, status=404)

        server = Server(answer)
        layer = connect(server)
        answers = await layer.read(["Orders(1)", "Orders(2)", "Orders(3)"])
        assert [answer.status for answer in answers] == [404, 404, 404]
        assert len(server.used) == 3
        await layer.close()

    async def test_fewer_good_answers_than_reads_are_not_believed(self) -> None:
        layer = connect(Server(lambda _: batch({"value": []})))
        with pytest.raises(UnavailableError):
            await layer.read(["Orders", "Invoices"])
        await layer.close()

    async def test_no_error_and_no_url_holds_what_was_sent(self) -> None:
        urls: list[str] = []

        def answer(request: httpx.Request) -> httpx.Response:
            urls.append(str(request.url))
            return httpx.Response(
                500, json={"error": {"code": "-1", "message": "Customer 'Jane Canary' jane@canary.example"}}
            )

        layer = connect(Server(answer))
        with pytest.raises(AnswerUnknownError) as unknown:
            await layer.change_set([B1Request("POST", "Orders", {"CardName": "Jane Canary"})])
        with pytest.raises(UnavailableError) as unavailable:
            await layer.read([f"BusinessPartners?$filter=EmailAddress eq {quote_literal('jane@canary.example')}"])
        text = f"{unknown.value!r} {unavailable.value!r} {urls}".lower()
        assert "canary" not in text
        assert unknown.value.__cause__ is None
        await layer.close()

    @pytest.mark.parametrize(
        ("answer", "alive"), [(httpx.Response(200), True), (httpx.Response(404), True), (httpx.Response(503), False)]
    )
    async def test_ping_asks_the_balancer_without_a_session(self, answer: httpx.Response, alive: bool) -> None:
        seen: list[httpx.Request] = []

        async def server(request: httpx.Request) -> httpx.Response:
            seen.append(request)
            return answer

        layer = connect(server)
        assert await layer.ping() is alive
        assert [str(request.url) for request in seen] == ["https://b1.example:50000/ping/"]
        await layer.close()

    def test_verification_cannot_be_switched_off(self) -> None:
        with pytest.raises(FatalError, match="CA file"):
            connect(Server(), verify=False)

    def test_a_ca_file_that_cannot_be_read_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(FatalError, match="CA certificates"):
            connect(Server(), verify=tmp_path / "none.pem")

    async def test_proxies_of_the_environment_are_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        layer = HttpServiceLayer(URL, "SBO", "streams", Secret("env:X", PASSWORD))
        assert layer._client.trust_env is False
        assert not any(layer._client._mounts.values())
        context = layer._client._transport._pool._ssl_context
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
        await layer.close()


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("A1", "'A1'"),
        ("ABC'DEF", "'ABC%27%27DEF'"),
        ("a/b#c?d%e+f\\g", "'a%2Fb%23c%3Fd%25e%2Bf%5Cg'"),
        ("x' or 1 eq 1 or Code eq 'y", "'x%27%27%20or%201%20eq%201%20or%20Code%20eq%20%27%27y'"),
        ("grün\r\n", "'gr%C3%BCn%0D%0A'"),
        ("\ud800", "'%3F'"),
        ("", "''"),
    ],
)
def test_a_literal_is_quoted(value: str, literal: str) -> None:
    assert quote_literal(value) == literal
