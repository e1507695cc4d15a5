"""A broker in memory that may crash at any await, and a clock that stands still."""

import pytest

from lab.conformance.memory import Crash, FixedClock, MemoryBroker
from schemas.codec import Codec, embedded_codec


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def clock() -> FixedClock:
    return FixedClock()


@pytest.fixture(scope="session")
def codec() -> Codec:
    return embedded_codec()


@pytest.fixture
def crash() -> type[Crash]:
    return Crash


@pytest.fixture
def make_broker() -> type[MemoryBroker]:
    return MemoryBroker
