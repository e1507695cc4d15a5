"""Prices, discounts, taxes, freight and totals."""

from lab.simulators.sap_b1.state.company import Company
from tests.lab.simulators.sap_b1.company import D, document, line, made, order, post


def test_totals_are_computed_from_quantity_price_discount_and_vat_rounded_half_up(company: Company) -> None:
    body = made(post(company, "Orders", order(line(quantity=3, UnitPrice=D("3.335"), DiscountPercent=10))))
    row = body["DocumentLines"][0]
    # 3 x 3.335 x 0.9 = 9.0045 -> 9.00; 20 % = 1.80
    assert (D("9.00"), D("1.80"), D("10.80"), D("1.80")) == (
        row["LineTotal"],
        row["TaxTotal"],
        body["DocTotal"],
        body["VatSum"],
    )


def test_half_a_penny_is_rounded_up_also_to_an_odd_penny(company: Company) -> None:
    row = made(post(company, "Orders", order(line(UnitPrice=D("0.125")))))["DocumentLines"][0]
    assert row["LineTotal"] == D("0.13")


def test_line_total_tax_total_and_freight_tax_are_taken_as_sent(company: Company) -> None:
    freight = [{"ExpenseCode": 1, "LineTotal": D("4.17"), "TaxSum": D("0.83")}]
    sent = line(quantity=3, UnitPrice=D("3.33"), LineTotal=D("9.50"), TaxTotal=D("1.91"))
    body = made(post(company, "Orders", order(sent, DocumentAdditionalExpenses=freight)))
    assert D("16.41") == body["DocTotal"]
    assert (D("9.50"), D("1.91")) == (body["DocumentLines"][0]["LineTotal"], body["DocumentLines"][0]["TaxTotal"])
    assert D("2.74") == body["VatSum"]


def test_freight_without_tax_takes_its_vat_group(company: Company) -> None:
    freight = [{"ExpenseCode": 1, "LineTotal": D("5")}, {"ExpenseCode": 2, "LineTotal": D("1")}]
    body = made(post(company, "Orders", order(line("A2", UnitPrice=10), DocumentAdditionalExpenses=freight)))
    assert D("17.00") == body["DocTotal"]


def test_a_doc_total_that_is_sent_bends_the_discount(company: Company) -> None:
    body = made(post(company, "Orders", order(line("A2", UnitPrice=100), DocTotal=99)))
    assert (D("99.00"), D("1")) == (body["DocTotal"], body["DiscountPercent"])


def test_a_tax_code_of_a_sales_tax_country_taxes_too(company: Company) -> None:
    assert D("108.88") == made(post(company, "Orders", order(line("A2", UnitPrice=100, TaxCode="NY"))))["DocTotal"]


def test_a_foreign_currency_needs_a_rate_and_totals_in_both(company: Company) -> None:
    assert "exchange rate" in post(company, "Orders", order(DocCurrency="USD")).text
    body = made(post(company, "Orders", order(line(UnitPrice=10, LineTotal=10, TaxTotal=2), DocCurrency="EUR")))
    assert (D("12.00"), D("10.20")) == (body["DocTotalFc"], body["DocTotal"])
    answer = post(company, "Orders", {**order(DocCurrency="USD"), "CardCode": "C-EUR"})
    assert "not the partner's" in answer.text


def test_preview_answers_totals_and_leaves_nothing(company: Company) -> None:
    before = company.ledger()
    body = made(post(company, "OrdersService_Preview", {"Document": order(line(UnitPrice=10))}))
    after = company.ledger()
    before.pop("counters")
    after.pop("counters")
    assert (D("12.00"), before) == (body["DocTotal"], after)
    assert post(company, "OrdersService_Preview", {"Document": order(line("NONE"))}).code == -2028


def test_a_service_document_has_account_lines_and_moves_nothing(company: Company) -> None:
    lines = [{"AccountCode": "4000", "ItemDescription": "goodwill", "LineTotal": D("5"), "TaxTotal": D("1")}]
    body = made(post(company, "CreditNotes", document(*lines, DocType="dDocument_Service")))
    assert D("6.00") == body["DocTotal"]
    assert post(company, "CreditNotes", document({"LineTotal": 5}, DocType="dDocument_Service")).code == -5002
    assert post(company, "CreditNotes", document(line(), DocType="dDocument_Service")).code == -5002
    assert D(100) == company.on_hand("A1", "LON1")
