"""Items, warehouses, tax codes and customers of one company, asked in few queries and remembered for minutes."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

from connectors.base.clock import Clock
from connectors.base.errors import Refusal
from connectors.sap_b1.change_set import decimal_of
from connectors.sap_b1.master import Card, Codes, Item, MasterData, TaxCode, Warehouse
from connectors.sap_b1.service_layer import (
    AnswerUnknownError,
    QueryRefusedError,
    ServiceLayer,
    UnavailableError,
    quote_literal,
    read_rows,
)

_CODES_PER_QUERY = (
    20  # an `or` of 20 keys stays a seek in the index of both databases; a page of answers is 20 rows as well
)
_LONGEST = 100  # of all codes of B1 an e-mail address is the longest; a longer one it does not have, and would not read
_TTL_S = 300.0  # how long an answer is believed
_NEGATIVE_TTL_S = 30.0  # what was missing may have been made by the person who was shown the parked event
_MAX_REMEMBERED = 50_000  # entries, about 30 MB; the oldest answers go first


_Key = tuple[str, str]  # (kind, code)
_Chunk = tuple[str, list[str]]  # kind, codes of one query
_Found = Item | Warehouse | TaxCode | Card | tuple[Card, ...] | int | QueryRefusedError | None


class MasterDataCache:
    """Remembers answers for five minutes (misses for half a minute), and asks for a code once however many wait.

    Args:
        service_layer: Where to ask.
        clock: Clock seconds.
        tax_field: `VatGroup` or `TaxCode`, the localisation's (companies.*.tax.field): decides where tax codes lie.
    """

    def __init__(self, service_layer: ServiceLayer, clock: Clock, tax_field: str = "VatGroup") -> None:
        self._service_layer = service_layer
        self._clock = clock
        self._sales_tax = tax_field == "TaxCode"
        self._known: dict[_Key, tuple[float, _Found]] = {}  # key -> (believed until, answer), oldest first
        self._asked: dict[_Key, asyncio.Task[dict[_Key, _Found]]] = {}
        # What is gathered for the next ask: keys, e-mail addresses as they were typed, and the task that will ask
        self._next: tuple[list[_Key], set[str], asyncio.Task[dict[_Key, _Found]]] | None = None

    async def get(self, codes: Codes, *, alone: bool = False) -> MasterData:
        """Everything that B1 has for these codes.

        Args:
            codes: What is needed.
            alone: Ask for these only, not together with what others ask for meanwhile.

        Raises:
            Refusal: B1 refuses to be asked for one of them; the query for the others is taken.
            QueryRefusedError: It refuses every query of the kind, for want of rights.
            NotSentError, UnavailableError, FatalError: As `ServiceLayer.read`.
        """
        now = self._clock.monotonic()
        answers: dict[_Key, _Found] = {}
        waiting: dict[_Key, asyncio.Task[dict[_Key, _Found]]] = {}
        missing: list[_Key] = []
        # How many decimals a quantity may have is asked with the first item, and again when its time is over
        for key in (*_keys(codes), *([_COMPANY] if codes.items else [])):
            known = self._known.get(key)
            if known is not None and known[0] > now:
                answers[key] = known[1]
            elif key in self._asked and not alone:
                waiting[key] = self._asked[key]
            else:
                missing.append(key)
        if missing:
            spelled = {email for email in codes.emails if ("email", _fold(email)) in missing}
            if self._next is None or alone:
                keys, emails = list[_Key](), set[str]()
                task = asyncio.create_task(self._ask(keys, emails))
                task.add_done_callback(_retrieve)
                gathered = keys, emails, task
                self._next = self._next if alone else gathered
            else:
                gathered = self._next
            keys, emails, task = gathered
            keys += missing
            emails |= spelled
            for key in missing:
                waiting[key] = task
                if not alone:
                    self._asked[key] = task
        for key, asked in waiting.items():
            answers[key] = (await asyncio.shield(asked))[key]
        return _snapshot(answers)

    async def forget(self, codes: Codes) -> None:
        """Ask again at the next need, also for what is being asked just now."""
        for key in _keys(codes):
            self._known.pop(key, None)
            self._asked.pop(key, None)

    async def _ask(self, keys: list[_Key], spelled: set[str]) -> dict[_Key, _Found]:
        me = asyncio.current_task()
        try:
            try:
                await asyncio.sleep(0)  # whoever asks in the same turn of the loop, asks together
            finally:
                if self._next is not None and self._next[0] is keys:
                    self._next = None
            found = await self._fetch(keys, spelled)
            now = self._clock.monotonic()
            for key in keys:
                if self._asked.get(key) is me:  # not forgotten meanwhile
                    answer = found[key]
                    negative = answer in (None, ()) or isinstance(answer, QueryRefusedError)
                    self._known.pop(key, None)
                    self._known[key] = (now + (_NEGATIVE_TTL_S if negative else _TTL_S), answer)
            while len(self._known) > _MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            return found
        finally:
            for key in keys:
                if self._asked.get(key) is me:
                    del self._asked[key]

    async def _fetch(self, keys: list[_Key], spelled: set[str]) -> dict[_Key, _Found]:
        chunks: list[_Chunk] = []
        for kind in _KINDS:
            wanted = {code for of, code in keys if of == kind}
            if kind == "email":  # HANA compares case: ask for the address as it was typed, too
                wanted |= {email.strip() for email in spelled}
            codes = sorted(code for code in wanted if len(code) <= _LONGEST)
            chunks += [
                (kind, codes[start : start + _CODES_PER_QUERY]) for start in range(0, len(codes), _CODES_PER_QUERY)
            ]
        found: dict[_Key, _Found] = dict.fromkeys(keys)
        by_email: dict[str, dict[str, Card]] = {code: {} for kind, code in keys if kind == "email"}
        wanted_keys = _folded(keys)
        rows_of, refused = await self._rows(chunks)
        for kind, rows in rows_of:
            for row in rows:
                if kind == "email":
                    card = _card(row)
                    if card.customer and _fold(card.email) in by_email:
                        by_email[_fold(card.email)][card.code] = card
                    continue
                entry = item_of(row) if kind == "item" else _other(kind, row)
                # SQL Server compares codes without regard to case, and B1 then means one record
                for key in wanted_keys.get((kind, entry.code.casefold()), ()):
                    if key[1] == entry.code or found[key] is None:
                        found[key] = entry
        if _COMPANY in found:
            found[_COMPANY] = await self._quantity_decimals()
        for email, cards in by_email.items():
            found["email", email] = tuple(cards[code] for code in sorted(cards))
        for (kind, code), error in refused.items():
            key = kind, _fold(code) if kind == "email" else code
            if key in found:
                found[key] = error
        return found

    async def _rows(
        self, chunks: list[_Chunk]
    ) -> tuple[list[tuple[str, list[Mapping[str, object]]]], dict[_Key, QueryRefusedError]]:
        """The rows of each chunk, and the codes that B1 refuses to be asked for.

        A chunk that is refused is halved until the codes are alone that are to blame, so that nobody else's answer is
        missing; one that is refused for want of rights would be refused whatever is asked.
        """
        try:
            pages = await read_rows(self._service_layer, [self._path(*chunk) for chunk in chunks])
        except QueryRefusedError as error:
            kind, codes = chunks[error.index]
            others = chunks[: error.index] + chunks[error.index + 1 :]
            rows, refused = await self._rows(others) if others else ([], {})
            if len(codes) == 1 or error.status == 403:
                return rows, {**refused, **{(kind, code): error for code in codes}}
            halves = [(kind, codes[: len(codes) // 2]), (kind, codes[len(codes) // 2 :])]
            more_rows, more_refused = await self._rows(halves)
            return rows + more_rows, {**refused, **more_refused}
        return [(kind, [*rows]) for (kind, _), rows in zip(chunks, pages, strict=True)], {}

    async def _quantity_decimals(self) -> int | None:
        """The company's display setting, which B1 rounds to; None where this B1 does not say."""
        try:
            answer = await self._service_layer.post("CompanyService_GetAdminInfo", {})
        except AnswerUnknownError as error:  # it writes nothing
            raise UnavailableError(str(error)) from None
        decimals = decimal_of((answer.body or {}).get("AccuracyofQuantities")) if answer.ok else None
        return None if decimals is None else int(decimals)

    def _path(self, kind: str, codes: list[str]) -> str:
        match kind:
            case "item":
                return _query("Items", _ITEM_FIELDS, "ItemCode", codes)
            case "warehouse":
                return _query(
                    "Warehouses",
                    "WarehouseCode,WarehouseName,Inactive,BusinessPlaceID",
                    "WarehouseCode",
                    codes,
                )
            case "tax" if self._sales_tax:
                return _query("SalesTaxCodes", "Code,Inactive", "Code", codes)
            case "tax":
                return _query("VatGroups", "Code,Inactive", "Code", codes)
            case "card":
                return _query("BusinessPartners", _CARD_FIELDS, "CardCode", codes)
            case _:
                return _query("BusinessPartners", _CARD_FIELDS, "EmailAddress", codes)


_COMPANY: _Key = ("company", "")
_NAMES = {"item": "item", "warehouse": "warehouse", "tax": "tax code", "card": "customer"}
_KINDS = ("item", "warehouse", "tax", "card", "email")
_ITEM_FIELDS = (
    "ItemCode,ItemName,Valid,ValidFrom,ValidTo,Frozen,FrozenFrom,FrozenTo,InventoryItem,SalesItem,ManageBatchNumbers,"
    "ManageSerialNumbers,SRIAndBatchManageMethod,SalesItemsPerUnit,TreeType"
)
_CARD_FIELDS = "CardCode,CardName,CardType,EmailAddress,Currency,Valid,Frozen"


def _query(entity: str, fields: str, key: str, values: Iterable[str]) -> str:
    condition = " or ".join(f"{key} eq {quote_literal(value)}" for value in values)
    return f"{entity}?$select={fields}&$filter={condition}&$orderby={fields.partition(',')[0]}"


def _keys(codes: Codes) -> Iterator[_Key]:
    for kind, wanted in zip(_KINDS, (codes.items, codes.warehouses, codes.tax_codes, codes.cards), strict=False):
        yield from ((kind, code) for code in sorted(wanted))  # one order, so that a run can be repeated exactly
    yield from dict.fromkeys(("email", _fold(email)) for email in sorted(codes.emails))


def _fold(email: str) -> str:
    return email.strip().casefold()


def _folded(keys: Iterable[_Key]) -> dict[_Key, list[_Key]]:
    folded: dict[_Key, list[_Key]] = {}
    for kind, code in keys:
        folded.setdefault((kind, code.casefold()), []).append((kind, code))
    return folded


def _snapshot(answers: Mapping[_Key, _Found]) -> MasterData:
    for (kind, code), answer in answers.items():
        if isinstance(answer, QueryRefusedError):
            if answer.status == 403:
                raise QueryRefusedError(str(answer), answer.index, answer.status)
            # An e-mail address is personal: it is named by its kind
            what = f"{_NAMES[kind]} {code[:60]!r}" if kind in _NAMES else "this customer's e-mail address"
            raise Refusal("erp_refused", f"B1 refuses to be asked for {what}: {answer}")
    items: dict[str, Item] = {}
    warehouses: dict[str, Warehouse] = {}
    taxes: dict[str, TaxCode] = {}
    cards: dict[str, Card] = {}
    by_email: dict[str, tuple[Card, ...]] = {}
    decimals = 6  # what the columns hold, DECIMAL(19,6)
    for (_, code), answer in answers.items():
        match answer:
            case Item():
                items[code] = answer
            case Warehouse():
                warehouses[code] = answer
            case TaxCode():
                taxes[code] = answer
            case Card():
                cards[code] = answer
            case tuple():
                if answer:
                    by_email[code] = answer
            case int():
                decimals = answer
            case None | QueryRefusedError():
                pass
    return MasterData(items, warehouses, taxes, cards, by_email, decimals)


def _retrieve(task: asyncio.Task[dict[_Key, _Found]]) -> None:
    if not task.cancelled():
        task.exception()  # whoever still waits has it raised; nobody may be left


def _yes(row: Mapping[str, object], name: str) -> bool:
    return row.get(name) in {"tYES", "Y"}


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    return "" if value is None else str(value)


def _day(row: Mapping[str, object], name: str) -> date | None:
    # v2 says 2022-04-29T00:00:00Z, v1 2022-04-29; the Z is no time zone: B1 stores dates without one
    text = _text(row, name)[:10]
    return date.fromisoformat(text) if text else None


def item_of(row: Mapping[str, object]) -> Item:
    """A row of `Items`."""
    return Item(
        code=_text(row, "ItemCode"),
        name=_text(row, "ItemName"),
        valid=_yes(row, "Valid"),
        valid_from=_day(row, "ValidFrom"),
        valid_to=_day(row, "ValidTo"),
        frozen=_yes(row, "Frozen"),
        frozen_from=_day(row, "FrozenFrom"),
        frozen_to=_day(row, "FrozenTo"),
        inventory_item=_yes(row, "InventoryItem"),
        kit=row.get("TreeType") in {"iSalesTree", "S"},
        sales_item=_yes(row, "SalesItem"),
        batch_managed=_yes(row, "ManageBatchNumbers"),
        serial_managed=_yes(row, "ManageSerialNumbers"),
        on_release_only=row.get("SRIAndBatchManageMethod") in {"bomm_OnReleaseOnly", "R"},
        sales_factor=decimal_of(row.get("SalesItemsPerUnit")) or Decimal(1),
    )


def _other(kind: str, row: Mapping[str, object]) -> Warehouse | TaxCode | Card:
    if kind == "card":
        return _card(row)
    if kind == "warehouse":
        branch = decimal_of(row.get("BusinessPlaceID"))
        return Warehouse(
            code=_text(row, "WarehouseCode"),
            name=_text(row, "WarehouseName"),
            active=not _yes(row, "Inactive"),
            branch=int(branch) if branch is not None and branch > 0 else None,
        )
    return TaxCode(code=_text(row, "Code"), active=not _yes(row, "Inactive"))


def _card(row: Mapping[str, object]) -> Card:
    return Card(
        code=_text(row, "CardCode"),
        name=_text(row, "CardName"),
        email=_text(row, "EmailAddress").strip(),
        currency=_text(row, "Currency"),
        active=_yes(row, "Valid") and not _yes(row, "Frozen"),
        customer=row.get("CardType") in {"cCustomer", "C"},
    )
