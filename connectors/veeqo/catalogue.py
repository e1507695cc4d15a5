"""Veeqo's sellables by SKU, as they are now: it writes to ids, and a SKU need not be unique there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, PlainValidator

from connectors.base.errors import RecordError
from connectors.base.sending import ChannelRefusedError
from connectors.base.values import VendorRecord, a_level, a_number, an_identity, listed, or_none, text_or_none
from connectors.veeqo.client import VeeqoClient
from connectors.veeqo.records import VeeqoStockEntry, validate

#: Up to so many SKUs are asked for one by one; more are found in fewer requests by walking over all products.
MAX_ASKED = 20
#: 100,000 products: 200 s of Veeqo's rate. A search that has more pages than this of near hits ends there too.
MAX_PAGES = 1000
MAX_SEARCH_PAGES = 10
PAGE_SIZE = 100


class _WrittenEntry(VeeqoStockEntry):
    physical_stock_level: Annotated[Decimal | None, or_none(a_level)] = None  # type: ignore[assignment]


class _Variant(VendorRecord):
    id: Annotated[str, PlainValidator(an_identity)]
    sku_code: Annotated[str | None, PlainValidator(text_or_none)] = None
    upc_code: Annotated[str | None, PlainValidator(text_or_none)] = None
    price: Annotated[Decimal | None, or_none(a_number)] = None
    stock_entries: Annotated[tuple[_WrittenEntry, ...], BeforeValidator(listed)] = ()


class _Product(VendorRecord):
    id: Annotated[str, PlainValidator(an_identity)]
    title: Annotated[str | None, PlainValidator(text_or_none)] = None
    sellables: Annotated[tuple[_Variant, ...], BeforeValidator(listed)] = Field(default=())


@dataclass(frozen=True, slots=True)
class Sellable:
    """One sellable as Veeqo shows it.

    Attributes:
        id: What orders and stock name it by.
        product_id: Of the product that it is a variant of.
        is_alone: Whether it is the product's only variant, whose title then is its own.
        title: The product's.
        upc_code: Its barcode.
        price: Net; None: none.
        stock: Physical level by warehouse id, where it has a limit.
    """

    id: int
    product_id: int
    is_alone: bool
    title: str | None
    upc_code: str | None
    price: Decimal | None
    stock: Mapping[str, Decimal]


class Catalogue:
    """What Veeqo has of some SKUs, as `read` saw it last."""

    def __init__(self, client: VeeqoClient) -> None:
        self._client = client
        self._found: dict[str, dict[int, Sellable]] = {}
        self._unreadable: dict[str, str] = {}

    def find(self, sku: str) -> Sellable | None:
        """The one sellable of a SKU; None: there is none.

        Raises:
            ChannelRefusedError: There are several, and nobody knows which is meant; or it cannot be read.
        """
        if sku in self._unreadable:
            raise ChannelRefusedError(f"the product of SKU {sku} cannot be read: {self._unreadable[sku]}")
        found = list(self._found.get(sku, {}).values())
        if len(found) > 1:
            ids = ", ".join(str(each.id) for each in found)
            raise ChannelRefusedError(f"sellables {ids} have the SKU {sku}; give each its own SKU in Veeqo, then retry")
        return found[0] if found else None

    def sellable(self, sku: str) -> Sellable:
        """As `find`, where there has to be one.

        Raises:
            ChannelRefusedError: There is none, or several.
        """
        found = self.find(sku)
        if found is None:
            raise ChannelRefusedError(f"Veeqo has no sellable of SKU {sku}; make it there or send items, then retry")
        return found

    async def read(self, skus: Iterable[str]) -> None:
        """Look at these SKUs now.

        Raises:
            RetriableError, FatalError: As `VeeqoClient.page`.
        """
        wanted = set(skus)
        for sku in wanted:
            self._found.pop(sku, None)
            self._unreadable.pop(sku, None)
        if len(wanted) > MAX_ASKED:
            await self._walk({}, wanted, MAX_PAGES)
        else:
            for sku in sorted(wanted):
                # The search is free text: near hits are among what it finds.
                await self._walk({"query": sku}, {sku}, MAX_SEARCH_PAGES)

    async def _walk(self, params: Mapping[str, str], wanted: set[str], max_pages: int) -> None:
        for number in range(1, max_pages + 1):
            page = await self._client.page("/products", {**params, "page": number, "page_size": PAGE_SIZE})
            for row in page.rows:
                named = _skus_in(row) & wanted
                if named:
                    self._take(row, named)
            if len(page.rows) < (page.per_page or PAGE_SIZE):
                return

    def _take(self, row: object, wanted: set[str]) -> None:
        try:
            product = validate(_Product, row)
            for each in product.sellables:
                if each.sku_code in wanted:
                    sellable = _sellable(product, each)
                    self._found.setdefault(each.sku_code, {})[sellable.id] = sellable
        except (RecordError, ValueError) as error:
            self._unreadable |= dict.fromkeys(wanted, str(error))


def _skus_in(row: object) -> set[str]:
    sellables = row.get("sellables") if isinstance(row, Mapping) else None
    rows = [sellables] if isinstance(sellables, Mapping) else sellables if isinstance(sellables, list) else []
    return {str(each.get("sku_code")).strip() for each in rows if isinstance(each, Mapping)}


def _sellable(product: _Product, variant: _Variant) -> Sellable:
    return Sellable(
        id=int(variant.id),
        product_id=int(product.id),
        is_alone=len(product.sellables) == 1,
        title=product.title,
        upc_code=variant.upc_code,
        price=variant.price,
        stock={
            warehouse: entry.physical_stock_level
            for entry in variant.stock_entries
            if (warehouse := entry.warehouse_id or (entry.warehouse.id if entry.warehouse else None))
            and entry.physical_stock_level is not None
            and not entry.infinite
        },
    )
