"""What documents draw from the open quantities of others."""

from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.rules import Rules
from tests.lab.simulators.sap_b1.company import D, based, deliver_order, document, line, made, order, post


def test_partial_deliveries_keep_the_order_open_until_nothing_is_left(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5), line("A2", 1))))["DocEntry"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=2))))
    body = company.read(f"Orders({entry})").body
    assert D(3) == body["DocumentLines"][0]["RemainingOpenQuantity"]
    made(post(company, "DeliveryNotes", document(based(17, entry, Quantity=3), based(17, entry, 1))))
    body = company.read(f"Orders({entry})").body
    assert [body["DocumentStatus"], *(row["LineStatus"] for row in body["DocumentLines"])] == ["bost_Close"] * 3
    answer = post(company, "DeliveryNotes", document(based(17, entry, Quantity=1)))
    assert (answer.code, "One of the base documents has already been closed" in answer.text) == (-10, True)
    assert (D(95), D(49)) == (company.on_hand("A1", "LON1"), company.on_hand("A2", "LON1"))


def test_more_than_the_open_quantity_is_refused_also_when_split_over_lines(company: Company) -> None:
    entry = made(post(company, "Orders", order(line(quantity=5))))["DocEntry"]
    assert post(company, "DeliveryNotes", document(based(17, entry, Quantity=6))).code == -10
    twice = document(based(17, entry, Quantity=3), based(17, entry, Quantity=3))
    assert post(company, "DeliveryNotes", twice).code == -10
    assert D(100) == company.on_hand("A1", "LON1")


def test_a_base_without_its_type_is_an_internal_error(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    answer = post(company, "DeliveryNotes", document({"BaseEntry": entry, "BaseLine": 0}))
    assert (answer.code, answer.text) == (-5002, "Internal error (-5002) occurred")


def test_another_item_than_the_bases_is_refused(company: Company) -> None:
    entry = made(post(company, "Orders", order()))["DocEntry"]
    assert "does not match" in post(company, "DeliveryNotes", document(based(17, entry, ItemCode="A2"))).text


def test_an_invoice_on_a_delivery_moves_no_stock_and_carries_freight(company: Company) -> None:
    _, delivery = deliver_order(company)
    freight = [{"ExpenseCode": 1, "LineTotal": D("5"), "TaxSum": D("1")}]
    sent = document(based(15, delivery), DocumentAdditionalExpenses=freight)
    assert D("66.00") == made(post(company, "Invoices", sent))["DocTotal"]
    assert D(95) == company.on_hand("A1", "LON1")
    assert company.read(f"DeliveryNotes({delivery})").body["DocumentStatus"] == "bost_Close"


def test_an_invoice_without_a_delivery_moves_stock(company: Company) -> None:
    made(post(company, "Invoices", document(line(quantity=4))))
    assert D(96) == company.on_hand("A1", "LON1")


def test_a_credit_memo_on_an_open_invoice_brings_stock_back_and_closes_it(company: Company) -> None:
    _, delivery = deliver_order(company)
    invoice = made(post(company, "Invoices", document(based(15, delivery))))["DocEntry"]
    made(post(company, "CreditNotes", document(based(13, invoice, Quantity=2))))
    assert D(97) == company.on_hand("A1", "LON1")
    made(post(company, "CreditNotes", document(based(13, invoice, Quantity=3, WithoutInventoryMovement="tYES"))))
    assert D(97) == company.on_hand("A1", "LON1")
    assert company.read(f"Invoices({invoice})").body["DocumentStatus"] == "bost_Close"


def test_a_paid_invoice_cannot_be_credited_though_its_lines_show_open_quantity(company: Company) -> None:
    invoice = made(post(company, "Invoices", document(line(quantity=4))))["DocEntry"]
    company.pay(invoice)
    assert D(4) == company.read(f"Invoices({invoice})").body["DocumentLines"][0]["RemainingOpenQuantity"]
    assert "already been closed" in post(company, "CreditNotes", document(based(13, invoice))).text
    reference = [{"RefObjType": "rot_SalesInvoice", "RefDocEntr": invoice}]
    assert post(company, "CreditNotes", document(line(quantity=4), DocumentReferences=reference)).status == 201


def test_a_credit_memo_may_be_based_on_a_delivery_unless_the_rules_say_no(company: Company) -> None:
    _, delivery = deliver_order(company)
    company.rules = Rules(credit_on_delivery=False)
    assert post(company, "CreditNotes", document(based(15, delivery, Quantity=1))).code == -5002
    company.rules = Rules()
    assert post(company, "CreditNotes", document(based(15, delivery, Quantity=1))).status == 201
    assert D(96) == company.on_hand("A1", "LON1")
