"""What of B1's words a person may see: our codes, and nothing about people."""

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from connectors.sap_b1.redaction import codes_of, personal_values_of, redact


@pytest.mark.parametrize(
    "text",
    [
        "Item code 'TS-1' already exists",
        "131 - Item 5012345678900 is frozen in warehouse 1801 and bin location 1801-A",
        '1470000341 - Fully allocate item "012345" to bin locations in warehouse "1801"',
        "10001069 Quantity falls into negative inventory  [INV1.ItemCode][line: 1]",
        "Error -10 - 10000515 - Item 5012345678900 not found in Warehouse 1824",
        "Update the exchange rate , 'EUR'  [ORDR.DocRate]",
        "(12001) Order is locked by credit control",
        "1320000140 - Business partner code 'SC-208615' already assigned",
        "Property 'ShipToFoo' of 'Document' is invalid",
        "Entity with value('7') does not exist",
        "Batch/serial number L1 does not exist; specify a valid batch/serial number",
        "12.500000 of 1000.000000 on 2026-11-21 or 31.12.2026",
        "order_placed-NDCQJC7EIGGE5SFJKTST7IIXFA stands in row 12",
        '[OINV.GroupNum] , "No matching records found (ODBC -2028)"',
    ],
)
def test_what_a_person_needs_stands(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Customer 'O'Brien' of \"Acme\" unknown", "Customer '…' of '…' unknown"),
        ("Customer Jane Doe has exceeded credit limit", "Customer … has exceeded credit limit"),
        ("mail jane.doe@example.com refused", "mail … refused"),
        ("Item jane.doe@example.com", "Item …"),
        ("call +44 20 7946 0958 now", "call … now"),
        ("Phone (020) 7946-0958", "Phone …"),
        ("order 0207 946 0958", "order …"),
        ("card 4111 1111 1111 1111 declined", "card … declined"),
        ("deliver to 12 High Street, London SW1A 1AA", "deliver to …, London …"),
        (
            "No state found for ship-to address 'Elm Row 5'; define it",
            "No state found for ship-to address '…'; define it",
        ),
        ("Invalid value 'Jane Doe' for field 'CardName'", "Invalid value '…' for field 'CardName'"),
        ("Document of reference 'Jane' exists", "Document of reference '…' exists"),
        ("password: hunter", "password …"),
        ("Session 550e8400-e29b-41d4-a716-446655440000 ended", "Session … ended"),
        ("Herr Müller fehlt", "… fehlt"),
        ("a\r\nb\x1b[31m\u2028c", "a b [31m c"),
    ],
)
def test_what_is_personal_goes(text: str, kept: str) -> None:
    assert redact(text) == kept


def test_what_was_sent_says_what_is_a_code_and_what_is_personal() -> None:
    body = {
        "CardCode": "C-WEB",
        "NumAtCard": "7654321",
        "AddressExtension": {"ShipToStreet": "Elm", "ShipToAddress2": "Ada Lovelace", "ShipToCountry": "GB"},
        "DocumentLines": [{"ItemCode": "Rose", "WarehouseCode": "LON1", "BatchNumbers": [{"BatchNumber": "ch 1"}]}],
    }
    codes, personal = codes_of([body, None]), personal_values_of([body])
    assert codes == {"C-WEB", "7654321", "Rose", "LON1", "ch 1"}
    assert personal == {"Elm", "Ada Lovelace"}
    text = "Kunde 'C-WEB' ada lovelace, Elm: 'Rose' aus 'ch 1' zu 7654321 und 1234567"
    assert redact(text, codes=codes, personal=personal) == "Kunde 'C-WEB' …, …: 'Rose' aus 'ch 1' zu 7654321 und …"


CODES = st.text(string.ascii_uppercase + string.digits + "-_./", min_size=3, max_size=50).filter(
    lambda code: code[0].isalnum() and code[-1].isalnum()
)
KEEPING = st.sampled_from(
    (
        "131 - Item {} is frozen in warehouse LON1",
        "10000515 - Item A1 not found in Warehouse {}",
        'Fully allocate item "{}" to bin locations',
        "Item code '{}' already exists",
        "Artikel {} fehlt",
        "'{}' is not valid",
        "Order {} cannot be changed",
    )
)


@given(KEEPING, CODES)
def test_a_code_of_ours_stands_wherever_b1_puts_it(template: str, code: str) -> None:
    assume(not (code.isdigit() and len(code) < 5))
    assert code in redact(template.format(code), 1000, codes=frozenset({code}))


@given(
    KEEPING.filter(lambda template: "tem" in template or "Wareh" in template),
    st.from_regex(r"[1-9]\d{6,13}", fullmatch=True),
)
def test_an_item_or_a_warehouse_of_many_digits_stands_by_the_word_before_it(template: str, code: str) -> None:
    assert code in redact(template.format(code))


DIGITS = st.text(string.digits, min_size=7, max_size=7)
EMAILS = st.from_regex(r"[a-z][a-z0-9.]{2,12}@[a-z]{3,9}\.(com|org)", fullmatch=True)
PHONES = st.builds(
    lambda a, digits, gap: f"+{a}{gap}{digits[:3]}{gap}{digits[3:]}", st.integers(1, 99), DIGITS, st.sampled_from(" -.")
)
CARDS = st.from_regex(r"4\d{3}( |-)\d{4}\1\d{4}\1\d{4}", fullmatch=True)
TOKENS = st.uuids().map(str) | st.from_regex(r"eyJ[A-Za-z0-9_-]{20}\.[A-Za-z0-9_-]{20}", fullmatch=True)
LOSING = st.sampled_from(
    (
        "refused: {}",
        "{} is not valid  [OCRD.Phone1]",
        "Item A1 of {} unknown",
        "131 - {} in warehouse LON1",
        "'{}' unknown",
        "order {}",
    )
)


@given(LOSING, EMAILS | PHONES | CARDS | TOKENS)
def test_what_has_the_shape_of_something_personal_goes_wherever_b1_puts_it(template: str, personal: str) -> None:
    assume(not ("order" in template and len(personal) == 36))  # an order of a source may be called so
    assert personal not in redact(template.format(personal))


NAMES = st.from_regex(r"[A-Z][a-z]{2,8} [A-Z][a-z]{2,8}", fullmatch=True)


@given(
    st.sampled_from(
        ("Customer {} is inactive", "Contact person '{}' unknown", "name: {}", "Mr {} called", "'{}' unknown")
    ),
    NAMES,
)
def test_a_name_goes_where_a_word_says_that_it_is_one(template: str, name: str) -> None:
    assert name not in redact(template.format(name))


@given(st.text(min_size=3, max_size=40).filter(lambda text: text.isprintable() and text == text.strip()))
def test_what_was_sent_about_a_person_goes_without_any_sign_of_its_own(value: str) -> None:
    assume(value not in "Value  of the field … [OCRD.CardName]" and value != "…")
    assert value not in redact(f"Value {value} of the field [OCRD.CardName]", personal=frozenset({value}))


@given(st.text(), st.frozensets(st.text()), st.frozensets(st.text()))
def test_a_redacted_text_is_one_short_line(text: str, codes: frozenset[str], personal: frozenset[str]) -> None:
    kept = redact(text, codes=codes, personal=personal)
    assert len(kept) <= 300
    assert kept.splitlines() in ([], [kept])
