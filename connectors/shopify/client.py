"""Shopify's GraphQL Admin API over HTTP: queries, the bucket of points, pages."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import structlog

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, OutcomeUnknownError, RetriableError
from connectors.base.http import HttpAnswer, HttpClient, raise_for_status
from connectors.base.json_numbers import NotJsonError, read_json
from connectors.shopify.errors import STATUS_RULES, TooCostlyError, UncertainWriteError, codes_of, error_of
from connectors.shopify.pages import next_page, page_of
from connectors.shopify.settings import ShopifySettings

log = structlog.get_logger(__name__)

#: An answer is at most 1000 points of rows; one of 16 MiB is none of ours.
MAX_ANSWER_BYTES = 16 * 1024 * 1024
#: How often a throttled query is asked again before the runtime's own back-off takes over.
THROTTLED_TRIES = 8
#: Before a query whose answer got lost is asked again; then the runtime's back-off takes over likewise.
LOST_PAUSES_S = (0.2, 1.0)
#: Points beyond its cost that a mutation waits for: the source draws from the same bucket unseen, its queries cost 10
#: to 100, and a throttled mutation costs a look at everything that was in it.
MUTATION_SPARE = 200.0
#: A time-out and a conflict inside Shopify: neither says how far it came.
_UNCERTAIN_STATUSES = frozenset({408, 409})


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """What a query gave, and Shopify's own time then (whole seconds; ours where it sent none)."""

    data: Mapping[str, Any]
    now: datetime


@dataclass(slots=True)
class PointBucket:
    """The points that are left, as far as we know; they come back by themselves.

    Attributes:
        maximum: How many it holds; 0: nothing is known yet.
        available: How many were left at `at`.
        restore: How many come back in a second.
        at: Monotonic seconds.
    """

    maximum: float = 0.0
    available: float = 0.0
    restore: float = 50.0
    at: float = 0.0

    def wait_s(self, cost: float, now: float) -> float:
        """How long until a query of this cost is let through; 0 as long as nothing is known."""
        if not self.maximum:
            return 0.0
        available = min(self.maximum, self.available + (now - self.at) * self.restore)
        return max(0.0, (min(cost, self.maximum) - available) / self.restore)


class ShopifyClient:
    """One shop, one app. Lifecycle: any number of queries, one after another; `close` once.

    Args:
        settings: Where, and the token.
        clock: For the bucket, and where Shopify sends no time.
        transport: For tests: an app in place of the network.
        sleep: For tests.
    """

    def __init__(
        self,
        settings: ShopifySettings,
        clock: Clock,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._settings, self._clock, self._sleep = settings, clock, sleep
        self._bucket = PointBucket()
        self._costs: dict[str, float] = {}
        self._warned_of_version = False
        self._http = HttpClient(
            "shopify",
            base_url=f"{settings.base_url}/admin/api/{settings.api_version}/",
            headers={
                "X-Shopify-Access-Token": settings.access_token.reveal(),
                "Accept": "application/json",
                "Content-Type": "application/json",
            },
            timeout_s=settings.timeout_s,
            max_body_bytes=MAX_ANSWER_BYTES,
            transport=transport,
        )

    async def close(self) -> None:
        await self._http.close()

    async def query(self, document: str, variables: Mapping[str, Any]) -> QueryAnswer:
        """Ask, waiting for points as Shopify says.

        Raises:
            RetriableError: Not now.
            FatalError: Never, without a person: token, scopes, a frozen version.
            TooCostlyError: Not so many rows at once.
            CursorExpiredError: `after` is not known any more.
        """
        for _ in range(THROTTLED_TRIES):
            await self._await_points(document)
            body, now = await self._ask(document, variables)
            is_cost_known = self._note_cost(document, body)
            errors = body.get("errors")
            if not errors:
                data = body.get("data")
                if not isinstance(data, Mapping):
                    raise RetriableError("shopify: an answer without data")
                return QueryAnswer(data, now)
            if "THROTTLED" not in codes_of(errors):
                raise error_of(errors)
            if not is_cost_known:
                await self._sleep(1.0)
        raise RetriableError("shopify: throttled", retry_after_s=self._wait_s(document) or 1.0)

    async def mutate(self, document: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write, once: what the only field of a mutation answers.

        Shopify promises nowhere that a throttled mutation was not executed, nor one that failed inside.

        Raises:
            RetriableError: Nothing was done.
            OutcomeUnknownError: It may have been done.
            FatalError: Never, without a person: token, scopes, a mutation that this version does not know.
        """
        await self._await_points(document, MUTATION_SPARE)
        content = json.dumps({"query": document, "variables": variables}).encode()
        answer = await self._http.write("POST", "graphql.json", what="the Admin API", content=content)
        self._check_version(answer)
        if answer.status in _UNCERTAIN_STATUSES:
            raise OutcomeUnknownError(f"shopify: a mutation was answered by {answer.status}")
        raise_for_status(f"shopify: {self._settings.shop}", answer, STATUS_RULES, self._clock.now())
        try:
            body = json_of(answer.body)
        except RetriableError as error:
            raise OutcomeUnknownError(str(error)) from None
        if not isinstance(body, Mapping):
            raise OutcomeUnknownError("shopify: a mutation was answered by something that is no object")
        self._note_cost(document, body)
        if errors := body.get("errors"):
            if "THROTTLED" in codes_of(errors):
                raise UncertainWriteError("shopify: a mutation was throttled", self._wait_s(document) or 1.0)
            found = error_of(errors)
            raise found if isinstance(found, FatalError) else OutcomeUnknownError(str(found))
        data = body.get("data")
        fields = list(data.values()) if isinstance(data, Mapping) else []
        if len(fields) != 1 or not isinstance(fields[0], Mapping):
            raise OutcomeUnknownError("shopify: a mutation was answered without data")
        payload: Mapping[str, Any] = fields[0]
        return payload

    async def pages(
        self, document: str, variables: Mapping[str, Any], path: Sequence[str], first: int, *, after: str | None = None
    ) -> list[Any] | None:
        """All nodes of one connection, from a page on; None where what holds it is not there.

        A query that costs too much is asked for half as many rows.
        """
        nodes: list[Any] = []
        while True:
            answer, first = await self.query_fewer(document, {**variables, "after": after}, first)
            page = page_of(answer.data, path)
            if page is None:
                return None
            nodes += page["nodes"]
            if not page["pageInfo"]["hasNextPage"]:
                return nodes
            after = next_page(page, after)

    async def query_fewer(self, document: str, variables: Mapping[str, Any], first: int) -> tuple[QueryAnswer, int]:
        """Ask for `first` rows, or for half as many until it does not cost too much; how many it was."""
        while True:
            try:
                return await self.query(document, {**variables, "first": first}), first
            except TooCostlyError as error:
                if first <= 1:
                    raise FatalError("shopify: one row costs more than a query may; report this version") from error
                first //= 2

    async def _await_points(self, document: str, spare: float = 0.0) -> None:
        wait_s = self._wait_s(document, spare)
        if wait_s > 0:
            # With jitter: other apps and processes draw from other buckets, but ours may have two askers.
            await self._sleep(wait_s * (1 + random.random() / 10))  # noqa: S311 -- no secret

    async def _ask(self, document: str, variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], datetime]:
        """Ask again where an answer got lost.

        A batch is a hundred queries, and would begin anew with each such loss.
        """
        for pause_s in LOST_PAUSES_S:
            try:
                return await self._post(document, variables)
            except RetriableError as error:
                if error.retry_after_s is not None:
                    raise
                await self._sleep(pause_s)
        return await self._post(document, variables)

    async def _post(self, document: str, variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], datetime]:
        content = json.dumps({"query": document, "variables": variables}).encode()
        answer = await self._http.request("POST", "graphql.json", what="the Admin API", content=content)
        self._check_version(answer)
        now = self._clock.now()
        raise_for_status(f"shopify: {self._settings.shop}", answer, STATUS_RULES, now)
        found = json_of(answer.body)
        if not isinstance(found, Mapping):
            raise RetriableError("shopify: an answer that is no object")
        return found, answer.date or now

    def _check_version(self, answer: HttpAnswer) -> None:
        served = answer.headers.get("x-shopify-api-version")
        if served and served != self._settings.api_version and not self._warned_of_version:
            self._warned_of_version = True
            remedy = f"this version of ours asks for {self._settings.api_version}, which Shopify has retired"
            log.warning("api_version_differs", version=served[:10], remedy=remedy)

    def _wait_s(self, document: str, spare: float = 0.0) -> float:
        return self._bucket.wait_s(self._costs.get(document, 0.0) + spare, self._clock.monotonic())

    def _note_cost(self, document: str, body: Mapping[str, Any]) -> bool:
        """Learn from an answer what the query costs and what is left."""
        try:
            cost = body["extensions"]["cost"]
            status = cost["throttleStatus"]
            self._costs[document] = float(cost["requestedQueryCost"])
            self._bucket = PointBucket(
                maximum=float(status["maximumAvailable"]),
                available=float(status["currentlyAvailable"]),
                restore=max(1.0, float(status["restoreRate"])),
                at=self._clock.monotonic(),
            )
        except (KeyError, TypeError, ValueError):
            return False
        return True


def json_of(body: bytes) -> object:
    """What Shopify answered.

    Raises:
        RetriableError: It is not JSON, or nested deeper than any query asks.
    """
    try:
        return read_json(body)
    except NotJsonError as error:
        raise RetriableError(f"shopify: an answer that {error}") from None
