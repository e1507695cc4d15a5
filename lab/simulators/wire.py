"""What the simulators share of ASGI: the shapes of it, the body of a request, and a connection that drops."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]


class ConnectionDroppedError(ConnectionError):
    """The simulator dropped the connection; raised out of the app where it has no transport to close.

    The request was, or was not, carried out.
    """


async def whole_body(receive: Receive) -> bytes:
    """A request's body; what there is of it where the client has gone."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
