"""A digest to a webhook: JSON over HTTPS, signed as Standard Webhooks has it."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping

from connectors.base.clock import Clock
from connectors.base.errors import FatalError, RejectedError
from connectors.base.http import HttpClient, StatusRule, retry_after_s, status_error
from connectors.base.settings import Secret
from connectors.notices.digest import DigestMessage

_TIMEOUT_S = 10.0
_ANSWER_BYTES = 64 * 1024  # nothing in the answer is read
_REFUSED = frozenset({400, 413, 415, 422})
_RULES: Mapping[int, StatusRule] = {
    401: StatusRule(FatalError, "we are refused", "fix the address or the secret"),
    403: StatusRule(FatalError, "we are refused", "fix the address or the secret"),
    404: StatusRule(FatalError, "there is nothing there", "fix the address"),
    410: StatusRule(FatalError, "it is gone", "take the target out, or fix the address"),
}


class WebhookSender:
    """Sends to one address. Lifecycle: `send` any number of times; `close` once.

    Args:
        name: Of the target; errors begin with it.
        url: Where to.
        secret: Signs; None: unsigned.
        clock: The time in the signature.
    """

    def __init__(self, name: str, url: Secret, secret: Secret | None, clock: Clock) -> None:
        self._name, self._url, self._clock = name, url, clock
        self._key = None if secret is None else _key_of(secret.reveal())
        self._http = HttpClient(f"notices to {name}", timeout_s=_TIMEOUT_S, max_body_bytes=_ANSWER_BYTES)

    async def close(self) -> None:
        await self._http.close()

    async def send(self, message: DigestMessage) -> None:
        """Deliver.

        Raises:
            RejectedError: This very message is refused; the next one may not be.
            ConnectorError: It is not known to be delivered; sent again it has the same id.
        """
        body, at = message.as_json(), str(int(self._clock.now().timestamp()))
        headers = {"content-type": "application/json", "webhook-id": message.id, "webhook-timestamp": at}
        if self._key is not None:
            signed = hmac.new(self._key, f"{message.id}.{at}.".encode() + body, hashlib.sha256).digest()
            headers["webhook-signature"] = f"v1,{base64.b64encode(signed).decode()}"
        answer = await self._http.request("POST", self._url.reveal(), what="webhook", headers=headers, content=body)
        if 200 <= answer.status < 300:
            return
        if answer.status in _REFUSED:
            raise RejectedError(f"notices to {self._name}: the webhook refuses the message with {answer.status}")
        asked_s = retry_after_s(answer.headers, self._clock.now())
        raise status_error(f"notices to {self._name}: the webhook", answer.status, _RULES, asked_s)


def _key_of(secret: str) -> bytes:
    """Of `whsec_<base64>` the bytes in it, of any other secret its own."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
