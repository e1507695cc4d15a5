"""Sessions of one company's Service Layer over httpx: few, shared, logged in one at a time, logged out at the end."""

import asyncio
import random as random_module
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from connectors.base.clock import Clock, SystemClock
from connectors.base.errors import FatalError
from connectors.base.settings import Secret
from connectors.sap_b1.change_set import (
    CONTENT_TYPE,
    Answer,
    IncompleteError,
    Request,
    decode_body,
    encode_change_set,
    encode_json,
    encode_reads,
    parse_change_set,
    parse_reads,
)
from connectors.sap_b1.error_codes import OutcomeClass, Phase, classify
from connectors.sap_b1.service_layer import AnswerUnknownError, NotSentError, UnavailableError, describe

OnCall = Callable[[str, str, float], None]
"""(operation, code label, seconds): operations are login, logout, change_set, read, post, ping."""

_PASSWORD_TRIES = 3  # B1's default policy locks an account after a handful (design section 6, F19)
_LOGIN_TRIES = 5  # for logins that collide (299), about 8 s in all
_RENEW_PAUSE_S = 60.0  # a node's stale metadata (407) costs at most one login a minute per session
_REFUSED_PAUSE_S = 60.0  # how long a session refused for the limit is left alone while another one works
_LOGOUT_S = 5.0
_CONNECTIONS = 8  # more makes httpx slower (reference performance.md)
_KEEPALIVE_S = 3.0  # Apache closes an idle connection after 5 s; a reused one may die under a POST
_READS_PER_BATCH = 50
_ENGLISH = 3  # ln_English of BoSuppLangs: error_codes.py matches English texts


@dataclass(slots=True, eq=False)
class _Session:
    """One B1 session: its own cookies, the calls that use it, the login that makes it."""

    cookies: dict[str, str] = field(default_factory=dict)  # empty: not logged in
    generation: int = 0  # counts logins, so that a late 401 of an older one renews nothing
    in_flight: int = 0
    login: asyncio.Task[None] | None = None
    renewed_at: float = float("-inf")
    refused_at: float = float("-inf")


class Sessions:
    """A pool of at most `limit` sessions over one shared httpx client.

    Life: calls borrow the least busy session (`send`), which logs itself in at first use and again, once for all who
    wait, when B1 has forgotten it; `close` logs every one out. Logins never run side by side: B1 then fails some of
    them (299, live).
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        root: str,
        credentials: Mapping[str, str],
        password: Secret,
        limit: int,
        clock: Clock,
        random: random_module.Random,
        sleep: Callable[[float], Awaitable[None]],
        on_call: OnCall | None,
    ) -> None:
        self._client = client
        self._root = root
        self._credentials = credentials
        self._password = password
        self._sessions = [_Session() for _ in range(limit)]
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._on_call = on_call
        self._login_lock = asyncio.Lock()
        self._wrong_passwords = 0
        self._closed = False

    async def send(
        self,
        operation: str,
        method: str,
        path: str,
        content: bytes | None,
        content_type: str,
        timeout_s: float,
    ) -> httpx.Response:
        """Send one request in a session; a session that B1 no longer knows is renewed and the request sent once more.

        Raises:
            NotSentError, UnavailableError, FatalError: As `ServiceLayer`; for the request itself httpx's own errors.
        """
        session = self._least_busy()
        session.in_flight += 1
        try:
            session = await self._ready(session)
            for attempt in (1, 2):
                if not session.cookies:
                    await self._log_in(session)
                generation = session.generation
                response = await self._exchange(session, operation, method, path, content, content_type, timeout_s)
                why = _staleness(response)
                if why is None or attempt == 2 or not await self._renew(session, generation, why):
                    return response
            raise AssertionError  # the second attempt has returned
        finally:
            session.in_flight -= 1

    async def close(self) -> None:
        """Log out every session; what B1 does not answer within 5 s is left to its own timeout."""
        self._closed = True
        logins = [session.login for session in self._sessions if session.login is not None]
        try:
            async with asyncio.timeout(_LOGOUT_S):
                await asyncio.gather(*logins, return_exceptions=True)
                await asyncio.gather(*(self._logout(session) for session in self._sessions))
        except TimeoutError:
            for login in logins:
                login.cancel()
            await asyncio.gather(*logins, return_exceptions=True)

    @property
    def active(self) -> int:
        return sum(bool(session.cookies) for session in self._sessions)

    def _least_busy(self) -> _Session:
        if self._closed:
            raise NotSentError("the Service Layer client is closed")
        now = self._clock.monotonic()
        usable = [s for s in self._sessions if s.cookies or now - s.refused_at >= _REFUSED_PAUSE_S]
        return min(usable or self._sessions, key=lambda session: (session.in_flight, not session.cookies))

    async def _ready(self, session: _Session) -> _Session:
        """The session, logged in; another one where B1 grants no more of them. Moves the count of calls with it."""
        if session.cookies:
            return session
        try:
            await self._log_in(session)
        except UnavailableError:
            session.refused_at = self._clock.monotonic()
            other = min((s for s in self._sessions if s.cookies), key=lambda s: s.in_flight, default=None)
            if other is None:
                raise
            session.in_flight -= 1
            other.in_flight += 1
            return other
        return session

    async def _renew(self, session: _Session, generation: int, why: str) -> bool:
        """A new login in place of one that no longer works; whether the request may be sent again."""
        if session.generation != generation:
            return True  # somebody has been faster
        if why == "node":
            now = self._clock.monotonic()
            if now - session.renewed_at < _RENEW_PAUSE_S:
                return False
            session.renewed_at = now
            await self._logout(session)
            if session.generation != generation:
                return True
        elif session.login is None:
            session.cookies.clear()
        await self._log_in(session)
        return True

    async def _log_in(self, session: _Session) -> None:
        """One login for all who wait for this session; a caller who gives up does not end it for the others."""
        if self._closed:
            raise NotSentError("the Service Layer client is closed")
        if session.login is None:
            session.login = asyncio.create_task(self._login(session))
            session.login.add_done_callback(_retrieve)
        login = session.login
        try:
            await asyncio.shield(login)
        except asyncio.CancelledError:
            if login.cancelled():  # by close, not by our caller
                raise NotSentError("the Service Layer client is closed") from None
            raise

    async def _login(self, session: _Session) -> None:
        try:
            async with self._login_lock:
                for attempt in range(1, _LOGIN_TRIES + 1):
                    self._give_up_on_wrong_passwords()
                    if await self._try_login(session, last=attempt == _LOGIN_TRIES):
                        return
                    await self._sleep(self._random.uniform(0.25, 0.5) * 2**attempt)
                raise UnavailableError(f"B1 refused {_LOGIN_TRIES} logins in a row")
        finally:
            session.login = None

    async def _try_login(self, session: _Session, last: bool) -> bool:
        try:
            response = await self._timed("login", "POST", "Login", self._login_body(), "application/json", 60, "")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(_unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnavailableError(f"B1 did not answer the login ({type(error).__name__})") from None
        answer = _answer_of(response)
        if answer.ok:
            cookies = _cookies_of(response)
            if "B1SESSION" not in cookies and answer.body and isinstance(answer.body.get("SessionId"), str):
                cookies["B1SESSION"] = str(answer.body["SessionId"])
            if "B1SESSION" not in cookies:
                raise UnavailableError("B1 answered the login without a session; is service_layer_url right?")
            self._wrong_passwords = 0
            session.cookies = cookies
            session.generation += 1
            return True
        code, text = answer.error
        verdict = classify(Phase.LOGIN, answer.status, code, text)
        if verdict.outcome is OutcomeClass.REJECTED:
            self._wrong_passwords += 1
            self._give_up_on_wrong_passwords()
            return False
        if code == "299" and not last:
            return False
        if verdict.outcome is OutcomeClass.UNAVAILABLE and any(
            w in text.lower() for w in ("session", "licen", "limit")
        ):
            raise UnavailableError(
                f"B1 refuses another session for this user: the limit is reached ({describe(answer)}). "
                "Left-over sessions end by B1's own timeout (30 min); lower session_limit, or close this user's other "
                "clients"
            )
        raise UnavailableError(f"B1 refuses the login for now ({describe(answer)})")

    def _login_body(self) -> bytes:
        # Of its own, so that no frame of ours that raises has the password among its locals
        return encode_json({**self._credentials, "Password": self._password.reveal(), "Language": _ENGLISH}).encode()

    def _give_up_on_wrong_passwords(self) -> None:
        if self._wrong_passwords >= _PASSWORD_TRIES:
            raise FatalError(
                f"B1 refused user, password or company {_PASSWORD_TRIES} times; not trying again, so as not to lock "
                "the account. Mend username, password or company_db in the configuration, then restart"
            )

    async def _logout(self, session: _Session) -> None:
        if not session.cookies:
            return
        cookie = _cookie_header(session.cookies)
        session.cookies = {}
        try:
            await self._timed("logout", "POST", "Logout", None, "application/json", _LOGOUT_S, cookie)
        except (httpx.HTTPError, TimeoutError):
            return  # B1 ends it by its timeout

    async def _exchange(
        self,
        session: _Session,
        operation: str,
        method: str,
        path: str,
        content: bytes | None,
        content_type: str,
        timeout_s: float,
    ) -> httpx.Response:
        cookie = _cookie_header(session.cookies)
        generation = session.generation
        response = await self._timed(operation, method, path, content, content_type, timeout_s, cookie)
        if session.generation == generation and session.cookies and response.status_code != 401:
            session.cookies.update(_cookies_of(response))  # a new ROUTEID, when a node has died
        return response

    async def _timed(
        self,
        operation: str,
        method: str,
        path: str,
        content: bytes | None,
        content_type: str,
        timeout_s: float,
        cookie: str,
    ) -> httpx.Response:
        started = self._clock.monotonic()
        label = "cancelled"
        try:
            headers = {"Content-Type": content_type}
            if cookie:
                headers["Cookie"] = cookie
            # httpx counts each pause of the peer by itself: one that trickles would never end
            async with asyncio.timeout(2 * timeout_s):
                response = await self._client.request(
                    method,
                    f"{self._root}/{path.replace(' ', '%20')}",
                    content=content,
                    headers=headers,
                    timeout=httpx.Timeout(timeout_s, connect=5, pool=30),
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            label = "not_sent"
            raise
        except (httpx.HTTPError, TimeoutError):
            label = "no_answer"
            raise
        else:
            label = _label(response)
            return response
        finally:
            if self._on_call is not None:
                self._on_call(operation, label, self._clock.monotonic() - started)


class HttpServiceLayer:
    """A `ServiceLayer` over HTTP.

    Args:
        url: Of the service, `https://host:50000/b1s/v2`.
        verify: True, or a file of certificate authorities. There is no way to switch verification off.
        session_limit: How many B1 sessions it may hold at once.
        transport: In place of the network, for tests.
        sleep: Awaited between tries of a login.
        on_call: Told of every call: operation, label of its result, seconds.

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
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
        random: random_module.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_call: OnCall | None = None,
    ) -> None:
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
                max_connections=_CONNECTIONS, max_keepalive_connections=_CONNECTIONS, keepalive_expiry=_KEEPALIVE_S
            ),
            # Each session keeps its own cookies: the client's jar must take none
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
        )
        self._clock = clock or SystemClock()
        self._on_call = on_call
        self._sessions = Sessions(
            self._client,
            root,
            {"CompanyDB": company_db, "UserName": username},
            password,
            session_limit,
            self._clock,
            random or random_module.Random(),  # noqa: S311 -- jitter
            sleep,
            on_call,
        )

    async def change_set(self, requests: Sequence[Request]) -> list[Answer]:
        content = encode_change_set(requests, self._path)
        response = await self._write("change_set", "$batch", content, CONTENT_TYPE, 120)
        if response.status_code not in (200, 202):
            refusal = _checked_write(response)
            if refusal.ok:
                raise AnswerUnknownError(f"B1 answered a change set with HTTP {refusal.status}")
            return [refusal]
        try:
            return parse_change_set(len(requests), response.headers.get("content-type", ""), response.content)
        except IncompleteError as error:
            raise AnswerUnknownError(f"B1's answer to a change set is not whole: {error}") from None

    async def read(self, paths: Sequence[str]) -> list[Answer]:
        # Always in a batch, one path too: so no value of a query, an e-mail address say, stands in a URL that anybody
        # logs
        answers: list[Answer] = []
        while len(answers) < len(paths):
            chunk = paths[len(answers) : len(answers) + _READS_PER_BATCH]
            got = await self._read_batch(chunk)
            if not got:
                raise UnavailableError("B1 answered none of the reads of a batch")
            # It stops at the first that fails: the rest goes into another batch
            if len(got) > len(chunk) or (len(got) < len(chunk) and got[-1].ok):
                raise UnavailableError(f"B1 answered {len(got)} of {len(chunk)} reads")
            answers += got
        return answers

    async def _read_batch(self, paths: Sequence[str]) -> list[Answer]:
        try:
            response = await self._sessions.send(
                "read", "POST", "$batch", encode_reads(paths, self._path), CONTENT_TYPE, 120
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(_unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnavailableError(f"B1 did not answer a read ({type(error).__name__})") from None
        if response.status_code not in (200, 202):
            raise UnavailableError(f"B1 refused a batch of reads: {describe(_answer_of(response))}", **_retry(response))
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

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        response = await self._write("post", path, encode_json(body).encode(), "application/json", 60)
        return _checked_write(response)

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

    async def _write(
        self, operation: str, path: str, content: bytes, content_type: str, timeout_s: float
    ) -> httpx.Response:
        try:
            return await self._sessions.send(operation, "POST", path, content, content_type, timeout_s)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(_unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise AnswerUnknownError(f"B1 was sent a write and did not answer ({type(error).__name__})") from None


def _checked_write(response: httpx.Response) -> Answer:
    """The answer to a whole write, where it says for certain what happened.

    Raises:
        AnswerUnknownError: Any 5xx, a redirect, or a 2xx that cannot be read.
        UnavailableError: B1 took nothing in: throttled, or it refuses the session that it has just given.
    """
    try:
        answer = Answer(response.status_code, decode_body(response.content), dict(response.headers))
    except ValueError:
        answer = Answer(response.status_code, None, dict(response.headers))
        if answer.ok:
            raise AnswerUnknownError("B1 answered a write with something that is not JSON") from None
    if answer.ok:
        return answer
    match classify(Phase.WRITE, answer.status, *answer.error).outcome:
        case OutcomeClass.UNKNOWN:
            raise AnswerUnknownError(f"B1 or a proxy before it failed after a write was sent: {describe(answer)}")
        case OutcomeClass.UNAVAILABLE:
            raise UnavailableError(f"B1 takes no writes for now: {describe(answer)}", **_retry(response))
        case OutcomeClass.SESSION:
            raise UnavailableError("B1 refuses a session that it has just given")
        case _:
            return answer


def _failed(response: httpx.Response) -> Answer | None:
    """The answer, or the part of a batch's answer, that says no: a batch ends with it."""
    if response.status_code >= 400:
        return _answer_of(response)
    if _NO.search(response.content) is None:
        return None
    try:
        answers = parse_reads(response.headers.get("content-type", ""), response.content)
    except IncompleteError:
        return None
    return next((answer for answer in answers if answer.status >= 400), None)


_NO = re.compile(rb"^HTTP/\d(?:\.\d)? +[45]\d\d\b", re.MULTILINE)


def _staleness(response: httpx.Response) -> str | None:
    """What in an answer asks for a new login: B1 does not know the session, or its node is stale (407, live)."""
    answer = _failed(response)
    if answer is None:
        return None
    code, _ = answer.error
    return "session" if answer.status == 401 or code == "301" else "node" if code == "407" else None


def _label(response: httpx.Response) -> str:
    answer = _failed(response)
    if answer is None:
        return "ok"
    code, text = answer.error
    return (
        f"http_{answer.status // 100}xx" if code is None else classify(Phase.PART, answer.status, code, text).sap_code
    )


def _answer_of(response: httpx.Response) -> Answer:
    try:
        return Answer(response.status_code, decode_body(response.content), dict(response.headers))
    except ValueError:
        return Answer(response.status_code, None, dict(response.headers))


def _cookies_of(response: httpx.Response) -> dict[str, str]:
    cookies = {}
    for header in response.headers.get_list("set-cookie"):
        name, _, value = header.partition(";")[0].partition("=")
        if name.strip():
            cookies[name.strip()] = value.strip()
    return cookies


def _cookie_header(cookies: Mapping[str, str]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def _retry(response: httpx.Response) -> dict[str, float]:
    text = response.headers.get("retry-after", "")
    return {"retry_after_s": float(text)} if text.isdecimal() else {}


def _unreachable(error: httpx.HTTPError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return "B1's certificate is not trusted, or is for another host; give the CA file that signed it as verify_tls"
    return f"B1 cannot be reached ({type(error).__name__})"


def _tls(verify: bool | str | Path) -> ssl.SSLContext | bool:
    if verify is True:
        return True
    if verify is False or not str(verify):
        raise FatalError("verify_tls = false is refused; give a CA file")
    try:
        return ssl.create_default_context(cafile=str(verify))
    except (OSError, ssl.SSLError):
        raise FatalError(f"verify_tls names {verify}, which cannot be read as a file of CA certificates") from None


def _retrieve(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits has it raised; nobody may be left
