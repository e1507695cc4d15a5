"""What a company's B1 really does: the claim table is there, and works; amounts are taken as sent; what it costs."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from zoneinfo import ZoneInfo

from connectors.base.clock import Clock, SystemClock
from connectors.base.doctor import Finding, of_error
from connectors.base.errors import ConnectorError
from connectors.sap_b1 import claims, indexes
from connectors.sap_b1.change_set import B1Request, decimal_of
from connectors.sap_b1.error_codes import says_guard_works
from connectors.sap_b1.service_layer import ServiceLayer, describe, quote_literal, read_rows
from connectors.sap_b1.settings import CompanySettings

_SLOW_ROW_MS = 100.0  # seen live: 28 ms; beyond this the claims cost more than the documents' lines


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found, and the best tier that it allows; None where nothing keeps a second document out."""

    findings: tuple[Finding, ...]
    tier: str | None

    @property
    def ok(self) -> bool:
        return all(finding.ok for finding in self.findings)


async def run(
    service_layer: ServiceLayer,
    settings: CompanySettings,
    install: bool,
    clock: Clock | None = None,
    token: str | None = None,
) -> Diagnosis:
    """Examine one company.

    With `install` the claim table, the fields and their keys are made; nothing else is left behind.

    Raises nothing: what cannot be examined is a finding.
    """
    clock = clock or SystemClock()
    findings: list[Finding] = []
    tier, step = None, "reachable"
    try:
        reached = await service_layer.ping()
        findings.append(
            Finding(
                "reachable",
                reached,
                "the Service Layer answers" if reached else "nobody answers",
                "" if reached else "check service_layer_url, the network and the Service Layer's services",
            )
        )
        step = "login"
        gone = lacking = await claims.missing(service_layer)
        findings.append(Finding("login", True, f"user {settings.username} may read"))
        step = "claim_table"
        if install and lacking:
            await claims.install(service_layer)
            gone = await claims.missing(service_layer)
        made = [name for name in lacking if name not in gone]
        there = "made: " + ", ".join(made) if made else "all there"
        findings.append(
            Finding(
                "claim_table",
                not gone,
                there if not gone else "missing: " + ", ".join(gone),
                "run streams doctor --install with a superuser of B1" if gone else "",
            )
        )
        step = "second_claim_refused"
        if not gone:
            token = token or secrets.token_hex(8)
            proof = await claims.prove(service_layer, clock, token)
            findings += _proven(proof, settings.idempotency)
            if proof.second_refused:
                tier = "claim" if proof.rolls_back else "lookup"
            if proof.second_refused and not proof.rolls_back:
                step = "guard"
                guard, is_there = await _guard(service_layer, settings, clock, token)
                findings.append(guard)
                tier = "guard" if is_there else "lookup"
            step = "tier"
            await claims.record_tier(service_layer, tier)
            step = "indexes"
            findings.append(await indexes.examine(service_layer, clock, install=install))
        step = "totals_as_sent"
        findings.append(await _totals(service_layer, settings, clock))
    except claims.InstallError as error:
        findings.append(
            Finding("claim_table", False, str(error), "run streams doctor --install with a superuser of B1")
        )
    except ConnectorError as error:
        findings.append(of_error(step, error))
    findings.append(_tier(tier, settings.idempotency, findings))
    return Diagnosis(tuple(findings), tier)


def _tier(tier: str | None, configured: str, findings: Sequence[Finding]) -> Finding:
    detail = f"{tier or 'none'}, configured is {configured}"
    if tier is not None and claims.TIERS.index(tier) <= claims.TIERS.index(configured):
        return Finding("tier", True, detail)
    known = {finding.name: finding.ok for finding in findings}
    if known.get("claim_table") is False or known.get("second_claim_refused") is not None:
        remedy = "fix the findings above: without the claim a document could be written twice"
        if tier is not None:
            remedy = f'fix the findings above, or configure idempotency = "{tier}" and read what it guarantees (D2)'
        return Finding("tier", False, detail, remedy)
    return Finding("tier", None, f"not proven, configured is {configured}", "see the findings above")


def _proven(proof: claims.ClaimProof, configured: str) -> list[Finding]:
    is_whole = proof.rolls_back or (proof.second_refused and configured != "claim")
    remedy = "do not post to this company; send this finding to b1-streams' maintainers, with B1's version"
    cost = "could not be measured" if proof.row_ms is None else f"{proof.row_ms:.1f} ms a row"
    slow = proof.row_ms is not None and proof.row_ms > _SLOW_ROW_MS
    return [
        Finding(
            "second_claim_refused",
            proof.second_refused,
            proof.detail or "a second Code is refused",
            "" if proof.second_refused else remedy,
        ),
        Finding(
            "failed_set_leaves_no_claim",
            is_whole,
            proof.detail or "a failed change set leaves nothing",
            "" if is_whole else remedy,
        ),
        Finding("claim_cost", not slow, cost, "look at the database's log writes; SAP Note 3139544" if slow else ""),
    ]


async def _guard(
    service_layer: ServiceLayer, settings: CompanySettings, clock: Clock, token: str
) -> tuple[Finding, bool]:
    """Whether our block of the notification procedure is there: it refuses a draft under a key that begins with proof-.

    Where it is not, B1 keeps the draft, which is thrown away; a draft books nothing.
    """
    name, needed = "guard", settings.idempotency == "guard"
    items, cards = await read_rows(
        service_layer,
        [
            "Items?$select=ItemCode&$filter=Valid eq 'tYES' and Frozen eq 'tNO' and SalesItem eq 'tYES'"
            "&$orderby=ItemCode&$top=1",
            "BusinessPartners?$select=CardCode&$filter=CardType eq 'cCustomer' and Valid eq 'tYES'"
            "&$orderby=CardCode&$top=1",
        ],
    )
    if not (items and cards):
        remedy = "make an item and a customer in B1, then again"
        said = "not proven: B1 has no active item or customer"
        return Finding(name, not needed, said, remedy if needed else ""), False
    today = clock.now().astimezone(ZoneInfo(settings.timezone)).date()
    warehouse = next(iter(settings.warehouses))
    line = {"ItemCode": items[0]["ItemCode"], "Quantity": Decimal(1), "WarehouseCode": warehouse}
    body = _order(str(cards[0]["CardCode"]), today, line)
    key = f"proof-{token}"
    draft = {**body, "DocObjectCode": "oOrders", "U_STREAMS_KEY": key}
    try:
        answer = await claims.insist(partial(service_layer.post, "Drafts", draft))
    finally:
        await _throw_away(service_layer, key)
    if not answer.ok and says_guard_works(answer.error[1]):
        return Finding(name, True, "B1's notification procedure has our block"), True
    said = "B1 made the draft" if answer.ok else f"B1 answered {describe(answer)}"
    remedy = "put the block of docs/guard-procedure.md into SBO_SP_TransactionNotification, then again"
    detail = f"our block is not in the notification procedure: {said}"
    return Finding(name, not needed, detail, remedy if needed else ""), False


async def _throw_away(service_layer: ServiceLayer, key: str) -> None:
    (drafts,) = await read_rows(
        service_layer, [f"Drafts?$select=DocEntry&$filter=U_STREAMS_KEY eq {quote_literal(key)}"]
    )
    for draft in drafts:
        request = B1Request("DELETE", f"Drafts({draft['DocEntry']})")
        await claims.insist(partial(service_layer.change_set, [request]))


async def _totals(service_layer: ServiceLayer, settings: CompanySettings, clock: Clock) -> Finding:
    """Whether LineTotal, TaxTotal and TaxSum are taken as sent: previews an order with amounts B1 would not make."""
    name = "totals_as_sent"
    fields = "$select=ItemCode&$filter=Valid eq 'tYES' and Frozen eq 'tNO' and SalesItem eq 'tYES'"
    warehouse = next(iter(settings.warehouses))
    card = settings.customers.card_code
    items, cards, places = await read_rows(
        service_layer,
        [
            f"Items?{fields} and ManageBatchNumbers eq 'tNO' and ManageSerialNumbers eq 'tNO'&$orderby=ItemCode&$top=1",
            "BusinessPartners?$select=CardCode&$filter="
            + (f"CardCode eq {quote_literal(card)}" if card else "CardType eq 'cCustomer' and Valid eq 'tYES'")
            + "&$orderby=CardCode&$top=1",
            "Warehouses?$select=WarehouseCode,BusinessPlaceID&$filter=WarehouseCode eq " + quote_literal(warehouse),
        ],
    )
    lacking = [
        what
        for what, rows in (("active item", items), ("such customer", cards), (f"warehouse {warehouse}", places))
        if not rows
    ]
    if lacking:
        remedy = "make it in B1, or fix the configuration, then again"
        return Finding(name, False, f"not proven: B1 has no {lacking[0]}", remedy)
    today = clock.now().astimezone(ZoneInfo(settings.timezone)).date()
    line_total, line_tax, freight, freight_tax = Decimal("30.01"), Decimal("1.23"), Decimal("4.57"), Decimal("0.79")
    line: dict[str, object] = {
        "ItemCode": items[0]["ItemCode"],
        "Quantity": Decimal(3),
        "UnitPrice": Decimal("10.99"),
        "LineTotal": line_total,
        "TaxTotal": line_tax,
        "WarehouseCode": warehouse,
    }
    body = _order(str(cards[0]["CardCode"]), today, line)
    branch = decimal_of(places[0].get("BusinessPlaceID"))
    if branch is not None and branch > 0:
        body["BPL_IDAssignedToInvoice"] = int(branch)
    expected = line_total + line_tax
    tax_code = settings.tax.default or next(iter(settings.tax.codes.values()), None)
    if tax_code is not None:
        line[settings.tax.field] = tax_code
    if settings.freight.expense_code is not None:
        expense: dict[str, object] = {
            "ExpenseCode": settings.freight.expense_code,
            "LineTotal": freight,
            "TaxSum": freight_tax,
        }
        if tax_code is not None:
            expense[settings.tax.field] = tax_code
        body["DocumentAdditionalExpenses"] = [expense]
        expected += freight + freight_tax
    answer = await claims.insist(partial(service_layer.post, "OrdersService_Preview", {"Document": body}))
    if not answer.ok or answer.body is None:
        remedy = "fix what B1 says, or set totals.preview = false and compare the first documents by hand"
        return Finding(name, False, f"not proven: B1 refused the preview: {describe(answer)}", remedy)
    total = decimal_of(answer.body.get("DocTotal"))
    if total != expected:
        remedy = "let B1 take taxes as sent (Administration, Company Details), or amounts will end as total_mismatch"
        return Finding(name, False, f"B1 made {total} of {expected}", remedy)
    return Finding(name, True, f"a preview came to {expected}, as sent")


def _order(card: str, day: date, line: dict[str, object]) -> dict[str, object]:
    return {"CardCode": card, "DocDate": day, "TaxDate": day, "DocDueDate": day, "DocumentLines": [line]}
