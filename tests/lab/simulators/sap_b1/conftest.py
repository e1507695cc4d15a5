"""The company by itself, and the Service Layer over HTTP."""

from collections.abc import AsyncIterator

import pytest

from lab.simulators.sap_b1.state.company import Company
from tests.lab.simulators.sap_b1.company import MASTER, clock
from tests.lab.simulators.sap_b1.http import World


@pytest.fixture
def company() -> Company:
    return Company(clock=clock, with_claims=True, master_data=MASTER)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.login()
    yield world
    await world.client.aclose()
