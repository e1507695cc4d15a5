import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.sap_b1.change_set import B1Answer
from connectors.sap_b1.error_codes import ROWS, OutcomeClass, Phase, classify, row_of, says_locked
from schemas.letters import REASONS

PART, WRITE, READ, LOGIN = Phase.PART, Phase.WRITE, Phase.READ, Phase.LOGIN
IT = OutcomeClass


#: (phase, HTTP status, SAP code, text) and what it means: (class, reason).
CASES: list[tuple[Phase, int, str | None, str, OutcomeClass, str | None]] = [
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
    (PART, 400, "-5002", "(20201) b1-streams guard: a document of this U_STREAMS_KEY exists", IT.EXISTS, None),
    (PART, 400, "-5002", "(20203) b1-streams guard: at work", IT.REJECTED, "erp_refused"),
    (PART, 400, "-2039", "Another user or another operation modified data", IT.LOCKED, None),
    (PART, 412, "-2039", "Another user or another operation modified data", IT.LOCKED, None),
    (PART, 400, "-1", "Internal error (-1) occurred", IT.LOCKED, None),
    (PART, 412, None, "", IT.LOCKED, None),
    (PART, 400, "-10", "Item 'A1' is locked by another user", IT.LOCKED, None),
    (PART, 400, "-1", "SQL error: lock wait timeout exceeded", IT.LOCKED, None),
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
    # machinery that fails and says so as if it refused
    (PART, 400, "-1116", "Could not commit transaction: Error -1 detected during transaction", IT.MACHINERY, None),
    (PART, 500, "-1116", "Internal error (-1116) occurred", IT.MACHINERY, None),
    (WRITE, 400, "-1116", "", IT.MACHINERY, None),
    (READ, 400, "-1116", "", IT.MACHINERY, None),
    (PART, 400, "-1", "Sequence was dropped during calling nextval", IT.MACHINERY, None),
    (PART, 400, "-1", "Invalid XML file - at SAPbobsCOM", IT.MACHINERY, None),
    (WRITE, 400, "-8037", "Switch company error: -8037", IT.MACHINERY, None),
    (PART, 400, "-1", "Fail to Get the Bound Database Instance from SLD", IT.MACHINERY, None),
    (WRITE, 500, "-1116", "Could not commit transaction", IT.UNKNOWN, None),
    # the numbers of the session and the node in another answer, or of a customer's own rule
    (PART, 400, "301", "(301) order without a channel", IT.REJECTED, "erp_refused"),
    (PART, 400, "301", "something", IT.REJECTED, "erp_refused"),
    (PART, 400, "407", "something", IT.REJECTED, "erp_refused"),
    (WRITE, 500, "301", "", IT.UNKNOWN, None),
    # words of the customer's notification procedure, whatever they say
    (PART, 400, "-5002", "(12001) Order is locked by credit control", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "(12002) negative margin is not allowed", IT.REJECTED, "erp_refused"),
    (PART, 400, "12003", "(12003) record locked by another user", IT.REJECTED, "erp_refused"),
    (PART, 400, "-5002", "(4) item already exists, is inactive, deadlock", IT.REJECTED, "erp_refused"),
    (PART, 500, "-5002", "(1) Centro de custo não definido", IT.REJECTED, "erp_refused"),
    (WRITE, 400, "-1116", "(7) posting period locked", IT.REJECTED, "erp_refused"),
    # "lock" only where code and words say so
    (PART, 400, "-10", "Item is locked in warehouse LON1", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "Account is locked for manual posting", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "Order is locked by credit control", IT.REJECTED, "erp_refused"),
    # states that end by themselves
    (PART, 400, "-10", "131 - Item 000111 is frozen in warehouse 1801", IT.REJECTED, "item_frozen"),
    (PART, 400, "-10", "131 - Artikel 000111 ist im Lager 1801 gesperrt", IT.REJECTED, "item_frozen"),
    (PART, 400, "-5002", "Item A is frozen in bin location B-1", IT.REJECTED, "item_frozen"),
    (
        PART,
        400,
        "-10",
        "10000156 - Posting Date deviates from the defined range. Define the posting period",
        IT.REJECTED,
        "period_closed",
    ),
    (PART, 400, "-5002", "10000156 - Buchungsdatum außerhalb des Bereichs", IT.REJECTED, "period_closed"),
    (PART, 400, "-4013", "Buchungsperiode gesperrt; anderes Datum angeben", IT.REJECTED, "period_closed"),
    (PART, 400, "-5002", "Update the exchange rate , 'EUR'  [ORDR.DocRate]", IT.REJECTED, "rate_missing"),
    (PART, 400, "-10", "Update the exchange rate   USD", IT.REJECTED, "rate_missing"),
    (PART, 400, "-5002", "Aktualisieren Sie den Wechselkurs , 'EUR'  [ORDR.DocRate]", IT.REJECTED, "rate_missing"),
    # in another session language by code or message id
    (PART, 400, "-2035", "Esta entrada ya existe en las tablas siguientes (ODBC -2035)", IT.EXISTS, None),
    (PART, 400, "-2039", "Ein anderer Benutzer hat Daten geändert", IT.LOCKED, None),
    (PART, 400, "-10", "Ein anderer Benutzer hat Daten geändert [Nachricht 131-183]", IT.LOCKED, None),
    (PART, 400, "-10", "131-183 - Otro usuario ha modificado los datos", IT.LOCKED, None),
    (PART, 400, "-6006", "Sie haben keine Berechtigung", IT.REJECTED, "not_permitted"),
    (PART, 400, "-4014", "Auswahl von Chargen unvollständig", IT.REJECTED, "batch_or_serial_missing"),
    (PART, 400, "-10", "10001153 - Cantidad insuficiente para el artículo A1", IT.REJECTED, "negative_stock"),
    (PART, 400, "-10", "480000112 - Seriennummer nicht vorhanden", IT.REJECTED, "batch_or_serial_missing"),
    (PART, 400, "-10", "10001069 - Artikel XYZ ist inaktiv", IT.REJECTED, "inactive_item"),
    (PART, 400, "-10", "10001071 - Kunde 123 ist inaktiv", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "1320000140 - Geschäftspartnercode 'C1' bereits vergeben", IT.EXISTS, None),
    # words that B1 has for other things, too
    (PART, 400, "-10", "10001069 - Item CUSTOMER-GIFT is inactive", IT.REJECTED, "inactive_item"),
    (PART, 400, "-10", "Item BRANCH-TEA is inactive  [RDR1.ItemCode][line: 1]", IT.REJECTED, "inactive_item"),
    (PART, 400, "-10", "10001071 - Customer 123 is inactive", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "Warehouse 'ITEM-1' is inactive", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "10001069 Quantity falls into negative inventory", IT.REJECTED, "negative_stock"),
    (PART, 400, "-5002", "Tax amount cannot be negative [INVVatSum]", IT.REJECTED, "erp_refused"),
    (PART, 400, "-10", "negative discount", IT.REJECTED, "erp_refused"),
    (
        PART,
        400,
        "-10",
        "Batch/serial number L1 does not exist; specify a valid batch/serial number",
        IT.REJECTED,
        "batch_or_serial_missing",
    ),
    (PART, 400, "-10", "Serial number 'S9' chosen in row 1 does not exist", IT.REJECTED, "batch_or_serial_missing"),
    (PART, 400, "-10", '1470000341 - Fully allocate item "A" to bin locations', IT.REJECTED, "erp_refused"),
    # not B1's words: a page of a proxy or of the web server
    (WRITE, 404, None, "", IT.UNAVAILABLE, None),
    (WRITE, 403, None, "", IT.UNAVAILABLE, None),
    (WRITE, 408, None, "", IT.UNKNOWN, None),
    (WRITE, 504, None, "", IT.UNKNOWN, None),
    # what nobody has listed
    (PART, 400, "-9999", "something new", IT.REJECTED, "erp_refused"),
    (WRITE, 409, "-9999", "something new", IT.REJECTED, "erp_refused"),
    (PART, 403, None, "", IT.REJECTED, "not_permitted"),
    (PART, 500, "-9999", "something new", IT.UNKNOWN, None),
    # logins
    (LOGIN, 401, "-304", "Fail to NONE-SSO login from SLD.", IT.REJECTED, None),
    (LOGIN, 401, "-306", "Fail to NONE-SSO login from SLD.", IT.REJECTED, None),
    (LOGIN, 401, "100000027", "Login failed", IT.REJECTED, None),
    (LOGIN, 401, "-304", "Fail to get DB Credentials from SLD", IT.UNAVAILABLE, None),
    (LOGIN, 401, "-8037", "Error -8037", IT.UNAVAILABLE, None),
    (LOGIN, 500, "299", "SAML Login Failed", IT.UNAVAILABLE, None),
    (LOGIN, 500, "100000085", "Maximum number of sessions of this user is reached", IT.UNAVAILABLE, None),
    (LOGIN, 502, None, "", IT.UNAVAILABLE, None),
    (LOGIN, 401, "301", "", IT.REJECTED, None),
]


@pytest.mark.parametrize(("phase", "status", "code", "text", "outcome", "reason"), CASES)
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


@pytest.mark.parametrize(
    "error",
    [
        {"code": -10, "message": {"lang": "en-us", "value": "131 - Item A is frozen in warehouse W"}},
        {"code": "-10", "details": [{"code": "", "message": ""}], "message": "131 - Item A is frozen in warehouse W"},
    ],
)
def test_both_shapes_of_an_error_mean_the_same(error: dict[str, object]) -> None:
    answer = B1Answer(400, {"error": error})
    assert classify(PART, answer.status, *answer.error).reason == "item_frozen"


def test_only_words_of_a_lock_say_that_it_is_one() -> None:
    assert says_locked("Object locked by another user (ODBC -2035)")
    assert not says_locked("This entry already exists in the following tables (ODBC -2035)")
    assert not says_locked("(7) object locked by another user")


def test_every_row_names_its_source_and_a_reason_that_exists() -> None:
    assert all(row.source for row in ROWS)
    assert {row.reason for row in ROWS} - {None} <= REASONS.keys()


def test_every_row_decides_one_of_the_cases_above() -> None:
    """A row that decides nothing is wrong, or stands behind one that takes its answers."""
    deciding = {id(row_of(*case[:4])) for case in CASES}
    assert [row.source for row in ROWS if id(row) not in deciding] == []


def test_a_refusal_has_a_reason_and_nothing_else_has_one() -> None:
    for row in ROWS:
        if Phase.LOGIN not in row.phases:
            assert (row.outcome is IT.REJECTED) == (row.reason is not None)


@given(st.sampled_from(Phase), st.integers(100, 599), st.none() | st.text() | st.integers(), st.text())
def test_everything_has_a_verdict(phase: Phase, status: int, code: str | int | None, text: str) -> None:
    verdict = classify(phase, status, code, text)
    assert (verdict.reason is not None) <= (verdict.outcome is IT.REJECTED)
