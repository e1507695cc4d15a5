"""Master data: loaded, created and changed."""

from collections.abc import Mapping
from typing import Any

from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.messages import Json, Key, RefusedError
from lab.simulators.sap_b1.state.metadata import DEFAULTS, MASTERS, PARTS, READ_ONLY
from lab.simulators.sap_b1.state.partners import patch_address
from lab.simulators.sap_b1.state.rules import Period
from lab.simulators.sap_b1.state.sql_queries import check_query
from lab.simulators.sap_b1.state.user_tables import check_key, create_field, create_table
from lab.simulators.sap_b1.state.values import ZERO, day_stamp, read_day, read_number


def install_claims(db: Database) -> None:
    create_master(db, "UserTablesMD", {"TableName": "STREAMS_CLAIM", "TableDescription": "b1-streams claims"})
    for table, name, size in (
        ("@STREAMS_CLAIM", "KIND", 30),
        ("@STREAMS_CLAIM", "DIGEST", 64),
        ("@STREAMS_CLAIM", "VERSION", 254),
        ("@STREAMS_CLAIM", "STATE", 20),
        ("ORDR", "STREAMS_KEY", 50),
        ("ORDR", "STREAMS_ORDER", 50),
        ("RDR1", "STREAMS_LINE", 100),
    ):
        create_master(db, "UserFieldsMD", {"TableName": table, "Name": name, "Description": name, "EditSize": size})
    db.journal.clear()


def load_master_data(db: Database, data: Mapping[str, Any]) -> None:
    """Add or change master data, past every rule.

    Args:
        db: The company.
        data: entity set -> rows with B1's property names (`{"Items": [{"ItemCode": "A1"}], ...}`), and beside them
            `stock`: [{"item", "warehouse", "quantity", "batch"?, "serials"?}] (adds to what is there, recorded as a
            movement of object 0), `rates`: {"EUR": "0.85"} or {"EUR": [{"from": "2026-01-01", "rate": "0.85"}]}
            (local per foreign unit), `periods`: [{"start", "end", "locked"}] (none: every date is open),
            `frozen`: [{"item", "warehouse"}] (what stock counts with Freeze hold now, all of it),
            `rules`: fields of `Rules`. A VAT group may say `Rate` instead of `VatGroups_Lines`.

    Raises:
        RefusedError: for an unknown property or entity set.
    """
    for entity, rows in data.items():
        if entity in MASTERS:
            for row in rows:
                _load_row(db, entity, dict(row))
        elif entity == "rules":
            db.rules = db.rules.changed(rows)
        elif entity == "periods":
            db.periods = [
                Period(read_day(row["start"], "start"), read_day(row["end"], "end"), bool(row.get("locked")))
                for row in rows
            ]
        elif entity == "frozen":
            db.frozen = {(row["item"], row["warehouse"]) for row in rows}
        elif entity == "rates":
            for currency, steps in rows.items():
                listed = steps if isinstance(steps, list) else [{"from": "1900-01-01", "rate": steps}]
                db.rates[currency] = sorted(
                    (read_day(step["from"], "from"), read_number(step["rate"], "rate")) for step in listed
                )
        elif entity != "stock":
            raise RefusedError(-1000, f"Unrecognized resource path '{entity}'")
    for row in data.get("stock", ()):
        item, warehouse, quantity = row["item"], row["warehouse"], read_number(row["quantity"], "quantity")
        db.stock[item, warehouse] = db.stock.get((item, warehouse), ZERO) + quantity
        if batch := row.get("batch"):
            key = (item, warehouse, batch)
            db.batches[key] = db.batches.get(key, ZERO) + quantity
        for serial in row.get("serials", ()):
            db.serials[item, serial] = warehouse
        db.movements.append((item, warehouse, quantity, 0, 0, 0, row.get("batch"), None, db.clock().isoformat()))
    db.journal.clear()


def _load_row(db: Database, entity: str, row: Json) -> None:
    type_name, key_name = MASTERS[entity]
    if entity == "VatGroups" and "Rate" in row:
        rate = read_number(row.pop("Rate"), "Rate")
        row["VatGroups_Lines"] = [{"Effectivefrom": "1900-01-01T00:00:00Z", "Rate": rate}]
    if entity in ("UserTablesMD", "UserFieldsMD", "UserKeysMD"):
        create_master(db, entity, row)
        return
    db.check(type_name, row)
    for part in PARTS.get(type_name, ()):
        row[part] = [dict(member) for member in row.get(part, ())]
    key = row[key_name]
    known = db.masters[entity].get(key)
    db.masters[entity][key] = {**(known or {key_name: key, **DEFAULTS[entity]}), **row}
    db.touch(entity, key)


def patch_master(db: Database, entity: str, key: Key, body: Mapping[str, Any]) -> None:
    type_name, key_name = MASTERS[entity]
    row = db.found(entity, key)
    db.check(type_name, body)
    if entity == "SQLQueries":
        check_query(db, {**row, **body})
    for name, value in body.items():
        if name == "BPAddresses":
            for address in value:
                patch_address(db, row, address)
        elif name == "ItemPrices":
            # A price is known by its list; B1 adds lists by themselves only
            prices = {each["PriceList"]: each for each in row.get(name) or ()}
            for price in value:
                prices[price["PriceList"]] = {**prices.get(price["PriceList"], {}), **price}
            db.set(row, name, [prices[number] for number in sorted(prices)])
        elif name != key_name and name not in READ_ONLY.get(type_name, ()):
            db.set(row, name, value)
    if type_name == "BusinessPartner":
        db.set(row, "UpdateDate", day_stamp(db.today))
        db.set(row, "UpdateTime", db.clock().strftime("%H:%M:%S"))


def create_master(db: Database, entity: str, body: Mapping[str, Any]) -> Key:
    type_name, key_name = MASTERS[entity]
    db.check(type_name, body)
    row = {**DEFAULTS[entity], **{k: v for k, v in body.items() if k not in READ_ONLY.get(type_name, ())}}
    key: Key
    if entity == "UserFieldsMD":
        key = create_field(db, row)
    elif entity == "UserKeysMD":
        table = check_key(db, row)
        row["KeyIndex"] = sum(1 for known in db.masters[entity].values() if known["TableName"] == table)
        key = (table, row["KeyIndex"])
    else:
        code = row.get(key_name)
        if not isinstance(code, str | int) or code == "":
            raise RefusedError(-5002, f"Code is missing  [{entity}.{key_name}]")
        key = code
        if key in db.masters[entity]:
            if entity == "Items":
                raise RefusedError(-10, f"Item code '{key}' already exists")
            if entity == "BusinessPartners":
                raise RefusedError(
                    -10, f"1320000140 - Business partner code '{key}' already assigned to a business partner"
                )
            raise RefusedError(-2035, "This entry already exists in the following tables (ODBC -2035)")
        if entity == "SQLQueries":
            check_query(db, row)
        if entity == "UserTablesMD":
            create_table(db, str(key), row)
    for part in PARTS.get(type_name, ()):
        row[part] = [dict(member) for member in row.get(part) or ()]
    if entity == "BusinessPartners":
        for index, address in enumerate(row["BPAddresses"]):
            address.update(BPCode=key, RowNum=index)
    if entity in ("Items", "BusinessPartners"):
        row["CreateDate"] = row["UpdateDate"] = day_stamp(db.today)
        row["CreateTime"] = row["UpdateTime"] = db.clock().strftime("%H:%M:%S")
    db.set(db.masters[entity], key, row)
    db.touch(entity, key)
    return key
