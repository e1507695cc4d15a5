"""The way from a client to a simulator, without sockets."""

from typing import Any

import httpx

from lab.simulators.wire import ConnectionDroppedError


class Wire(httpx.AsyncBaseTransport):
    """A simulator in process; a connection that it drops is what httpx makes of one."""

    def __init__(self, app: Any) -> None:
        self._inner = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionDroppedError:
            raise httpx.ReadError(self.said_of(request), request=request) from None

    def said_of(self, request: httpx.Request) -> str:
        """The text of httpx's error."""
        return "dropped"
