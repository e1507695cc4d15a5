"""Every line has one end: what is lost, repeated, dead, parked."""

import json

from lab.proof.dead_letters import DeadLetterSeen
from tests.lab.proof.case import letter_for


def test_a_right_ledger_is_proved_and_every_line_has_its_end(case):
    found = case.prove()
    assert found.discrepancies == ()
    assert found.ok
    assert found.received == sum(
        len(path.read_bytes().splitlines()) for paths in case.inputs.values() for path in paths
    )
    assert all(ends.unaccounted == 0 for ends in found.flows.values())
    assert found.flows["order_placed"].posted == len(case.documents("Orders"))
    assert found.flows["unreadable"].dead == 2
    assert found.units_expected == found.units_posted > 0
    assert found.reasons["unreadable"] == 2


def test_a_line_that_is_no_json_must_be_a_letter_with_its_bytes(case):
    case.letters = [letter for letter in case.letters if letter.reason != "unreadable"]
    assert [one.kind for one in case.prove().discrepancies] == ["lost", "lost"]


def test_a_letter_with_other_bytes_is_not_that_lines_letter(case):
    at = next(n for n, letter in enumerate(case.letters) if letter.reason == "unreadable")
    case.letters[at] = DeadLetterSeen("x", "inbox-dead-letter", "dead", "unreadable", "", b"changed")
    assert case.kinds() == {"lost", "letter"}


def test_an_event_that_is_dead_and_posted_too_is_found(case):
    document = case.documents("Orders")[0]
    case.letters.append(letter_for({"type": "order_placed", "order_id": document["NumAtCard"]}))
    assert "document" in case.kinds()


def test_a_parked_event_counts_as_parked_and_a_released_one_as_posted(case):
    refund = case.documents("CreditNotes")[-1]
    event = {"type": "refund_issued", "order_id": refund["NumAtCard"]}
    case.letters.append(letter_for(event, state="posted", reason="invoice_not_found"))
    assert case.prove().ok
    case.letters[-1] = letter_for(event, state="parked", reason="invoice_not_found")
    case.remove(refund)
    found = case.prove()
    assert found.flows["refund_issued"].parked == 1
    assert found.flows["refund_issued"].unaccounted == 0
    assert found.reasons["invoice_not_found"] == 1
    assert found.ok


def test_a_letter_that_says_posted_without_a_document_is_a_loss(case):
    refund = case.documents("CreditNotes")[-1]
    event = {"type": "refund_issued", "order_id": refund["NumAtCard"]}
    case.letters.append(letter_for(event, state="posted", reason="invoice_not_found"))
    case.remove(refund)
    assert case.prove().count("lost") == 1


def test_a_repeat_is_a_no_op_and_other_content_under_the_same_id_must_be_dead(case, tmp_path):
    lines = case.inputs["shop"][0].read_text(encoding="utf-8").splitlines()
    line = next(line for line in lines if '"type":"order_placed"' in line)
    before = case.prove().flows["order_placed"].no_op
    event = json.loads(line)
    same = event | {"grand_total": event["grand_total"] + "000", "note": None}
    other = event | {"note": "changed"}
    case.write(tmp_path, json.dumps(same), json.dumps(other))
    found = case.prove()
    assert found.flows["order_placed"].no_op == before + 1
    assert [one.kind for one in found.discrepancies] == ["lost"]
    case.letters.append(letter_for(event, reason="id_reuse"))
    assert case.prove().ok


def test_an_event_that_reached_nothing_is_lost(case, tmp_path):
    lines = case.inputs["shop"][0].read_text(encoding="utf-8").splitlines()
    event = json.loads(next(line for line in lines if '"type":"order_placed"' in line)) | {"order_id": "NEW"}
    case.write(tmp_path, json.dumps(event))
    (one,) = case.prove().discrepancies
    assert (one.kind, one.where) == ("lost", "order NEW")


def test_what_a_vendors_ledger_says_is_proved_like_a_file(case):
    events = case.as_vendor_events()
    found = case.prove(vendor_events=events)
    assert found.discrepancies == ()
    assert found.received == sum(map(len, events.values()))
    events["shop"].append({**events["shop"][0], "order_id": "never-posted"})
    assert {one.kind for one in case.prove(vendor_events=events).discrepancies} == {"lost"}
