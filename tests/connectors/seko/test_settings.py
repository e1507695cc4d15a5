"""Settings: what cannot work is refused with its remedy."""

import pytest
from pydantic import ValidationError

from tests.connectors.seko.conftest import SECRET, settings_of


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"push_secrets": [], "api_key": None}, "nothing would be read"),
        ({"push_auth": "basic"}, "user:password"),
        ({"url": "http://hub.example/api"}, "https://"),
        ({"url": "https://u:p@hub.example/api"}, "more than an address"),
        ({"locations": {"DCCL01": "LON1", "DCCL02": "LON1"}}, "one to one"),
        ({"held_types": ["Quarantine", "available stock"]}, "keep it in one"),
        ({"received_into": "Goods In"}, "received_into names Goods In"),
        ({"summary_columns": {"QuantityOnHand": "Shelf"}}, "summary_columns names Shelf"),
        ({"fields": {"dispatch": {"qty": "Pieces"}}}, "dispatch.qty is no field of ours"),
        ({"paths": {"movement": "stock/movement/{from}"}}, "{from} and {to}"),
        ({"known_deliveries": "("}, "no regular expression"),
        ({"timezone": "London"}, "IANA"),
        ({"slice_s": 7200}, "below twice overlap_s"),
        ({"reasons": {"DMG": "transfer"}}, "Input should be"),
    ],
)
def test_what_cannot_work_is_refused_with_its_remedy(changes, told):
    with pytest.raises(ValidationError) as caught:
        settings_of(**changes)
    assert told in str(caught.value)


def test_facilities_are_those_that_locations_names_unless_dcs_says():
    locations = {"DCCL01": "LON1", "DCCL01/Quarantine": "LONQ", "DCCL02": "NTH1"}
    assert settings_of(locations=locations).dc_codes == ("DCCL01", "DCCL02")
    assert settings_of(locations=locations, dcs="DCCL09").dc_codes == ("DCCL09",)


def test_only_services_with_a_path_are_polled_and_none_without_a_key():
    assert settings_of().polled == ("dispatch", "adjustment", "movement")
    assert settings_of(paths={"dispatch": "", "receipt": "grns/{from}/{to}"}).polled == (
        "receipt",
        "adjustment",
        "movement",
    )
    assert settings_of(api_key=None).polled == ()


def test_settings_are_equal_by_what_was_written_and_show_no_secret():
    one, other = settings_of(), settings_of()
    assert one == other
    assert one.journal is not other.journal
    assert SECRET not in repr(one) + one.model_dump_json()
