"""Sessions of one company's Service Layer: few, shared, logged in one at a time, logged out at the end."""

import asyncio
import math
import random as random_module
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import httpx

from connectors.base.clock import Clock
from connectors.base.http import retry_after_s
from connectors.base.settings import Secret
from connectors.sap_b1.answers import answer_of, cookie_header, cookies_of, label_of, unreachable, why_stale
from connectors.sap_b1.change_set import encode_json
from connectors.sap_b1.error_codes import OutcomeClass, Phase, classify
from connectors.sap_b1.refused_logins import RefusedLogin
from connectors.sap_b1.service_layer import NotSentError, PasswordRefusedError, UnavailableError, describe

OnCall = Callable[[str, str, float], None]
"""(operation, code label, seconds): operations are login, logout, change_set, read, post, ping."""

MAX_LOGIN_TRIES = 5  # for logins that collide (299), about 8 s in all
RENEWAL_INTERVAL_S = 60.0  # a node's stale metadata (407) costs at most one login a minute per session
REFUSED_SESSION_WAIT_S = 60.0  # how long a session refused for the limit is left alone while another one works
LOGOUT_TIMEOUT_S = 5.0
_ENGLISH = 3  # ln_English of BoSuppLangs: error_codes.py matches English texts


@dataclass(frozen=True, slots=True)
class Exchange:
    """One POST to the Service Layer; `path` is below its root."""

    operation: str
    path: str
    content: bytes | None
    content_type: str = "application/json"
    timeout_s: float = 60


@dataclass(slots=True, eq=False)
class PooledSession:
    """One B1 session: its own cookies, the calls that use it, the login that makes it."""

    cookies: dict[str, str] = field(default_factory=dict)  # empty: not logged in
    generation: int = 0  # counts logins, so that a late 401 of an older one renews nothing
    in_flight: int = 0
    login: asyncio.Task[None] | None = None
    renewed_at: float = float("-inf")
    refused_at: float = float("-inf")


class SessionPool:
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
        refused: RefusedLogin,
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
        self._refused = refused
        self._sessions = [PooledSession() for _ in range(limit)]
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._on_call = on_call
        self._login_lock = asyncio.Lock()
        self._closed = False

    async def send(self, exchange: Exchange) -> httpx.Response:
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
                response = await self._exchange(session, exchange)
                why = why_stale(response)
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
            async with asyncio.timeout(LOGOUT_TIMEOUT_S):
                await asyncio.gather(*logins, return_exceptions=True)
                await asyncio.gather(*(self._logout(session) for session in self._sessions))
        except TimeoutError:
            for login in logins:
                login.cancel()
            await asyncio.gather(*logins, return_exceptions=True)

    @property
    def active(self) -> int:
        return sum(bool(session.cookies) for session in self._sessions)

    def _least_busy(self) -> PooledSession:
        if self._closed:
            raise NotSentError("the Service Layer client is closed")
        now = self._clock.monotonic()
        usable = [s for s in self._sessions if s.cookies or now - s.refused_at >= REFUSED_SESSION_WAIT_S]
        return min(usable or self._sessions, key=lambda session: (session.in_flight, not session.cookies))

    async def _ready(self, session: PooledSession) -> PooledSession:
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

    async def _renew(self, session: PooledSession, generation: int, why: str) -> bool:
        """A new login in place of one that no longer works; whether the request may be sent again."""
        if session.generation != generation:
            return True  # somebody has been faster
        if why == "node":
            now = self._clock.monotonic()
            if now - session.renewed_at < RENEWAL_INTERVAL_S:
                return False
            session.renewed_at = now
            await self._logout(session)
            if session.generation != generation:
                return True
        elif session.login is None:
            session.cookies.clear()
        await self._log_in(session)
        return True

    async def _log_in(self, session: PooledSession) -> None:
        """One login for all who wait for this session; a caller who gives up does not end it for the others."""
        if self._closed:
            raise NotSentError("the Service Layer client is closed")
        if session.login is None:
            session.login = asyncio.create_task(self._login(session))
            session.login.add_done_callback(_ignore_failure)
        login = session.login
        try:
            await asyncio.shield(login)
        except asyncio.CancelledError:
            if login.cancelled():  # by close, not by our caller
                raise NotSentError("the Service Layer client is closed") from None
            raise

    async def _login(self, session: PooledSession) -> None:
        try:
            async with self._login_lock:
                for attempt in range(1, MAX_LOGIN_TRIES + 1):
                    self._check_refused()
                    if await self._try_login(session, last=attempt == MAX_LOGIN_TRIES):
                        return
                    await self._sleep(self._random.uniform(0.25, 0.5) * 2**attempt)
                raise UnavailableError(f"B1 refused {MAX_LOGIN_TRIES} logins in a row")
        finally:
            session.login = None

    async def _try_login(self, session: PooledSession, last: bool) -> bool:
        try:
            response = await self._timed(Exchange("login", "Login", self._login_body()), cookie="")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSentError(unreachable(error)) from None
        except (httpx.HTTPError, TimeoutError) as error:
            raise UnavailableError(f"B1 did not answer the login ({type(error).__name__})") from None
        answer = answer_of(response)
        if answer.ok:
            cookies = cookies_of(response)
            if "B1SESSION" not in cookies and answer.body and isinstance(answer.body.get("SessionId"), str):
                cookies["B1SESSION"] = str(answer.body["SessionId"])
            if "B1SESSION" not in cookies:
                raise UnavailableError("B1 answered the login without a session; is service_layer_url right?")
            self._refused.forget()
            session.cookies = cookies
            session.generation += 1
            return True
        code, text = answer.error
        asked_s = retry_after_s(response.headers, self._clock.now())
        verdict = classify(Phase.LOGIN, answer.status, code, text)
        if verdict.outcome is OutcomeClass.REJECTED:
            self._refused.remember()
            raise self._password_refused(describe(answer))
        if code == "299" and not last:
            return False
        if verdict.outcome is OutcomeClass.UNAVAILABLE and any(
            w in text.lower() for w in ("session", "licen", "limit")
        ):
            raise UnavailableError(
                f"B1 refuses another session for this user: the limit is reached ({describe(answer)}). "
                "Left-over sessions end by B1's own timeout (30 min); lower session_limit, or close this user's other "
                "clients",
                retry_after_s=asked_s,
            )
        raise UnavailableError(f"B1 refuses the login for now ({describe(answer)})", retry_after_s=asked_s)

    def _login_body(self) -> bytes:
        # Of its own, so that no frame of ours that raises has the password among its locals
        return encode_json({**self._credentials, "Password": self._password.reveal(), "Language": _ENGLISH}).encode()

    def _check_refused(self) -> None:
        if self._refused.wait_s() > 0:
            raise self._password_refused("not asked again")

    def _password_refused(self, words: str) -> PasswordRefusedError:
        wait_s = self._refused.wait_s()
        return PasswordRefusedError(
            f"B1 refused user {self._credentials['UserName']}, its password or company ({words}); "
            "fix username, password or company_db in the configuration. If they are right, B1 may have locked the user "
            "after wrong tries: unlock it in B1 (Administration, Setup, General, Users). Tried again in "
            f"{math.ceil(wait_s / 60)} min, or at once with another password",
            wait_s,
        )

    async def _logout(self, session: PooledSession) -> None:
        if not session.cookies:
            return
        cookie = cookie_header(session.cookies)
        session.cookies = {}
        try:
            await self._timed(Exchange("logout", "Logout", None, timeout_s=LOGOUT_TIMEOUT_S), cookie)
        except (httpx.HTTPError, TimeoutError):
            return  # B1 ends it by its timeout

    async def _exchange(self, session: PooledSession, exchange: Exchange) -> httpx.Response:
        cookie = cookie_header(session.cookies)
        generation = session.generation
        response = await self._timed(exchange, cookie)
        if session.generation == generation and session.cookies and response.status_code != 401:
            session.cookies.update(cookies_of(response))  # a new ROUTEID, when a node has died
        return response

    async def _timed(self, exchange: Exchange, cookie: str) -> httpx.Response:
        started = self._clock.monotonic()
        label = "cancelled"
        try:
            headers = {"Content-Type": exchange.content_type}
            if cookie:
                headers["Cookie"] = cookie
            # httpx counts each pause of the peer by itself: one that trickles would never end
            async with asyncio.timeout(2 * exchange.timeout_s):
                response = await self._client.post(
                    f"{self._root}/{exchange.path.replace(' ', '%20')}",
                    content=exchange.content,
                    headers=headers,
                    timeout=httpx.Timeout(exchange.timeout_s, connect=5, pool=30),
                )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            label = "not_sent"
            raise
        except (httpx.HTTPError, TimeoutError):
            label = "no_answer"
            raise
        else:
            label = label_of(response)
            return response
        finally:
            if self._on_call is not None:
                self._on_call(exchange.operation, label, self._clock.monotonic() - started)


def _ignore_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()  # whoever waits has it raised; nobody may be left
