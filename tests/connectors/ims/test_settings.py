import pytest
from pydantic import ValidationError

from connectors.ims.settings import ImsSettings

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
    return ImsSettings.model_validate(table, context={"folder": tmp_path, "environ": {}})


def test_the_inbox_is_relative_to_the_configuration(tmp_path):
    assert settings(tmp_path).inbox == tmp_path / "in/shop"
    assert settings(tmp_path, inbox=str(tmp_path / "x")).inbox == tmp_path / "x"


@pytest.mark.parametrize("inbox", ["sftp://host/in", "https://host/in"])
def test_remote_inboxes_are_refused_as_not_yet(tmp_path, inbox):
    with pytest.raises(ValidationError, match="not yet"):
        settings(tmp_path, inbox=inbox)


def test_a_mapping_of_the_contract_is_taken(tmp_path):
    assert settings(tmp_path, csv={"adjustments": CSV}).csv["adjustments"].delimiter == ","


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
        ({"encoding": "utf-16"}, "no encoding"),
        ({"encoding": "nonsense"}, "no encoding"),
        ({"delimiter": '"'}, "cannot separate"),
        ({"delimiter": ";;"}, "at most 1 character"),
        ({"timezone": "Europe/Londinium"}, "no time zone"),
        ({"timezone": None, "time_format": "%d/%m/%Y"}, "add timezone"),
        ({"time_format": "%Q"}, "strptime"),
    ],
)
def test_a_mapping_that_cannot_work_is_a_fault(tmp_path, change, told):
    with pytest.raises(ValidationError, match=told):
        settings(tmp_path, csv={"adjustments": CSV | change})
