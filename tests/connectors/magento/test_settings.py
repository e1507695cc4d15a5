import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.base.settings import ConnectorSettings
from connectors.magento.settings import STATES, MagentoSettings
from tests.connectors.magento.conftest import settings_of


def test_the_defaults_are_those_of_the_reference():
    settings = settings_of()
    assert settings.states == dict(STATES)
    assert [state for state, role in STATES.items() if role == "placed"] == ["processing", "complete", "closed"]
    assert (settings.auth, settings.currency, settings.store_code, settings.poll_interval_s) == (
        "oauth1",
        "order",
        "all",
        30,
    )


def test_states_are_changed_one_by_one():
    assert settings_of(states={"new": "placed"}).states == {**STATES, "new": "placed"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_url": "http://shop.example"}, "http:// off this machine"),
        ({"base_url": "shop.example"}, "is not the URL"),
        ({"base_url": "https://user:pw@shop.example"}, "is not the URL"),
        ({"base_url": "https://[shop"}, "is not the URL"),
        ({"store_code": "../admin"}, "no store view code"),
        ({"store_ids": [-1]}, "below 0"),
        ({"states": {"shipped": "placed"}}, "names shipped"),
        ({"states": {"canceled": "placed"}}, "takes canceled for placed"),
        ({"states": {"closed": "wait"}}, "must be placed"),
        ({"states": {"new": "later"}}, "'wait', 'placed' or 'cancelled'"),
        ({"flows": []}, "empty"),
        ({"flows": ["orders", "orders"]}, "twice"),
        ({"flows": ["products"]}, "'orders', 'shipments' or 'creditmemos'"),
        ({"refunded_states": [3]}, r"\[1, 2\]"),
        ({"credits": ["base_gift_cards_amount"]}, "without base_"),
        ({"auth": "bearer"}, "bearer needs token"),
        ({"consumer_secret": None}, "oauth1 needs consumer_secret"),
        ({"access_token": "literal-canary"}, "never written here"),
        ({"page_size": 301}, "less than or equal to 300"),
        ({"overlap_s": 10}, "greater than or equal to 60"),
        ({"own_mark": "x"}, "at least 4"),
        ({"colour": "red"}, "not permitted"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(change, said):
    with pytest.raises(ValidationError, match=said) as caught:
        settings_of(**change)
    assert "canary" not in str(caught.value)


def test_a_loopback_shop_may_be_plain():
    assert settings_of(base_url="http://127.0.0.1:8080/").base_url == "http://127.0.0.1:8080"


def test_the_example_of_the_page_is_a_configuration():
    page = (Path(__file__).parents[3] / "connectors/magento/README.md").read_text(encoding="utf-8")
    (table,) = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])["connectors"].values()
    environ = {value.removeprefix("env:"): "x" for value in table.values() if str(value).startswith("env:")}
    assert MagentoSettings.model_validate(table, context={"environ": environ}).locations == {"wh-uk": "LON1"}
    documented = page.partition("## Settings")[2].partition("## What becomes")[0]
    common = set(ConnectorSettings.model_fields) | {
        "base_url",
        "flows",
        "page_size",
        "timeout_s",
        "own_mark",
        "carriers",
    }
    credentials = {"consumer_key", "consumer_secret", "access_token", "access_token_secret", "token"}
    named = documented.replace("`_code`", "`adjustment_tax_code`")
    assert not [name for name in set(MagentoSettings.model_fields) - common - credentials if f"`{name}`" not in named]
