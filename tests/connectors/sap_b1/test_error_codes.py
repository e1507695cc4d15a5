import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sap_b1.error_codes import ROWS, OutcomeClass, Phase, classify, redact
from schemas.letters import REASONS

PART, WRITE, READ, LOGIN = Phase.PART, Phase.WRITE, Phase.READ, Phase.LOGIN
IT = OutcomeClass


@pytest.mark.parametrize(
    ("phase", "status", "code", "text", "outcome", "reason"),
    [
        (PART, 201, None, "", IT.APPLIED, None),
        (WRITE, 204, None, "", IT.APPLIED, None),
        # the session, the node, throttling
        (WRITE, 401, "301", "Invalid session or session already timeout.", IT.SESSION, None),
        (PART, 401, None, "", IT.SESSION, None),
        (PART, 500, "407", "Table definition not found for '@X'", IT.UNAVAILABLE, None),
        (WRITE, 429, None, "", IT.UNAVAILABLE, None),
        (WRITE, 413, None, "", IT.REJECTED, "erp_refused"),
        # any 5xx on a write
        (WRITE, 500, "-1", "something", IT.UNKNOWN, None),
        (WRITE, 502, None, "", IT.UNKNOWN, None),
        (WRITE, 503, None, "", IT.UNKNOWN, None),
        (PART, 500, None, "", IT.UNKNOWN, None),
        (READ, 503, None, "", IT.UNAVAILABLE, None),
        (READ, 404, "-2028", "No matching records found (ODBC -2028)", IT.REJECTED, "erp_refused"),
        (WRITE, 302, None, "", IT.UNKNOWN, None),
        # exists and locked
        (PART, 400, "-2035", "This entry already exists in the following tables (ODBC -2035)", IT.EXISTS, None),
        (PART, 400, "-2035", "Object locked by another user (ODBC -2035)", IT.EXISTS, None),
        (PART, 400, "-10", "1320000140 - Business partner code 'C1' already assigned", IT.EXISTS, None),
        (PART, 400, "-2039", "Another user or another operation modified data", IT.LOCKED, None),
        (PART, 412, "-2039", "Another user or another operation modified data", IT.LOCKED, None),
        (PART, 400, "-1", "Internal error (-1) occurred", IT.LOCKED, None),
        (PART, 500, "-1116", "Internal error (-1116) occurred", IT.LOCKED, None),
        (PART, 500, "-1", "Transaction was deadlocked on lock resources", IT.LOCKED, None),
        (PART, 400, "-10", "Item 'A1' is locked by user X", IT.LOCKED, None),
        (PART, 400, "-5002", "Internal error (-5002) occurred", IT.REJECTED, "erp_refused"),
        # refusals with a name
        (PART, 400, "-4013", "Posting period locked; specify an alternative date", IT.REJECTED, "period_closed"),
        (PART, 400, "-10", "Date deviates from permissible range", IT.REJECTED, "period_closed"),
        (
            PART,
            400,
            "-10",
            "Quantity falls into negative inventory  [INV1.ItemCode][line: 2]",
            IT.REJECTED,
            "negative_stock",
        ),
        (
            PART,
            400,
            "-5002",
            "10001153 - Insufficient quantity for item A1 with batch B",
            IT.REJECTED,
            "negative_stock",
        ),
        (
            PART,
            400,
            "-4014",
            "Cannot add row without complete selection of batch/serial numbers",
            IT.REJECTED,
            "batch_or_serial_missing",
        ),
        (PART, 400, "-10", "Item 'A1' is inactive", IT.REJECTED, "inactive_item"),
        (PART, 400, "-5002", "Invalid Item", IT.REJECTED, "inactive_item"),
        (PART, 400, "-5002", "Invalid item  [ORDR]", IT.REJECTED, "inactive_item"),
        (PART, 400, "-10", "Business partner is inactive", IT.REJECTED, "erp_refused"),
        (PART, 400, "-5002", "Specify an active branch", IT.REJECTED, "erp_refused"),
        (PART, 403, "-6006", "You are not permitted to perform this action", IT.REJECTED, "not_permitted"),
        (PART, 404, "-2028", "No matching records found (ODBC -2028)", IT.REJECTED, "approval_required"),
        (
            PART,
            400,
            "-2028",
            "No matching records found (ODBC -2028)  [RDR1.ItemCode][line: 1]",
            IT.REJECTED,
            "unknown_item",
        ),
        (PART, 404, "-2028", "Entity with value('7') does not exist", IT.REJECTED, "erp_refused"),
        (
            PART,
            400,
            "-10",
            "One of the base documents has already been closed  [INV1.BaseEntry][line: 1]",
            IT.REJECTED,
            "erp_refused",
        ),
        (PART, 400, "77", "(77) our own rule", IT.REJECTED, "erp_refused"),
        (PART, 500, "-1", "Cannot insert the value NULL into column 'U_X'", IT.REJECTED, "erp_refused"),
        # logins
        (LOGIN, 401, "-304", "Fail to NONE-SSO login from SLD.", IT.REJECTED, None),
        (LOGIN, 401, "-306", "Fail to NONE-SSO login from SLD.", IT.REJECTED, None),
        (LOGIN, 401, "100000027", "Login failed", IT.REJECTED, None),
        (LOGIN, 500, "299", "SAML Login Failed", IT.UNAVAILABLE, None),
        (LOGIN, 500, "100000085", "Maximum number of sessions of this user is reached", IT.UNAVAILABLE, None),
        (LOGIN, 502, None, "", IT.UNAVAILABLE, None),
        (LOGIN, 401, "301", "", IT.REJECTED, None),
    ],
)
def test_an_answer_means(
    phase: Phase, status: int, code: str | None, text: str, outcome: OutcomeClass, reason: str | None
) -> None:
    verdict = classify(phase, status, code, text)
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_the_line_that_b1_names_is_found() -> None:
    verdict = classify(PART, 400, "-10", "Quantity falls into negative inventory  [DocumentLines.ItemCode][line: 12]")
    assert verdict.line == 12
    assert classify(PART, 400, "-10", "no line").line is None


def test_labels_for_metrics_are_few() -> None:
    assert classify(PART, 400, "-2035", "").sap_code == "-2035"
    assert classify(PART, 400, -2035, "").sap_code == "-2035"
    assert classify(PART, 400, "123456", "").sap_code == "other"
    assert classify(WRITE, 502, None, "").sap_code == "none"


def test_every_row_names_its_source_and_a_reason_that_exists() -> None:
    assert all(row.source for row in ROWS)
    assert {row.reason for row in ROWS} - {None} <= REASONS.keys()


def test_every_row_can_be_the_first_that_matches_something() -> None:
    """A refusal has a reason, and nothing else has one."""
    for row in ROWS:
        if Phase.LOGIN not in row.phases:
            assert (row.outcome is IT.REJECTED) == (row.reason is not None)


@given(st.sampled_from(Phase), st.integers(100, 599), st.none() | st.text() | st.integers(), st.text())
def test_everything_has_a_verdict(phase: Phase, status: int, code: str | int | None, text: str) -> None:
    verdict = classify(phase, status, code, text)
    assert (verdict.reason is not None) <= (verdict.outcome is IT.REJECTED)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Item code 'TS-1' already exists", "Item code '…' already exists"),
        ("Customer 'O'Brien' of \"Acme\" unknown", "Customer '…' of '…' unknown"),
        ("mail jane.doe@example.com refused", "mail … refused"),
        ("1320000140 - code 'x'  [OCRD.CardCode][line: 1]", "1320000140 - code '…'  [OCRD.CardCode][line: 1]"),
        ("call +44 20 7946 0958 now", "call … now"),
        ("a\r\nb\x1b[31m\u2028c", "a b [31m c"),
    ],
)
def test_the_values_that_b1_quotes_are_left_out(text: str, kept: str) -> None:
    assert redact(text) == kept


@given(st.text())
def test_a_redacted_text_is_one_short_line(text: str) -> None:
    kept = redact(text)
    assert len(kept) <= 300
    assert kept.splitlines() in ([], [kept])
