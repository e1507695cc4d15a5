import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from connectors.ims import mappings
from connectors.ims.address import InboxAddress
from connectors.ims.settings import ImsSettings, mapping_of

CSV = {
    "files": "adj-*.csv",
    "event": "stock_adjusted",
    "timezone": "Europe/London",
    "columns": {
        "event_id": "Ref",
        "sku": "Item",
        "location": "Whse",
        "delta": "Qty",
        "reason": "Why",
        "occurred_at": "When",
    },
    "values": {"reason": {"DMG": "damaged"}},
}


def settings(tmp_path, **fields):
    table = {"kind": "ims", "company": "acme", "inbox": "in/shop"} | fields
    return ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {"SECRET": "canary"}})


def test_the_inbox_is_relative_to_the_configuration(tmp_path):
    assert settings(tmp_path).inbox == tmp_path / "in/shop"
    assert settings(tmp_path, inbox=str(tmp_path / "x")).inbox == tmp_path / "x"


KEY = "SHA256:" + "a" * 43
SFTP = {"inbox": "sftp://wms@host/in", "host_key": KEY, "password": "env:SECRET"}
HTTPS = {"inbox": "https://host/in", "token": "env:SECRET"}


def test_an_inbox_may_be_on_a_server_and_is_then_looked_at_less_often(tmp_path):
    sftp = settings(tmp_path, **SFTP)
    assert sftp.inbox == InboxAddress("sftp", "wms", "host", 22, "/in/")
    assert settings(tmp_path, **HTTPS | {"inbox": "https://host:8443/a%20b"}).inbox == InboxAddress(
        "https", None, "host", 8443, "/a b/"
    )
    assert (sftp.poll_interval_s, settings(tmp_path).poll_interval_s) == (30, 1)
    assert settings(tmp_path, **SFTP, poll_interval_s=5).poll_interval_s == 5
    assert "canary" not in repr(sftp) + str(sftp.model_dump(mode="json"))
    assert sftp.model_dump(mode="json")["inbox"] == "sftp://wms@host:22/in/"


def test_plain_http_is_for_this_machine_and_for_development(tmp_path):
    assert settings(tmp_path, inbox="http://127.0.0.1:8080/in").inbox.port == 8080
    with pytest.raises(ValidationError, match="use https"):
        settings(tmp_path, inbox="http://host/in")
    table = {"kind": "ims", "company": "acme", "inbox": "http://host/in"}
    assert ImsSettings.model_validate(table, context={"folder": tmp_path, "local": True}).inbox.host == "host"


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"inbox": ""}, "is not a folder"),
        ({"inbox": "ftp://host/in"}, "no URL that we can read"),
        ({"inbox": "sftp://host:x/in"}, "is no URL"),
        ({"inbox": "sftp:///in"}, "no URL that we can read"),
        ({"inbox": "sftp://wms:canary@host/in"}, "carries a password"),
        ({"inbox": "https://host/in?token=canary"}, "more than an address"),
        ({"inbox": "https://host/in/../x"}, "has . or .. in its path"),
        (SFTP | {"inbox": "sftp://host/in"}, "names no user"),
        (SFTP | {"host_key": None}, "must be known beforehand"),
        (SFTP | {"known_hosts": "hosts"}, "must be known beforehand"),
        (SFTP | {"host_key": "MD5:aa:bb"}, "no fingerprint"),
        (SFTP | {"password": None}, "nothing to sign on with"),
        (SFTP | {"password": "canary"}, "never written here"),
        (SFTP | {"key_passphrase": "env:SECRET"}, "opens nothing"),
        (SFTP | {"token": "env:SECRET"}, "token is for an inbox at https://"),
        (SFTP | {"done": "delete"}, "done is for an inbox at https://"),
        (HTTPS | {"host_key": KEY}, "host_key is for an inbox at sftp://"),
        (HTTPS | {"password": "env:SECRET"}, "a password goes with a user"),
        (HTTPS | {"inbox": "https://wms@host/in"}, "a password goes with a user"),
        (HTTPS | {"inbox": "https://wms@host/in", "password": "env:SECRET"}, "keep the one"),
        (HTTPS | {"ca_file": "nowhere"}, "names no file"),
        ({"inbox": "in", "password": "env:SECRET"}, "password is for an inbox at sftp:// and https://"),
    ],
)
def test_an_inbox_that_cannot_work_is_a_problem_and_shows_no_secret(tmp_path, table, told):
    (tmp_path / "hosts").touch()
    with pytest.raises(ValidationError, match=told) as error:
        settings(tmp_path, **table)
    assert "canary" not in str(error.value)


def test_a_mapping_of_the_contract_is_taken(tmp_path):
    assert settings(tmp_path, csv={"adjustments": CSV}).csv["adjustments"].delimiter == ","


def test_the_settings_that_the_readme_shows_are_valid(tmp_path):
    text = (Path(mappings.__file__).parent / "README.md").read_text(encoding="utf-8")
    table = tomllib.loads(re.search("```toml\n(.*?)```", text, re.DOTALL)[1])["connectors"]["wms"]
    found = settings(tmp_path, **table)
    assert {*found.csv, *found.json} == {"adjustments", "despatches", "stock", "orders"}


def without(name):
    return {field: column for field, column in CSV["columns"].items() if field != name}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"event": "stock_adjustment"}, "is not an event type"),
        ({"columns": CSV["columns"] | {"colour": "Colour"}}, "names colour"),
        ({"columns": without("occurred_at")}, "no column for occurred_at"),
        ({"columns": without("delta")}, "no column for level, sequence"),
        ({"values": {"note": {"a": "b"}}}, "values maps note"),
        ({"encoding": "utf-32"}, "no encoding"),
        ({"encoding": "cp500"}, "no encoding"),
        ({"quote": "a"}, "cannot quote"),
        ({"quote": ","}, "quote is the delimiter"),
        ({"decimal": ";"}, "',' or|or ','"),
        ({"decimal": ",", "thousands": ","}, "same as decimal"),
        ({"comment": '"x'}, "begins as a cell can"),
        ({"skip_lines": -1}, "greater than or equal"),
        ({"files": "in/adj-*.csv"}, "names a folder"),
        ({"columns": CSV["columns"] | {"sku": 2}}, "header = false"),
        ({"header": False}, "columns has no number for event_id"),
        ({"columns": CSV["columns"] | {"batches.number": "Lot"}}, "no column for batches.quantity"),
        ({"encoding": "nonsense"}, "no encoding"),
        ({"delimiter": '"'}, "cannot separate"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"timezone": "Europe/Londinium"}, "no time zone"),
        ({"timezone": None, "time_format": "%d/%m/%Y"}, "add timezone"),
        ({"time_format": "%Q"}, "strptime"),
        ({"time_format": "%d/%m/%Y %H:%M %Z"}, "use %z, or timezone"),
        ({"repeated_hour": "third"}, "'first' or 'second'"),
        ({"negative": "-"}, "negative"),
        ({"templates": {"colour": "red"}}, "templates names colour"),
        ({"templates": {"sku": "A"}}, "templates and columns both have sku"),
        ({"templates": {"note": "{line}"}}, "templates.note has something else in braces; write one of {file}"),
        ({"templates": {"note": "{row!r}"}}, "something else in braces"),
        ({"templates": {"note": "{"}}, "something else in braces"),
        ({"templates": {"note": "{}"}}, "something else in braces"),
        ({"templates": {"note": "{2}"}}, r"templates.note has \{2\}, but files has 1 \*"),
        ({"group_by": "Ref"}, "columns names no field of lines"),
        ({"group_apart": True}, "add group_by"),
        ({"group_by": 1}, "group_by has a number"),
    ],
)
def test_a_mapping_that_cannot_work_is_a_problem(tmp_path, change, told):
    with pytest.raises(ValidationError, match=told):
        settings(tmp_path, csv={"adjustments": CSV | change})


JSON = {
    "files": "orders-*.json",
    "event": "order_placed",
    "records": "orders[*]",
    "fields": {
        "order_id": "id",
        "occurred_at": "created",
        "currency": "'GBP'",
        "ship_to.city": "address.town",
        "lines": "items",
        "lines.line_id": "row",
        "lines.sku": "code",
        "lines.quantity": "qty",
        "lines.unit_price": "net",
    },
}


def test_a_mapping_of_documents_is_taken_and_found_by_name(tmp_path):
    found = settings(tmp_path, json={"orders": JSON}, csv={"all": CSV | {"files": "*"}})
    assert mapping_of("orders-1.json", found) is found.json["orders"]
    assert mapping_of("other.json", found) is None
    assert mapping_of("a.tsv", found) is found.csv["all"]
    assert mapping_of("a.jsonl", found) is mapping_of("a.csv.part", found) is None


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"records": "orders["}, "records is no JMESPath"),
        ({"fields": JSON["fields"] | {"order_id": "[["}}, "fields.order_id is no JMESPath"),
        ({"fields": JSON["fields"] | {"colour": "c"}}, "fields names colour"),
        ({"fields": JSON["fields"] | {"shipping": "s"}}, 'add some of "shipping.method"'),
        ({"fields": {k: v for k, v in JSON["fields"].items() if k != "lines"}}, "but not the list; add lines"),
        ({"fields": {k: v for k, v in JSON["fields"].items() if k != "order_id"}}, "no path for order_id"),
        ({"fields": {k: v for k, v in JSON["fields"].items() if k != "lines.sku"}}, "no path for lines.sku"),
        ({"values": {"channel": {"a": "b"}}}, "values maps channel"),
        ({"max_bytes": 0}, "greater than or equal"),
    ],
)
def test_a_mapping_of_documents_that_cannot_work_is_a_problem(tmp_path, change, told):
    with pytest.raises(ValidationError, match=told):
        settings(tmp_path, json={"orders": JSON | change})
