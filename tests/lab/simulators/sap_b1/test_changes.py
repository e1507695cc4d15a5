"""Close, cancel, PATCH."""

from typing import Any

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import LedgerAnswer, Request
from tests.lab.simulators.sap_b1.company import D, based, deliver_order, document, line, made, order, post


def test_an_untouched_order_can_be_cancelled_a_delivered_one_only_closed(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    assert post(company, f"Orders({entry})/Cancel").status == 204
    body = company.read(f"Orders({entry})").body
    assert (body["Cancelled"], body["CancelStatus"], body["DocumentStatus"]) == ("tYES", "csYes", "bost_Close")
    assert post(company, f"Orders({entry})/Cancel").code == -10
    other, _ = deliver_order(company)
    assert post(company, f"Orders({other})/Cancel").code == -10
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    assert post(company, f"Orders({entry})/Cancel").code == -10
    assert post(company, f"Orders({entry})/Close").status == 204
    assert post(company, "DeliveryNotes", document(based(17, entry, Quantity=1))).code == -10


def test_cancelling_a_posted_document_makes_a_mirror_and_gives_everything_back(company: Company) -> None:
    entry, delivery = deliver_order(company)
    assert post(company, f"DeliveryNotes({delivery})/Cancel").status == 204
    assert D(100) == company.on_hand("A1", "LON1")
    original, mirror = company.ledger()["documents"][1:]
    assert (original["CancelStatus"], mirror["CancelStatus"]) == ("csYes", "csCancellation")
    body = company.read(f"Orders({entry})").body
    assert ("bost_Open", D(5)) == (body["DocumentStatus"], body["DocumentLines"][0]["RemainingOpenQuantity"])
    assert post(company, "DeliveryNotes", document(based(17, entry))).status == 201


def patch(company: Company, entry: int, body: dict[str, Any], **headers: str) -> LedgerAnswer:
    return company.apply([Request("PATCH", f"Orders({entry})", body, headers=headers)])[0]


def test_order_lines_are_merged_by_line_num_and_totals_follow(company: Company) -> None:
    rows = [line(quantity=5, UnitPrice=10), line("A2", 2, UnitPrice=1)]
    entry = made(post(company, "Orders", order(*rows)))["DocEntry"]
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 3}]}).status == 204
    body = company.read(f"Orders({entry})").body
    assert [D(3), D(2)] == [row["Quantity"] for row in body["DocumentLines"]]
    assert D("38.00") == body["DocTotal"]
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 1, "LineStatus": "bost_Close"}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentStatus"] == "bost_Open"
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "LineStatus": "bost_Close"}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentStatus"] == "bost_Close"
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 1}]}).code == -1029


@pytest.mark.parametrize(
    "mixed",
    [
        {"DocumentLines": [{"LineNum": 0, "Quantity": 3}, {"LineNum": 1, "LineStatus": "bost_Close"}]},
        {"DocumentLines": [{"LineNum": 1, "LineStatus": "bost_Close", "FreeText": "x"}]},
        {"DocumentLines": [{"LineNum": 1, "LineStatus": "bost_Close"}], "Comments": "x"},
    ],
)
def test_lines_are_closed_by_a_request_that_changes_nothing_else(company: Company, mixed: dict[str, Any]) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5), line("A2", 2))))["DocEntry"]
    refused = patch(company, entry, mixed)
    assert (refused.code, "cannot be closed concurrently" in refused.text) == (-5002, True)
    assert "[line: 2]" in refused.text
    both = [{"LineNum": 0, "LineStatus": "bost_Close"}, {"LineNum": 1, "LineStatus": "bost_Close"}]
    assert patch(company, entry, {"DocumentLines": both}).status == 204


def test_a_line_cannot_shrink_below_what_was_delivered_and_closes_at_it(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5), line("A2"))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 1}]}).code == -10
    assert patch(company, entry, {"DocumentLines": [{"LineNum": 0, "Quantity": 2}]}).status == 204
    assert company.read(f"Orders({entry})").body["DocumentLines"][0]["LineStatus"] == "bost_Close"


def test_a_line_without_its_number_is_inserted_and_the_replace_header_deletes(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    assert patch(company, entry, {"DocumentLines": [line("A2")]}).status == 204
    assert [row["ItemCode"] for row in company.read(f"Orders({entry})").body["DocumentLines"]] == ["A1", "A2"]
    keep = {"DocumentLines": [{"LineNum": 1}]}
    assert patch(company, entry, keep, **{"b1s-replacecollectionsonpatch": "true"}).status == 204
    assert [row["ItemCode"] for row in company.read(f"Orders({entry})").body["DocumentLines"]] == ["A2"]


def test_a_closed_document_takes_user_fields_and_comments_only(company: Company) -> None:
    entry, _ = deliver_order(company)
    assert patch(company, entry, {"Comments": "x", "U_STREAMS_KEY": "k"}).status == 204
    assert len(company.read("Orders?$filter=U_STREAMS_KEY eq 'k'").body["value"]) == 1
    assert patch(company, entry, {"DocDueDate": "2026-12-01"}).code == -1029
    assert patch(company, entry, {}).status == 204


def test_orders_cannot_be_deleted(company: Company) -> None:
    made(post(company, "Orders", order()))
    assert company.apply([Request("DELETE", "Orders(1)")])[0].code == -5006
    assert company.apply([Request("PATCH", "Orders(9)", {})])[0].status == 404


def test_a_stale_if_match_is_412_and_minus_2039(company: Company) -> None:
    made(post(company, "Orders", order()))
    etag = company.read("Orders(1)").headers["ETag"]
    assert etag == 'W/"356A192B7913B04C54574D18C28D46E6395428AB"'
    assert patch(company, 1, {"Comments": "a"}, **{"if-match": etag}).status == 204
    answer = patch(company, 1, {"Comments": "b"}, **{"if-match": etag})
    assert (answer.status, answer.code) == (412, -2039)


def test_return_no_content_answers_204_with_location(company: Company) -> None:
    answer = post(company, "Orders", order(), prefer="return-no-content")
    assert (answer.status, answer.body, answer.headers["Location"]) == (204, None, "Orders(1)")
