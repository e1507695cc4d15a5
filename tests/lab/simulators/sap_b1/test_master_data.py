"""Master data, user tables and fields."""

from lab.simulators.sap_b1.state.company import Company
from tests.lab.simulators.sap_b1.company import MASTER, claim, clock, line, made, order, post


def test_items_and_partners_that_exist_are_refused_in_their_own_words(company: Company) -> None:
    assert "Item code 'A1' already exists" in post(company, "Items", {"ItemCode": "A1"}).text
    assert "1320000140" in post(company, "BusinessPartners", {"CardCode": "C-WEB"}).text
    assert post(company, "BusinessPartners", {"CardCode": "C-NEW", "EmailAddress": "a@b.example"}).status == 201
    found = company.read("BusinessPartners?$filter=EmailAddress eq 'a@b.example'").body["value"]
    assert [row["CardCode"] for row in found] == ["C-NEW"]


def test_claim_table_and_fields_exist_only_after_they_are_created() -> None:
    company = Company(clock=clock, master_data=MASTER)
    assert post(company, "U_STREAMS_CLAIM", {"Code": "K"}).status == 404
    assert post(company, "Orders", order(U_STREAMS_KEY="K")).code == -1000
    assert company.read("Orders?$filter=U_STREAMS_KEY eq 'K'").code == 201
    field = {"TableName": "@STREAMS_CLAIM", "Name": "KIND", "Type": "db_Alpha", "EditSize": 30, "Description": "kind"}
    assert post(company, "UserFieldsMD", field).code == -2028
    table = {"TableName": "STREAMS_CLAIM", "TableDescription": "claims", "TableType": "bott_NoObject"}
    assert post(company, "UserTablesMD", table).status == 201
    assert post(company, "UserTablesMD", table).code == -2035
    assert post(company, "UserFieldsMD", field).status == 201
    assert post(company, "UserFieldsMD", field).code == -2035
    assert post(company, "UserFieldsMD", {**field, "TableName": "ORDR", "Name": "STREAMS_KEY"}).status == 201
    assert post(company, "UserFieldsMD", {**field, "TableName": "RDR1", "Name": "STREAMS_LINE"}).status == 201
    assert post(company, "U_STREAMS_CLAIM", {"Code": "K", "Name": "K", "U_KIND": "x"}).status == 201
    body = order(line(U_STREAMS_LINE="1"), U_STREAMS_KEY="K")
    assert post(company, "Orders", body).status == 201
    assert post(company, "InventoryGenEntries", {"DocumentLines": [line()], "U_STREAMS_KEY": "K2"}).status == 201
    lines = [{"ItemCode": "A1", "Quantity": 1, "FromWarehouseCode": "LON1", "WarehouseCode": "MAN1"}]
    assert post(company, "StockTransfers", {"StockTransferLines": lines, "U_STREAMS_KEY": "K3"}).status == 201
    names = company.read("UserFieldsMD?$filter=TableName eq 'ORDR' and Name eq 'STREAMS_KEY'").body["value"]
    assert len(names) == 1


def test_a_second_row_of_one_code_is_minus_2035(company: Company) -> None:
    made(post(company, "U_STREAMS_CLAIM", claim("K")))
    answer = post(company, "U_STREAMS_CLAIM", claim("K"))
    assert (answer.code, "already exists" in answer.text) == (-2035, True)
    assert company.read("U_STREAMS_CLAIM('K')").body["U_KIND"] == "order_placed"
    assert company.read("U_STREAMS_CLAIM('L')").status == 404


def test_a_unique_user_key_is_enforced(company: Company) -> None:
    elements = [{"ColumnAlias": "DIGEST"}]
    key = {"TableName": "@STREAMS_CLAIM", "KeyName": "D", "Unique": "tYES", "UserKeysMD_Elements": elements}
    made(post(company, "UserKeysMD", key))
    made(post(company, "U_STREAMS_CLAIM", claim("K")))
    assert post(company, "U_STREAMS_CLAIM", claim("L")).code == -2035


def test_a_key_of_a_document_table_is_not_unique_and_its_columns_are_there(company: Company) -> None:
    key = {"TableName": "ORDR", "KeyName": "K", "UserKeysMD_Elements": [{"ColumnAlias": "STREAMS_KEY"}]}
    assert post(company, "UserKeysMD", {**key, "Unique": "tYES"}).code == -5002
    made(post(company, "UserKeysMD", {**key, "Unique": "tNO"}))
    assert post(company, "UserKeysMD", key).code == -2035
    assert post(company, "UserKeysMD", {**key, "UserKeysMD_Elements": [{"ColumnAlias": "NONE"}]}).code == -2028
    assert post(company, "UserKeysMD", {**key, "TableName": "OITM"}).code == -5002
    assert post(company, "UserKeysMD", {**key, "UserKeysMD_Elements": []}).code == -5002


def test_a_user_fields_length_and_values_are_enforced(company: Company) -> None:
    values = [{"Value": "a", "Description": "A"}]
    field = {"TableName": "OINV", "Name": "STATE", "Description": "s", "EditSize": 1, "ValidValuesMD": values}
    made(post(company, "UserFieldsMD", field))
    assert post(company, "Orders", order(U_STATE="b")).code == -1004
    assert "too long" in post(company, "Orders", order(U_STREAMS_KEY="k" * 51)).text
