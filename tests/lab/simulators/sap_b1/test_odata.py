"""Queries, filters and paging, as the live notes have them."""

from datetime import UTC, datetime

import pytest

from lab.simulators.sap_b1.state.company import Company


@pytest.fixture(scope="module")
def company() -> Company:
    items = [{"ItemCode": f"A{n:02}", "ItemName": f"Name {n % 3}"} for n in range(40)]
    more = [{"ItemCode": "X'/#", "ItemName": None}]
    return Company(
        clock=lambda: datetime(2026, 11, 21, tzinfo=UTC),
        master_data={"Items": items + more, "Warehouses": [{"WarehouseCode": "W", "Inactive": "tYES"}]},
    )


def codes(company: Company, query: str, **headers: str) -> list[str]:
    answer = company.read(f"Items?{query}", headers=headers)
    assert answer.status == 200, answer.text
    return [row["ItemCode"] for row in answer.body["value"]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("ItemCode eq 'A01'", 1),
        ("ItemCode eq 'A01' or ItemCode eq 'A02' or ItemCode eq 'NONE'", 2),
        ("ItemCode eq 'A01' and ItemName eq 'Name 2'", 0),
        ("not (ItemCode ge 'A01')", 1),
        ("startswith(ItemCode,'A1') and endswith(ItemCode,'5')", 1),
        ("contains(ItemName,'me 1')", 13),
        ("substringof('me 1',ItemName) eq true", 13),
        ("ItemName eq null", 1),
        ("ItemName ne null and ItemCode gt 'A37'", 2),
        ("ItemCode eq 'X''/%23'", 1),
        ("Valid eq 'Y' and Frozen eq 'tNO' and ItemCode lt 'A03'", 3),
        ("SalesItemsPerUnit eq 1 and ItemCode eq 'A01'", 1),
        ("QuantityOnStock gt 0.5", 0),
    ],
)
def test_filters_choose_rows(company: Company, text: str, wanted: int) -> None:
    assert len(codes(company, f"$filter={text}")) == wanted


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("$filter=Nothing eq 1", "Property 'Nothing' is invalid"),
        ("$select=Nothing", "Property 'Nothing' is invalid"),
        ("$orderby=Nothing", "Property 'Nothing' is invalid"),
        ("$filter=ItemCode is 'A01'", "Query string error - Invalid filter condition"),
        ("$filter=ItemCode eq 'A01", "Query string error - Invalid filter condition"),
        ("$filter=tolower(ItemCode) eq 'a'", "Query string error - function 'tolower' is not supported"),
        ("$filter=Lines/any(l: l eq 1)", "Query string error - Invalid filter condition"),
        ("$expand=ItemWarehouseInfoCollection", "Query string error - option is not supported for this entity"),
        ("$top=x", "Query string error - Invalid value of '$top'"),
    ],
)
def test_what_the_service_layer_cannot_do_is_400_and_201(company: Company, query: str, text: str) -> None:
    answer = company.read(f"Items?{query}")
    assert (answer.status, answer.code, answer.text) == (400, 201, text)


def test_pages_have_20_rows_and_a_relative_next_link_that_repeats_the_query(company: Company) -> None:
    body = company.read("Items?$select=ItemCode&$filter=startswith(ItemCode,'A')").body
    link = body["@odata.nextLink"]
    assert (len(body["value"]), link) == (20, "Items?$select=ItemCode&$filter=startswith(ItemCode,'A')&$skip=20")
    body = company.read(link).body
    assert (body["value"][0]["ItemCode"], len(body["value"])) == ("A20", 20)
    body = company.read(body["@odata.nextLink"]).body
    assert (body["value"], "@odata.nextLink" in body) == ([], False)


def test_page_size_follows_the_header_and_is_echoed(company: Company) -> None:
    answer = company.read("Items", headers={"prefer": "odata.maxpagesize=30"})
    assert (len(answer.body["value"]), answer.headers["Preference-Applied"]) == (30, "odata.maxpagesize=30")
    assert len(codes(company, "", prefer="odata.maxpagesize=0")) == 41
    assert len(codes(company, "", **{"b1s-pagesize": "7"})) == 7


def test_a_top_over_pages_is_reduced_and_one_that_fits_names_no_next_page(company: Company) -> None:
    body = company.read("Items?$top=30&$skip=5").body
    assert body["@odata.nextLink"] == "Items?$top=10&$skip=25"
    body = company.read(body["@odata.nextLink"]).body
    assert (len(body["value"]), "@odata.nextLink" in body) == (10, False)
    assert "@odata.nextLink" not in company.read("Items?$top=5").body


def test_counts_come_inline_and_as_plain_text(company: Company) -> None:
    answer = company.read("Items/$count?$filter=ItemCode lt 'A05'")
    assert (answer.body, answer.headers["Content-Type"]) == (5, "text/plain")
    assert company.read("Items?$count=true&$top=1").body["@odata.count"] == 41


def test_rows_are_ordered_on_request(company: Company) -> None:
    assert codes(company, "$orderby=ItemCode desc&$top=2") == ["X'/#", "A39"]
    assert codes(company, "$orderby=ItemName desc,ItemCode&$top=2") == ["A02", "A05"]


def test_a_key_with_quotes_and_signs_is_found_when_escaped(company: Company) -> None:
    assert company.read("Items('X%27%27%2F%23')").body["ItemCode"] == "X'/#"
    assert company.read("Items(ItemCode='A01')").body["ItemCode"] == "A01"
    assert company.read("Items('NONE')").code == -2028
    assert company.read("Items(A01)").code == -1000
    assert company.read("Nothing").status == 404


def test_with_select_the_etag_is_wrong_and_the_header_missing(company: Company) -> None:
    whole, part = company.read("Items('A01')"), company.read("Items('A01')?$select=ItemCode")
    assert whole.headers["ETag"] == whole.body["@odata.etag"]
    assert part.headers == {}
    assert part.body["@odata.etag"] != whole.body["@odata.etag"]
