"""What the doctors of all vendors share. A doctor looks and writes nothing; what it cannot see is a finding too."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import httpx

from connectors.base.clock import Clock
from connectors.base.errors import ConnectorError

#: Signed requests are refused beyond some minutes, and "a day ahead" is judged by our clock: this is well below.
MAX_SKEW_S = 60.0
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: Of the check.
        ok: Whether it is as it must be.
        detail: What was found; no secrets, no personal data.
        remedy: What to do; empty where nothing is.
    """

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Heard(httpx.AsyncBaseTransport):
    """Passes requests on and remembers what the last answer said of itself.

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
        try:
            theirs = parsedate_to_datetime(self.headers["date"])
            skew_s = (theirs - clock.now()).total_seconds()
        except (KeyError, ValueError, TypeError):
            return Finding("clock", True, "the answers have no Date, so nothing is known of the vendor's clock")
        told = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours" if round(skew_s) else "as ours"
        ok = abs(skew_s) <= MAX_SKEW_S
        return Finding("clock", ok, f"the vendor's clock is {told}", "" if ok else "set this machine's clock by NTP")


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
        what, _, own = str(error).partition("; ")
        return Finding(name, False, what, own or remedy or "mend what it says, and run streams doctor again")


def places(wanted: Iterable[str], there: Mapping[str, str], where: str) -> Finding:
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
        return Finding(
            "places",
            False,
            f"unknown to the vendor: {', '.join(gone)}; it has {known or 'none'}{more}",
            f"mend {where}",
        )
    return Finding("places", True, f"all there of {known or 'none'}{more}")
