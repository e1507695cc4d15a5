"""The shop's REST, as an ASGI application.

As strict as the real one and with its habits: no order without a sort, DESC where none is said, null keys left out, the
last page repeated for ever, whole seconds, bearer off since 2.4.4, OAuth 1.0a with nonces, HTML when down. Written from
the vendor's documentation and the code of magento/magento2 (read 2026-11-21 and 2026-12-01); imports nothing of ours.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from fnmatch import fnmatchcase
from random import Random
from typing import Any
from urllib.parse import parse_qsl, unquote

from lab.simulators.magento.catalogue import ShopCatalogue
from lab.simulators.magento.faults import IntegrationCredentials, MagentoFault, MagentoFaultKind, MagentoHabits
from lab.simulators.magento.search import search
from lab.simulators.magento.state import LISTS, MagentoShop
from lab.simulators.magento.wire import Authorization, MagentoReply, encoded, html, message, not_authorized
from lab.simulators.wire import ConnectionDroppedError, Receive, Scope, Send, whole_body


@dataclass
class MagentoApi:
    """The shop's REST, as an ASGI application.

    Attributes:
        faults: What will happen; used up as it does.
        on_request: Called with each path before it is answered: tests change rows there.
        requests: Paths with their queries, in order of arrival.
        catalogue: Products, quantities, and what is written.
    """

    shop: MagentoShop
    credentials: IntegrationCredentials = field(default_factory=IntegrationCredentials)
    settings: MagentoHabits = field(default_factory=MagentoHabits)
    random: Random = field(default_factory=lambda: Random(1))  # noqa: S311 -- a simulation
    faults: list[MagentoFault] = field(default_factory=list)
    on_request: Callable[[str], None] = lambda _path: None
    requests: list[str] = field(default_factory=list)
    nonces: set[tuple[str, str]] = field(default_factory=set)
    catalogue: ShopCatalogue = field(init=False)

    def __post_init__(self) -> None:
        self.catalogue = ShopCatalogue(self.shop)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            while (await receive())["type"] != "lifespan.shutdown":
                await send({"type": "lifespan.startup.complete"})
            await send({"type": "lifespan.shutdown.complete"})
            return
        path, query = scope["path"], scope["query_string"].decode("ascii")
        body = await whole_body(receive)
        self.requests.append(f"{path}?{unquote(query)}")
        self.on_request(path)
        try:
            fault = self._fault(path)
            if fault is not None:
                self._fail(fault)
            reply = MagentoReply(200, self._answer(scope, path, query, body))
        except MagentoReply as refused:
            reply = refused
        if fault is not None and fault.kind is MagentoFaultKind.LATE:
            raise ConnectionDroppedError
        if reply.status == 200 and fault is not None and fault.kind is MagentoFaultKind.TRUNCATED:
            reply = MagentoReply(200, reply.body[: len(reply.body) // 2])
        headers = [("content-type", reply.content_type), ("date", format_datetime(self.shop.clock(), usegmt=True))]
        head = [(name.encode(), value.encode()) for name, value in (*headers, *reply.headers)]
        await send({"type": "http.response.start", "status": reply.status, "headers": head})
        await send({"type": "http.response.body", "body": reply.body})

    def _fault(self, path: str) -> MagentoFault | None:
        for fault in self.faults:
            if fault.times > 0 and fnmatchcase(path, fault.path):
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.times -= 1
                return fault
        kinds = [kind for kind, rate in self.settings.rates.items() if self.random.random() < rate]
        return MagentoFault(kinds[0]) if kinds else None

    def _fail(self, fault: MagentoFault) -> None:
        after = ("retry-after", str(fault.retry_after_s))
        match fault.kind:
            case MagentoFaultKind.THROTTLED:
                raise MagentoReply(429, b"Too Many Requests", "text/plain", (after,))
            case MagentoFaultKind.MAINTENANCE:
                raise html(503, after)
            case MagentoFaultKind.INTERNAL:
                text = "Internal Error. Details are available in Magento log file. Report ID: webapi-65f0c0ffee123"
                raise message(500, text)
            case MagentoFaultKind.DROPPED:
                raise ConnectionDroppedError
            case MagentoFaultKind.HTML_200:
                raise html(200)
            case MagentoFaultKind.EXPIRED:
                raise not_authorized()
            case MagentoFaultKind.TRUNCATED | MagentoFaultKind.LATE:
                return

    def _authorize(self, scope: Scope, query: str) -> None:
        check = Authorization(self.credentials, self.nonces).check
        check(scope, query, self.shop.clock(), bearer=self.settings.bearer)

    def _answer(self, scope: Scope, path: str, query: str, body: bytes) -> bytes:
        match = re.fullmatch(r"/rest/([A-Za-z0-9_]+)/V1/([a-z0-9/-]+)", path)
        if match is not None and match[2] == "inventory/sources" and self.settings.sources is not None:
            self._authorize(scope, query)
            rows = [
                {"source_code": code, "name": name, "enabled": True} for code, name in self.settings.sources.items()
            ]
            return encoded({"items": rows, "search_criteria": {}, "total_count": len(rows)})
        if match is not None and scope["method"] != "GET":
            self._authorize(scope, query)
            written = self.catalogue.write(scope["method"], match[2], body, self.settings)
            if written is not None:
                return written
        if match is not None and scope["method"] == "GET" and (listed := self.catalogue.rows(match[2])) is not None:
            self._authorize(scope, query)
            params = parse_qsl(query, keep_blank_values=True)
            return search(listed[0], params, self.settings, self.random, listed[1])
        if match is None or match[2] not in LISTS or scope["method"] != "GET":
            raise message(404, "Request does not match any route.")
        self._authorize(scope, query)
        if match[1] not in ("all", "default"):
            raise message(404, "Specified request cannot be processed.")
        rows = [
            row
            for entity_id, row in self.shop.lists[match[2]].items()
            if self.shop.hidden.get((match[2], entity_id), self.shop.clock()) <= self.shop.clock()
        ]
        return search(rows, parse_qsl(query, keep_blank_values=True), self.settings, self.random)


def build_app(shop: MagentoShop, **options: Any) -> MagentoApi:
    return MagentoApi(shop, **options)
