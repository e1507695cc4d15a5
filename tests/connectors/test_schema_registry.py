import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from connectors.base.errors import FatalError, RetriableError
from connectors.schema_registry import HttpRegistry
from schemas.codec import Codec, UnknownSchemaError
from schemas.registry import known_schemas
from tests import strategies


class Registry:
    """Confluent's API as far as we use it."""

    def __init__(self) -> None:
        self.schemas: list[str] = []
        self.subjects: list[str] = []
        self.calls = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        parts = request.url.path.strip("/").split("/")
        if request.method == "POST" and parts[0] == "subjects" and parts[2] == "versions":
            text = json.loads(request.content)["schema"]
            self.subjects.append(parts[1])
            if text not in self.schemas:
                self.schemas.append(text)
            return httpx.Response(200, json={"id": 100 + self.schemas.index(text)})
        if request.method == "GET" and parts[:2] == ["schemas", "ids"]:
            place = int(parts[2]) - 100
            if 0 <= place < len(self.schemas):
                return httpx.Response(200, json={"schema": self.schemas[place]})
        return httpx.Response(404, json={"error_code": 40403})


@pytest.fixture
def make() -> Iterator[Callable[[Callable[[httpx.Request], httpx.Response]], HttpRegistry]]:
    made: list[HttpRegistry] = []

    def build(handler: Callable[[httpx.Request], httpx.Response]) -> HttpRegistry:
        made.append(HttpRegistry("http://127.0.0.1:8081", httpx.MockTransport(handler), monotonic=lambda: 1000.0))
        return made[-1]

    yield build
    for each in made:
        each.close()


def test_values_travel_under_the_registry_s_ids(make: Callable[..., HttpRegistry]) -> None:
    registry = Registry()
    writer, reader = Codec(make(registry)), Codec(make(registry))
    event = strategies.read_example(strategies.examples()[0])
    data = writer.encode(event)
    assert int.from_bytes(data[1:5], "big") == 100
    assert reader.decode(data, type(event)) == event
    assert registry.subjects[0].startswith("b1streams.")


def test_an_id_is_asked_for_once_and_a_miss_is_believed_for_a_while(make: Callable[..., HttpRegistry]) -> None:
    registry = Registry()
    ours = make(registry)
    number = ours.id_of(known_schemas()["stock_adjusted.v1"])
    asked = registry.calls
    assert ours.schema_text(number) == ours.schema_text(number)
    assert ours.schema_text(7) is None
    assert ours.schema_text(7) is None
    assert registry.calls == asked + 2


def test_a_schema_of_somebody_else_is_refused_whatever_the_registry_says(make: Callable[..., HttpRegistry]) -> None:
    registry = Registry()
    registry.schemas.append('{"type": "record", "name": "x", "fields": [{"name": "a", "type": "long"}]}')
    with pytest.raises(UnknownSchemaError):
        Codec(make(registry)).decode(b"\0" + (100).to_bytes(4, "big") + b"\2", object)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_in_trouble_is_asked_again_later(make: Callable[..., HttpRegistry], status: int) -> None:
    with pytest.raises(RetriableError):
        make(lambda _: httpx.Response(status)).schema_text(1)


def test_no_answer_and_nonsense_are_retriable_and_a_refusal_is_fatal(make: Callable[..., HttpRegistry]) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    for handler in (away, lambda _: httpx.Response(200, text="<html>"), lambda _: httpx.Response(200, json=[])):
        with pytest.raises(RetriableError):
            make(handler).schema_text(1)
    for status in (401, 403, 409, 422):
        with pytest.raises(FatalError):
            make(lambda _, status=status: httpx.Response(status)).id_of(known_schemas()["posting.v1"])
