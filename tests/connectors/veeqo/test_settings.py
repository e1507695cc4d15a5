"""What a `[connectors.<name>]` of kind veeqo may say."""

import pytest
from pydantic import ValidationError

from tests.connectors.veeqo.conftest import KEY, settings


def test_a_key_is_enough():
    assert settings().reads == ("orders", "dispatches", "stock")
    assert KEY not in repr(settings())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"locations": {"11": "LON1", "12": "LON1"}}, "one to one"),
        ({"url": "http://api.veeqo.com"}, "unencrypted"),
        ({"url": "https://user:x@api.veeqo.com"}, "api_key"),
        ({"url": "https://api.veeqo.com/v2"}, "address"),
        ({"api_key": KEY}, "never written here"),
        ({"tax_code": "{land}"}, "filled in"),
        ({"page_size": 500}, "100"),
        ({"unknown": 1}, "Extra inputs"),
    ],
)
def test_faults_say_what_mends_them_and_not_what_was_written(change, told):
    with pytest.raises(ValidationError, match=told) as caught:
        settings(**change)
    assert KEY not in str(caught.value)


def test_ids_may_be_numbers_and_a_simulator_on_this_machine_needs_no_tls():
    assert settings(relayed_channels=31, ignored_warehouses=[11, "12"]).ignored_warehouses == ("11", "12")
    assert settings(url="http://127.0.0.1:8080/").url == "http://127.0.0.1:8080"
