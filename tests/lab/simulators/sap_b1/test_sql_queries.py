"""Stored queries, with the quirks that public notes name."""

from datetime import UTC, datetime
from typing import Any

import pytest

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.messages import LedgerAnswer, Request

TEXT = "select top 2 ItemCode, OnHand from OITW where WhsCode = :whs and ItemCode > :after order by ItemCode"
LIST = "SQLQueries('Q')/List"


@pytest.fixture
def company() -> Company:
    company = Company(
        clock=lambda: datetime(2026, 11, 2, tzinfo=UTC),
        master_data={
            "Warehouses": [{"WarehouseCode": "W"}],
            "Items": [{"ItemCode": f"A{number}"} for number in range(3)],
            "stock": [{"item": "A1", "warehouse": "W", "quantity": 10}],
        },
    )
    assert made(company, TEXT).status == 201
    return company


def made(company: Company, text: str, code: str = "Q") -> LedgerAnswer:
    (answer,) = company.apply([Request("POST", "SQLQueries", {"SqlCode": code, "SqlName": code, "SqlText": text})])
    return answer


def test_it_is_walked_by_key(company: Company) -> None:
    answer = company.read(f"{LIST}?whs='W'&after=''")
    assert [row["ItemCode"] for row in answer.body["value"]] == ["A0", "A1"]
    answer = company.read(f"{LIST}?whs='W'&after='A1'")
    assert [row["ItemCode"] for row in answer.body["value"]] == ["A2"]


def test_no_rows_and_no_query_are_answered_alike(company: Company) -> None:
    for path in (f"{LIST}?whs='W'&after='A9'", "SQLQueries('NONE')/List"):
        answer = company.read(path)
        assert (answer.status, answer.code) == (404, -2028)
    assert company.read("SQLQueries('NONE')").status == 404
    assert company.read("SQLQueries('Q')").body["SqlText"] == TEXT


def test_its_own_pages_name_a_next_one(company: Company) -> None:
    answer = company.read(f"{LIST}?whs='W'&after=''", headers={"prefer": "odata.maxpagesize=2"})
    assert "@odata.nextLink" in answer.body
    assert "@odata.nextLink" not in company.read(f"{LIST}?whs='W'&after=''").body


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("delete from OITW", 701),
        ("select * from OITW", 701),
        ("select ItemCode from OIVL", 702),
        ("select AvgPrice from OITW", 703),
    ],
)
def test_what_cannot_be_stored_is_refused(company: Company, text: str, code: int) -> None:
    answer = made(company, text, "P")
    assert (answer.status, answer.code) == (400, code)


@pytest.mark.parametrize("query", ["whs='W'", "whs='W'&After=''", "whs=W&after=''"])
def test_parameters_are_all_there_quoted_and_case_sensitive(company: Company, query: str) -> None:
    assert company.read(f"{LIST}?{query}").code == 704


def test_making_and_running_are_rights_of_their_own(company: Company) -> None:
    company.rules = company.rules.changed({"may_make_queries": False})
    assert made(company, TEXT, "P").code == -6006
    changes: Any = {"may_run_queries": False}
    company.rules = company.rules.changed(changes)
    answer = company.read(f"{LIST}?whs='W'&after=''")
    assert (answer.status, answer.code) == (403, -6006)
