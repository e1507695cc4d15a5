"""Functions of the Service Layer that are no entity sets."""

from collections.abc import Mapping
from typing import Any

from lab.simulators.sap_b1.state.currencies import exchange_rate
from lab.simulators.sap_b1.state.database import Database
from lab.simulators.sap_b1.state.documents import create_document
from lab.simulators.sap_b1.state.drafts import preview
from lab.simulators.sap_b1.state.kinds import KIND_BY_ENUM, KINDS
from lab.simulators.sap_b1.state.messages import LedgerAnswer, RefusedError
from lab.simulators.sap_b1.state.values import read_day, read_integer


def call_service(db: Database, name: str, body: Mapping[str, Any]) -> LedgerAnswer:
    sent = body.get("Document")
    if name == "OrdersService_Preview" and isinstance(sent, Mapping):
        db.counters["previews"] += 1
        return LedgerAnswer(200, preview(db, KINDS["Orders"], sent))
    if name == "DraftsService_SaveDraftToDocument" and isinstance(sent, Mapping):
        draft = db.documents["Drafts"].get(read_integer(sent.get("DocEntry"), "DocEntry"))
        if draft is None or draft["DocumentStatus"] != "bost_Open":
            raise RefusedError(-2028, "No matching records found (ODBC -2028)", 404)
        create_document(db, KIND_BY_ENUM[draft["DocObjectCode"]], draft["_sent"])
        db.set(draft, "DocumentStatus", "bost_Close")
        db.set(draft, "AuthorizationStatus", "dasGenerated")
        db.touch("Drafts", draft["DocEntry"])
        return LedgerAnswer(204)
    if name == "CompanyService_GetCompanyInfo":
        return LedgerAnswer(200, {"CompanyName": db.name, "Version": 1000280, "EnableExpensesManagement": "tYES"})
    if name == "CompanyService_GetAdminInfo":
        return LedgerAnswer(
            200,
            {
                "CompanyName": db.name,
                "LocalCurrency": db.rules.local_currency,
                "AccuracyofQuantities": db.rules.quantity_decimals,
                "PriceAccuracy": 6,
                "TotalsAccuracy": 2,
                "BlockStockNegativeQuantity": "tYES" if db.rules.block_negative_stock else "tNO",
                "EnableBranches": "tYES" if db.rules.multi_branch else "tNO",
            },
        )
    if name == "SBOBobService_GetCurrencyRate":
        rate = exchange_rate(db, str(body.get("Currency")), read_day(body.get("Date"), "Date"))
        return LedgerAnswer(200, {"value": rate})
    raise RefusedError(-1000, f"Unrecognized resource path '{name}'", 404)
