"""A Confluent-compatible schema registry behind a URL: which id stands for which of our schemas.

Asked at the start for the ids of everything we write, and once for each id that is met. What an id means never changes,
so answers are kept; that there is no such id is believed for a minute. Calls are synchronous: the codec asks at its
first meeting with a type or an id, not per record.
"""

import ssl
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx

from connectors.base.errors import FatalError, RetriableError
from schemas.schema import Schema

_TYPE = "application/vnd.schemaregistry.v1+json"
_MISS_S = 60.0


class HttpRegistry:
    """`schemas.registry.Registry` over HTTP (Confluent's API: subjects/{subject}/versions, schemas/ids/{id}).

    Args:
        url: Of the registry; a user and password may stand in it.
        transport: In place of the network, for tests.
        monotonic: Seconds, for how long a miss is believed.
    """

    def __init__(
        self, url: str, transport: httpx.BaseTransport | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = httpx.Client(
            base_url=url.rstrip("/") + "/",
            transport=transport,
            trust_env=False,
            follow_redirects=False,
            timeout=5.0,
            verify=ssl.create_default_context(),
            headers={"Accept": _TYPE, "Content-Type": _TYPE},
        )
        self._monotonic = monotonic
        self._texts: dict[int, str] = {}
        self._missing: dict[int, float] = {}

    def id_of(self, schema: Schema) -> int:
        """The id of one of our schemas; registers it where the registry does not know it.

        Raises:
            RetriableError: The registry does not answer.
            FatalError: It refuses the schema (incompatible with what the subject has), or us.
        """
        path = f"subjects/{quote(schema.subject, safe='')}/versions"
        answer = self._ask("POST", path, {"schema": schema.text, "schemaType": "AVRO"})
        if answer is None:
            raise FatalError(f"the schema registry has no {path}; fix schema_registry.url")
        return int(str(answer["id"]))

    def schema_text(self, schema_id: int) -> str | None:
        """The schema with this id; None: there is none.

        Raises:
            RetriableError: The registry does not answer.
            FatalError: It refuses us.
        """
        text = self._texts.get(schema_id)
        if text is None and self._missing.get(schema_id, 0.0) <= self._monotonic():
            answer = self._ask("GET", f"schemas/ids/{schema_id}", None)
            if answer is None:
                self._missing[schema_id] = self._monotonic() + _MISS_S
            else:
                text = self._texts[schema_id] = str(answer["schema"])
        return text

    def close(self) -> None:
        self._client.close()

    def _ask(self, method: str, path: str, body: Mapping[str, str] | None) -> Mapping[str, object] | None:
        try:
            response = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise RetriableError(f"the schema registry does not answer ({type(error).__name__})") from None
        if response.status_code == 404:
            return None
        if response.status_code >= 500 or response.status_code == 429:
            raise RetriableError(f"the schema registry answers HTTP {response.status_code}")
        if response.status_code >= 300:
            raise FatalError(f"the schema registry refuses {method} {path}: HTTP {response.status_code}")
        try:
            answer = response.json()
        except ValueError:
            raise RetriableError(
                "the schema registry answers something that is not JSON; is it another service?"
            ) from None
        if not isinstance(answer, dict) or not {"id", "schema"} & answer.keys():
            raise RetriableError("the schema registry answers without id and schema; is it another service?")
        return answer
