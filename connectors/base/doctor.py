"""What the doctors of all vendors share.

A doctor looks and writes nothing. What it could not ask is a finding too, and never one that something is wrong.

    async with examination(clock, lambda wire: VeeqoClient(settings, clock, wire), transport) as (exam, client):
        if await exam.check("credentials", lambda: _ask_warehouses(client)):
            exam.check_clock()
        ...
        return exam.findings
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError, OutcomeUnknownError, RetriableError
from connectors.base.http import http_date

#: Signed requests are refused beyond some minutes, and "a day ahead" is judged by our clock: this is well below.
MAX_SKEW_S = 60.0
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Of the check.
        ok: Whether it is as it must be; None: it could not be asked, so nothing is known of it.
        detail: What was found; no secrets, no personal data.
        remedy: What to do; empty where nothing is.
    """

    name: str
    ok: bool | None
    detail: str
    remedy: str = ""

    @property
    def verdict(self) -> str:
        """For people."""
        return "could not ask" if self.ok is None else "ok" if self.ok else "NOT OK"


class ObservedTransport(httpx.AsyncBaseTransport):
    """Passes requests on and remembers the headers of the last answer.

    Args:
        inner: Instead of the network.
    """

    def __init__(self, inner: httpx.AsyncBaseTransport | None = None) -> None:
        self._inner = inner or httpx.AsyncHTTPTransport(trust_env=False)
        self.headers: Mapping[str, str] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        self.headers = response.headers
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def skew(self, clock: Clock) -> Finding:
        """How far the vendor's clock is from ours, by its last answer (whole seconds)."""
        theirs = http_date(self.headers.get("date"))
        if theirs is None:
            return Finding("clock", True, "the answers have no Date, so nothing is known of the vendor's clock")
        skew_s = (theirs - clock.now()).total_seconds()
        text = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours" if round(skew_s) else "as ours"
        ok = abs(skew_s) <= MAX_SKEW_S
        return Finding("clock", ok, f"the vendor's clock is {text}", "" if ok else "set this machine's clock by NTP")


class Closable(Protocol):
    """A vendor's client."""

    async def close(self) -> None:
        """Let go of connections."""


_C = TypeVar("_C", bound=Closable)


class Examination:
    """One run of a doctor.

    Attributes:
        findings: In the order in which they were made.
        observed: What the vendor's answers say of themselves.
    """

    def __init__(self, clock: Clock, observed: ObservedTransport) -> None:
        self._clock, self.observed = clock, observed
        self.findings: list[Finding] = []

    async def check(self, name: str, check: Callable[[], Awaitable[str]], remedy: str = "") -> bool:
        """Do a check, see `look`; whether it is as it must be."""
        self.findings.append(await look(name, check, remedy))
        return self.findings[-1].ok is True

    def note(self, name: str, detail: str) -> None:
        """Something that is as it must be."""
        self.findings.append(Finding(name, True, detail))

    def fail(self, name: str, detail: str, remedy: str) -> None:
        """Something that is not."""
        self.findings.append(Finding(name, False, detail, remedy))

    def failed(self, name: str, error: ConnectorError, remedy: str = "") -> None:
        """Something that could not be seen, or is not as it must be, by what kept us from it, see `of_error`."""
        self.findings.append(of_error(name, error, remedy))

    def check_clock(self) -> None:
        """Compare the clocks, where the vendor has answered at all."""
        if self.observed.headers:
            self.findings.append(self.observed.skew(self._clock))

    def check_places(self, wanted: Iterable[str], there: Mapping[str, str], where: str) -> None:
        """Whether the places that the configuration names are the vendor's.

        Args:
            wanted: The vendor's names of them, as configured.
            there: Those of the vendor: name to what people call it.
            where: What names them in the configuration.
        """
        gone = sorted(set(wanted) - there.keys())
        known = ", ".join(f"{name} ({title})" if title else name for name, title in sorted(there.items())[:_SHOWN])
        more = f", and {len(there) - _SHOWN} more" if len(there) > _SHOWN else ""
        if gone:
            unknown = f"unknown to the vendor: {', '.join(gone)}; it has {known or 'none'}{more}"
            self.fail("places", unknown, f"fix {where}")
        else:
            self.note("places", f"all there of {known or 'none'}{more}")


@asynccontextmanager
async def examination(
    clock: Clock, make: Callable[[httpx.AsyncBaseTransport], _C], transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[tuple[Examination, _C]]:
    """An examination and the vendor's client for it, which is closed at the end.

    Args:
        clock: Ours.
        make: Makes the client on a transport.
        transport: Instead of the network.
    """
    observed = ObservedTransport(transport)
    client = make(observed)
    try:
        yield Examination(clock, observed), client
    finally:
        await client.close()
        await observed.aclose()


async def look(name: str, check: Callable[[], Awaitable[str]], remedy: str = "") -> Finding:
    """Do a check: what it says is good, what it raises is not.

    Args:
        name: Of the finding.
        check: Returns what it found; raises ConnectorError.
        remedy: Where the error does not say it.
    """
    try:
        return Finding(name, True, await check())
    except ConnectorError as error:
        return of_error(name, error, remedy)


def of_error(name: str, error: ConnectorError, remedy: str = "") -> Finding:
    """What an error says of a check: an outside system that is away or busy says nothing of what was asked.

    Args:
        name: Of the finding.
        error: What was raised by the question.
        remedy: Where the error does not say it.
    """
    what, _, own = str(error).partition("; ")
    if isinstance(error, RetriableError | OutcomeUnknownError):
        return Finding(name, None, what, own or "run streams doctor again when it answers")
    return Finding(name, False, what, own or remedy or "fix what it says, and run streams doctor again")
