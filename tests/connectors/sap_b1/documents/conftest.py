import pytest

from tests.connectors.sap_b1.documents.world import B1


@pytest.fixture
def b1() -> B1:
    return B1()
