"""Installations that keep doubles out less well: change sets that are not atomic, and the guard procedure."""

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import Request
from tests.lab.simulators.sap_b1.company import claim, line, order, post

GUARDED = {"rules": {"guard": True}}


def test_without_atomic_change_sets_what_came_before_a_refusal_stays_and_what_comes_after_is_not_done(
    company: Company,
) -> None:
    company.load({"rules": {"atomic_change_sets": False}})
    both = [Request("POST", "U_STREAMS_CLAIM", claim("K"), "1"), Request("POST", "Orders", order(line("NONE")), "2")]
    assert [answer.code for answer in company.apply(both)] == [-2028]
    assert [row["Code"] for row in company.ledger()["claims"]] == ["K"]
    assert [answer.code for answer in company.apply(both[::-1])] == [-2028]
    assert company.ledger()["documents"] == []


def test_the_guard_refuses_a_second_document_of_one_key(company: Company) -> None:
    company.load(GUARDED)
    assert post(company, "Orders", order(U_STREAMS_KEY="K")).status == 201
    again = post(company, "Orders", order(U_STREAMS_KEY="K"))
    assert (again.code, again.text) == (-5002, "(20201) b1-streams guard: a document of this U_STREAMS_KEY exists")
    assert post(company, "Orders", order(U_STREAMS_KEY="L")).status == 201
    assert post(company, "Orders", order()).status == 201
    assert len(company.ledger()["documents"]) == 3


def test_the_guard_counts_a_cancelled_document(company: Company) -> None:
    company.load(GUARDED)
    entry = post(company, "Orders", order(U_STREAMS_KEY="K")).body["DocEntry"]
    assert post(company, f"Orders({entry})/Cancel").status == 204
    assert post(company, "Orders", order(U_STREAMS_KEY="K")).code == -5002


@pytest.mark.parametrize(("states", "status"), [((), 201), (("void",), 400), (("discarded",), 400), (("intent",), 201)])
def test_the_guard_refuses_a_document_whose_claim_is_withdrawn(
    company: Company, states: tuple[str, ...], status: int
) -> None:
    company.load(GUARDED)
    for state in states:
        assert post(company, "U_STREAMS_CLAIM", {**claim("K"), "U_STATE": state}).status == 201
    assert post(company, "Orders", order(U_STREAMS_KEY="K")).status == status
    if status == 400:
        post(company, "U_STREAMS_CLAIM", {**claim("K.1"), "U_STATE": "intent"})
        assert post(company, "Orders", order(U_STREAMS_KEY="K")).status == 201


def test_a_probe_by_a_draft_is_refused_by_the_guard_alone(company: Company) -> None:
    probe = {**order(U_STREAMS_KEY="proof-1"), "DocObjectCode": "oOrders"}
    draft = post(company, "Drafts", probe)
    assert draft.status == 201
    assert company.apply([Request("DELETE", f"Drafts({draft.body['DocEntry']})")])[0].status == 204
    company.load(GUARDED)
    assert "(20203)" in post(company, "Drafts", probe).text
    assert company.ledger()["drafts"] == []
