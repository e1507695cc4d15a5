"""What one connector calls B1's items, warehouses and shipping types. Pure."""

from collections import defaultdict
from collections.abc import Mapping

from connectors.base.settings import ConnectorSettings
from connectors.sap_b1.settings import CompanySettings


class ReceiverNames:
    """The other way round of `CompanyMap`, for one connector.

    Args:
        connector: Its name.
        settings: Its table.
        company: Its company's.

    Attributes:
        warehouses: Those whose count it owns: released orders leave from them.
        sellable: Those that it sells from.
    """

    def __init__(self, connector: str, settings: ConnectorSettings, company: CompanySettings) -> None:
        self.warehouses = frozenset(code for code, row in company.warehouses.items() if row.owner == connector)
        self.sellable = tuple(code for code, row in company.warehouses.items() if connector in row.sellable_on)
        own = {code: name for name, code in settings.locations.items()}
        self._locations: Mapping[str, str] = {
            code: own.get(code, row.location) for code, row in company.warehouses.items()
        }
        self._only_mapped = company.items_only_mapped
        self._skus: defaultdict[str, list[str]] = defaultdict(list)
        for sku, code in company.items.items():
            self._skus[code].append(sku)
        self._mapped_skus = company.items.keys()
        self._carriers: dict[int, tuple[str, str | None]] = {}
        for name, shipping_type in company.shipping_types.items():
            carrier, _, service = name.partition("/")
            self._carriers.setdefault(shipping_type, (carrier, service or None))

    def skus(self, item_code: str) -> tuple[str, ...]:
        """What it calls an item; nothing where only mapped items have a sku, or the code is another item's sku."""
        if mapped := self._skus.get(item_code):
            return tuple(mapped)
        return () if self._only_mapped or item_code in self._mapped_skus else (item_code,)

    def location(self, warehouse: str | None) -> str | None:
        """What it calls a warehouse; None: it has no name for it."""
        return self._locations.get(warehouse or "")

    def carrier(self, shipping_type: int | None) -> tuple[str | None, str | None]:
        """Carrier and service of a B1 shipping type; None where the map has none."""
        return (None, None) if shipping_type is None else self._carriers.get(shipping_type, (None, None))
