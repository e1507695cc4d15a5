"""SEKO's warehouse and hub, in memory: for tests, the demo and users without a test account.

Written from SEKO's public wiki, read 2026-11-21 and 2026-11-30. It pushes as iHub does: about every 15 minutes, nothing
when there is nothing, at most 500 messages, facilities never mixed, three tries, never again after a 400. As an ASGI
app it
answers the calls of the hub: the key in the query, success in the body and not in the status, no pages.

What goes wrong is up to the caller, see `faults`. It is strict where a client's mistake would else pass: an unknown
parameter, a date of another form, an order line too many refuse the whole call.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote

from lab.simulators.seko.faults import HubFaults
from lab.simulators.seko.loads import Row, body_of, check_order
from lab.simulators.seko.state import AVAILABLE, HubMessage, SekoWarehouse, stamp_of
from lab.simulators.seko.wire import failure, push_body, rendered, success, without_number
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body

Post: TypeAlias = Callable[[Mapping[str, str], bytes], Awaitable[int]]

TRIES: Final = 3
_CANCEL_CODES: Final = frozenset({"001", "002", "003", "004", "005", "006"})
_POLLS: Final = {
    "dispatches/v1/status": "dispatch",
    "stock/v1/adjustment": "adjustment",
    "stock/v1/movement": "movement",
}
_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z")


class Hub(SekoWarehouse):
    """The warehouse behind its hub; the app is `__call__`.

    Args:
        clock: Aware time; the hub's own is `skew_s` ahead of it.
        key: Of its API.
        secret: What it sends with each push, in `header`.
        header: Its name.
        client: The tenant's short code.
        dcs: Its facilities.
        random: For rates.
        skew_s: Of its clock.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], datetime],
        key: str = "demo-key",
        secret: str = "demo-push",  # noqa: S107 -- a simulator's
        header: str = "X-Api-Key",
        client: str = "EXMPL",
        dcs: Iterable[str] = ("DCCL01",),
        random: Random | None = None,
        skew_s: float = 0,
    ) -> None:
        super().__init__(clock, client, dcs, skew_s)
        self.key, self.secret, self.header = key, secret, header
        self.faults = HubFaults(random or Random(1))  # noqa: S311 -- faults, not secrets
        self.cadence_s = 900.0
        self.max_batch = 500
        self.lag_s = 0.0  # after which a poll shows what has happened
        self.numbers_in_polls = True  # whether polled rows have their SequenceNumber (not documented)
        self.artefacts = False  # see `wire.rendered`
        self.reports_nothing_found = False  # whether an empty answer is a failure that says so
        self.calls: list[str] = []
        self._last_push: datetime | None = None

    # ---- pushes

    async def push(self, post: Post, *, at_once: bool = False) -> int:
        """One run of the scheduler, if it is time: what waits, and what is to be tried again; how many were sent.

        Args:
            post: Delivers headers and a body; returns the status, or raises ConnectionError.
            at_once: Whatever the time.
        """
        now = self.now()
        if not at_once and self._last_push is not None and now < self._last_push + timedelta(seconds=self.cadence_s):
            return 0
        self._last_push = now
        ready = [each for each in self.waiting() if each.due is None or each.due <= now or at_once]
        for each in ready:
            if each.tries == 0 and self.faults.chance("lost"):
                each.ended = "lost"
        ready = sorted((each for each in ready if not each.ended), key=lambda each: (each.service, each.dc))
        batches = [
            group[at : at + self.max_batch]
            for _, found in groupby(ready, lambda each: (each.service, each.dc))
            for group in [list(found)]
            for at in range(0, len(group), self.max_batch)
        ]
        if self.faults.chance("reorder"):
            self.faults.random.shuffle(batches)
            for batch in batches:
                self.faults.random.shuffle(batch)
        for batch in batches:
            await self._deliver(post, batch)
            if self.faults.chance("twice"):
                await self._attempt(post, batch)
        return sum(map(len, batches))

    async def _deliver(self, post: Post, batch: list[HubMessage]) -> None:
        status = await self._attempt(post, batch)
        answered = not self.faults.chance("no_answer")
        for each in batch:
            if 200 <= status < 300 and answered:
                each.ended = "taken"
                continue
            each.tries += 1
            each.due = self.now() + timedelta(seconds=900)
            if each.tries >= TRIES or status == 400:
                each.ended = "given_up"

    async def _attempt(self, post: Post, batch: list[HubMessage]) -> int:
        try:
            return await post(self.headers(), self.body(batch))
        except ConnectionError:
            return 0

    def headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", self.header: self.secret}

    def body(self, batch: Iterable[HubMessage]) -> bytes:
        """A push of these messages."""
        return push_body(batch, artefacts=self.artefacts)

    def resend(self, service: str, sequence: int) -> None:
        """A person sends a message again in iHub's activity screen."""
        message = next(each for each in self.messages if (each.service, each.sequence) == (service, sequence))
        message.ended, message.tries, message.due = "", 0, None

    # ---- the hub's calls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"no {scope['type']} here")
        status, answer, headers = self._answer(scope, await whole_body(receive))
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        kind = b"text/html" if content.startswith(b"<") else b"application/json"
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", kind), *((a.encode(), b.encode()) for a, b in headers.items())],
            }
        )
        await send({"type": "http.response.body", "body": content})

    def _answer(self, scope: Scope, body: bytes) -> tuple[int, Any, Mapping[str, str]]:
        path, query = unquote(scope["path"]), scope["query_string"].decode()
        self.calls.append(path)
        fault = self.faults.of_request()
        if fault is not None:
            match fault.kind:
                case "drop":
                    raise ConnectionDroppedError
                case "html":
                    return 502, b"<html>Bad gateway</html>", {}
                case "refused":
                    return 200, failure("An error has occurred."), {}
                case "lost" | "pass":
                    pass
                case _:
                    return fault.status, {"Message": "Later."}, fault.headers
        if len(query) > 2048:
            return 414, b"<html>URI too long</html>", {}
        params = dict(parse_qsl(query, keep_blank_values=True))
        key = params.pop("token", None) or params.pop("api_key", None)
        if key != self.key:
            return 401, {"Message": "Authorization has been denied for this request."}, {}
        found = re.fullmatch(r"(?:/hub)?/api/(.+)", path)
        try:
            answer = self._serve(scope["method"], found[1] if found else "", params, body)
        except ValueError as error:
            answer = failure(str(error))
        if fault is not None and fault.kind == "lost":
            raise ConnectionDroppedError
        if answer is None:
            return 404, b"<html>Not found</html>", {}
        return 200, answer, {}

    def _serve(self, method: str, path: str, params: dict[str, str], body: bytes) -> Row | None:
        if method == "GET":
            for prefix, service in _POLLS.items():
                found = re.fullmatch(rf"{prefix}/([^/]+)/([^/]+)\.json", path)
                if found:
                    return self._between(service, found[1], found[2], params)
            if path == "stock/v3/quantity":
                return self._quantity(params)
            asked = re.fullmatch(r"salesorders/v1/([^/]+)/status\.json", path)
            if asked:
                return self._status(asked[1])
            if path.startswith("echo/v1"):
                return success()
            return None
        if method != "POST":
            return None
        found = re.fullmatch(r"salesorders/v3/([^/]+)/cancel", path)
        if found:
            if params.get("reasonCode") not in _CANCEL_CODES:
                raise ValueError("The reasonCode field is required.")
            self.cancel_order(found[1])
            return success()
        if path == "salesorders/v4/websubmit":
            return self._submit(body_of(body))
        if path == "receipts/v3/submit":
            return self._announce(body_of(body))
        if path in ("products/v4/submit", "products/v4/update"):
            call = self.products.submit if path.endswith("submit") else self.products.update
            call(body_of(body))
            return success()
        return None

    def _between(self, service: str, since: str, until: str, params: dict[str, str]) -> Row:
        status = params.pop("status", None)
        dc = params.pop("dc", None)
        if service == "dispatch" and status != "Dispatched":
            raise ValueError("The status field is required.")
        if params:
            raise ValueError("The request has fields that are not known.")
        if not _TIME.fullmatch(since) or not _TIME.fullmatch(until) or since > until:
            raise ValueError("The dates must be YYYY-MM-DDThh:mm:ssZ, the first before the second.")
        if dc is None and len(self.dcs) > 1:
            raise ValueError("The dc field is required.")
        if dc is not None and dc not in self.dcs:
            raise ValueError(f"DC {dc} does not exist.")
        shown = self.now() - timedelta(seconds=self.lag_s)
        rows = [
            each.row if self.numbers_in_polls else without_number(each)
            for each in self.messages
            if each.service == service
            and (dc is None or each.dc == dc)
            and each.at <= shown
            and since <= stamp_of(each.at) <= until
        ]
        if not rows and self.reports_nothing_found:
            raise ValueError("No records found.")
        return {**success(), "Responses": [{"Response": rendered(row, self.artefacts)} for row in rows]}

    def _quantity(self, params: dict[str, str]) -> Row:
        text, dc = params.pop("productCodes", ""), params.pop("dc", "")
        if params or not text:
            raise ValueError("The productCodes field is required.")
        if not dc and len(self.dcs) > 1:
            raise ValueError("The dc field is required.")
        dc = dc or self.dcs[0]
        codes = text.split("~") if "~" in text else text.split(",")
        rows = [
            {"ProductCode": sku, "DCCode": dc, "LocationType": AVAILABLE, "Quantity": free}
            for sku in codes
            if (free := self.on_hand(dc, AVAILABLE, sku) - self.allocated.get((dc, sku), 0)) > 0
        ]
        return {**success(), "List": {"StockQuantityLineItem": rows}}

    def _submit(self, given: Row) -> Row:
        check_order(given)
        order, rows = given["WebSalesOrder"], given["List"]["SalesOrderLineItem"]
        number, dc = order["SalesOrderNumber"], given["SalesOrderHeader"]["DCCode"]
        if dc not in self.dcs:
            raise ValueError(f"Error Submitting SalesOrder: {number} - Error. DC {dc} does not exist.")
        codes = [row["ProductCode"] for row in rows]
        numbers = [row["LineNumber"] for row in rows]
        if (
            len({code.casefold() for code in codes}) < len(rows)
            or len(set(numbers)) < len(rows)
            or any(row["Quantity"] <= 0 for row in rows)
        ):
            raise ValueError(f"Error Submitting SalesOrder: {number} - Error. Its lines are not valid.")
        loaded = self.load_order(
            number,
            {row["ProductCode"]: row["Quantity"] for row in rows},
            reference=order.get("SalesOrderReference") or "",
            dc=dc,
            record_id=order.get("GUID") or "",
            numbers=dict(zip(codes, numbers, strict=True)),
        )
        loaded.body = given
        return {**success(), "GUID": loaded.record_id}

    def _status(self, guid: str) -> Row:
        order = next((each for each in self.orders.values() if each.record_id == guid), None)
        if order is None:
            raise ValueError("Error Retrieving SalesOrder Status - Error. Sales Order does not exist.")
        return {**success(), "SalesOrder": {"SalesOrderNumber": order.number, "Status": order.status}}

    def _announce(self, given: Row) -> Row:
        try:
            number = str(given["Receipt"]["ASNNumber"])
            codes = [str(row["ProductCode"]) for row in given["List"]["ReceiptLineItem"]]
        except (KeyError, TypeError):
            raise ValueError("The ASNNumber field is required.") from None
        if number in self.announced:
            raise ValueError(f"Error Submitting Receipt: {number} - Error. Receipt already exists.")
        if len(set(codes)) < len(codes):
            raise ValueError(f"Error Submitting Receipt: {number} - Error. A product is on two lines.")
        self.announced[number] = given
        return {**success(), "GUID": self._id("asn")}
