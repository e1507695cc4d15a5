"""`ServiceLayer` over httpx."""

import asyncio
import random as random_module
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from connectors.base.clock import Clock, SystemClock
from connectors.base.errors import FatalError
from connectors.base.http import retry_after_s
from connectors.base.settings import Secret
from connectors.sap_b1.answers import answer_of, checked_write, unreachable
from connectors.sap_b1.change_set import (
    CONTENT_TYPE,
    B1Answer,
    B1Request,
    IncompleteError,
    encode_change_set,
    encode_json,
    encode_reads,
    parse_change_set,
    parse_reads,
)
from connectors.sap_b1.error_codes import OutcomeClass, Phase, classify
from connectors.sap_b1.refused_logins import RefusedLogin
from connectors.sap_b1.service_layer import AnswerUnknownError, NotSentError, UnavailableError, describe
from connectors.sap_b1.sessions import Exchange, OnCall, SessionPool

MAX_CONNECTIONS = 8  # more makes httpx slower (measured)
KEEPALIVE_S = 3.0  # Apache closes an idle connection after 5 s; a reused one may die under a POST
READS_PER_BATCH = 50


class HttpServiceLayer:
    """A `ServiceLayer` over HTTP.

    Args:
        url: Of the service, `https://host:50000/b1s/v2`.
        verify: True, or a file of certificate authorities. There is no way to switch verification off.
        session_limit: How many B1 sessions it may hold at once.
        refused_logins: The file in which processes remember what B1 refused; None: each for itself.
        transport: In place of the network, for tests.
        sleep: Awaited between tries of a login.
        on_call: Told of every call: operation, label of its result, seconds.
        page_rows: What a page may hold at most; None: B1's own setting.

    Raises:
        FatalError: The file of certificate authorities cannot be used.
    """

    def __init__(
        self,
        url: str,
        company_db: str,
        username: str,
        password: Secret,
        verify: bool | str | Path = True,
        session_limit: int = 2,
        refused_logins: Path | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_call: OnCall | None = None,
        page_rows: int | None = None,
    ) -> None:
        self._page_rows = page_rows
        root = url.rstrip("/")
        parts = urlsplit(root)
        self._path = parts.path
        self._host = f"{parts.scheme}://{parts.netloc}"
        self._client = httpx.AsyncClient(
            transport=transport,
            verify=_tls(verify),
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS, keepalive_expiry=KEEPALIVE_S
            ),
            # Each session keeps its own cookies: the client's jar must take none
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        )
        self._clock = clock or SystemClock()
        self._on_call = on_call
        credentials = {"CompanyDB": company_db, "UserName": username}
        self._sessions = SessionPool(
            self._client,
            root,
            credentials,
            password,
            RefusedLogin(root, credentials, password, self._clock, refused_logins),
            session_limit,
            self._clock,
            random or random_module.Random(),  # noqa: S311 -- jitter
            sleep,
            on_call,
        )

    async def change_set(self, requests: Sequence[B1Request]) -> list[B1Answer]:
        content = encode_change_set(requests, self._path)
        response = await self._write(Exchange("change_set", "$batch", content, CONTENT_TYPE, 120))
        if response.status_code not in (200, 202):
            refusal = checked_write(response, self._clock.now())
            if refusal.ok:
                raise AnswerUnknownError(f"B1 answered a change set with HTTP {refusal.status}")
            return [refusal]
        try:
            return parse_change_set(len(requests), response.headers.get("content-type", ""), response.content)
        except IncompleteError as error:
            raise AnswerUnknownError(f"B1's answer to a change set is not whole: {error}") from None

    async def read(self, paths: Sequence[str]) -> list[B1Answer]:
        # Always in a batch, one path too: so no value of a query, an e-mail address say, stands in a URL that anybody
        # logs
        answers: list[B1Answer] = []
        while len(answers) < len(paths):
            chunk = paths[len(answers) : len(answers) + READS_PER_BATCH]
            got = await self._read_batch(chunk)
            if not got:
                raise UnavailableError("B1 answered none of the reads of a batch")
            # It stops at the first that fails: the rest goes into another batch
            if len(got) > len(chunk) or (len(got) < len(chunk) and got[-1].ok):
                raise UnavailableError(f"B1 answered {len(got)} of {len(chunk)} reads")
            answers += got
        return answers

    async def _read_batch(self, paths: Sequence[str]) -> list[B1Answer]:
        try:
            response = await self._sessions.send(
                Exchange("read", "$batch", encode_reads(paths, self._path, self._page_rows), CONTENT_TYPE, 120)
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnavailableError(f"B1 did not answer a read ({type(error).__name__})") from None
        if response.status_code not in (200, 202):
            raise UnavailableError(
                f"B1 refused a batch of reads: {describe(answer_of(response))}",
                retry_after_s=retry_after_s(response.headers, self._clock.now()),
            )
        try:
            answers = parse_reads(response.headers.get("content-type", ""), response.content)
        except IncompleteError as error:
            raise UnavailableError(f"B1's answer to a batch of reads is not whole: {error}") from None
        for answer in answers:
            if not answer.ok:
                verdict = classify(Phase.READ, answer.status, *answer.error)
                if verdict.outcome is not OutcomeClass.REJECTED:
                    raise UnavailableError(f"B1 could not read: {describe(answer)}")
        return answers

    async def post(self, path: str, body: Mapping[str, Any]) -> B1Answer:
        response = await self._write(Exchange("post", path, encode_json(body).encode()))
        return checked_write(response, self._clock.now())

    async def ping(self) -> bool:
        # Apache answers it without B1 and without a session; where a gateway does not pass it on, any answer of ours
        # will do
        if self._client.is_closed:
            return False
        started, label = self._clock.monotonic(), "ok"
        try:
            response = await self._client.get(f"{self._host}/ping/", timeout=5)
        except httpx.HTTPError:
            label = "no_answer"
            return False
        else:
            label = "ok" if response.status_code < 500 else "http_5xx"
            return label == "ok"
        finally:
            if self._on_call is not None:
                self._on_call("ping", label, self._clock.monotonic() - started)

    @property
    def sessions_active(self) -> int:
        """B1 sessions that are logged in."""
        return self._sessions.active

    async def close(self) -> None:
        await self._sessions.close()
        await self._client.aclose()

    async def _write(self, exchange: Exchange) -> httpx.Response:
        try:
            return await self._sessions.send(exchange)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise AnswerUnknownError(f"B1 was sent a write and did not answer ({type(error).__name__})") from None


def _tls(verify: bool | str | Path) -> ssl.SSLContext | bool:
    if verify is True:
        return True
    if verify is False or not str(verify):
        raise FatalError("verify_tls = false is refused; give a CA file")
    try:
        return ssl.create_default_context(cafile=str(verify))
    except (OSError, ssl.SSLError):
        raise FatalError(f"verify_tls names {verify}, which cannot be read as a file of CA certificates") from None
