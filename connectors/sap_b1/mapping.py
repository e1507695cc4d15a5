"""A source's names and B1's: locations, items, tax codes, carriers, accounts, dates. Pure; refuses, never guesses."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from connectors.base.errors import Refusal
from connectors.base.settings import ConnectorSettings
from connectors.sap_b1.settings import CompanySettings


class CompanyMap:
    """What the configuration says about one company.

    Locations resolve for a source in this order: its own `locations` map; a warehouse that it owns, by `location`
    (unless its map gives that warehouse another name: a warehouse has one name per source, R126); for orders,
    dispatches and refunds also another owner's name, where only one warehouse has it.

    Args:
        company: The name in `[companies.<name>]`.
        settings: That table.
        connectors: All `[connectors.*]`, by name.
    """

    def __init__(self, company: str, settings: CompanySettings, connectors: Mapping[str, ConnectorSettings]) -> None:
        self.company = company
        self.settings = settings
        self.zone = ZoneInfo(settings.timezone)
        self._connectors = connectors
        self._accounts: dict[tuple[str, str], str] = {
            (code, reason): account
            for code, warehouse in settings.warehouses.items()
            for reason, account in warehouse.gl_account.items()
        }
        self._by_adjustment = {code for code, w in settings.warehouses.items() if w.returns_by == "adjustment"}
        self._off = {name for name, state in settings.flows.items() if state == "off"}
        self._shipping_types = {name.casefold(): code for name, code in settings.shipping_types.items()}

    def stock_warehouse(self, source: str, location: str) -> str:
        """The WhsCode whose count `source` may write (R7, R73).

        Raises:
            Refusal: `unmapped_location`, or `location_not_owned`: another system owns that count.
        """
        warehouse = self._own_warehouse(source, location)
        if warehouse is not None:
            owner = self.settings.warehouses[warehouse].owner
            if owner == source:
                return warehouse
            owners = {owner}
        else:
            owners = {w.owner for w in self.settings.warehouses.values() if w.location == location} - {source}
        if owners:
            raise Refusal(
                "location_not_owned",
                f"location {location!r} of {source} belongs to {' and '.join(sorted(owners))}, who owns its count; "
                f"let the owner report it, or change companies.{self.company}.warehouses.*.owner",
            )
        raise self._unmapped(source, location)

    def dispatch_warehouse(self, source: str, location: str) -> str:
        """The WhsCode that a dispatch of `source` leaves from.

        Raises:
            Refusal: `unmapped_location`.
        """
        return self._warehouse(source, location)

    def line_warehouse(self, source: str, location: str | None) -> str:
        """The WhsCode of an order's or a refund's line.

        Raises:
            Refusal: `unmapped_location`, also when neither the line nor the connector names a place.
        """
        if location is not None:
            return self._warehouse(source, location)
        connector = self._connectors.get(source)
        warehouse = connector.orders.warehouse if connector else None
        if warehouse is None:
            raise Refusal(
                "unmapped_location",
                f"the line names no location; set connectors.{source}.orders.warehouse to a WhsCode, or send it",
            )
        return self._known(warehouse, f"connectors.{source}.orders.warehouse")

    def item_code(self, sku: str) -> str:
        """The ItemCode of a source's sku.

        Raises:
            Refusal: `unmapped_item`, when only mapped skus are taken.
        """
        code = self.settings.items.get(sku)
        if code is not None:
            return code
        if self.settings.items_only_mapped:
            raise Refusal("unmapped_item", f"sku {sku!r} is not mapped; add it to companies.{self.company}.items")
        return sku

    def tax_code(self, code: str | None, rate: Decimal | None = None) -> str:
        """B1's tax code for a channel's; the default where the channel says nothing about tax.

        A channel that names a rate (percent) and no code is looked up by its rate, as "20" or "17.5": the default may
        be of another rate.

        Raises:
            Refusal: `unmapped_tax_code`.
        """
        tax = self.settings.tax
        if code is None and rate is not None:
            code = f"{rate.normalize():f}"
            if code not in tax.codes:
                raise Refusal(
                    "unmapped_tax_code",
                    f'names no tax code but the rate {code} %; add "{code}" to '
                    f"companies.{self.company}.tax.codes, or send "
                    "the code",
                )
        if code is None:
            if tax.default is None:
                raise Refusal(
                    "unmapped_tax_code",
                    f"names no tax code and companies.{self.company}.tax.default is not set; set it, or send the code",
                )
            return tax.default
        if code not in tax.codes:
            raise Refusal(
                "unmapped_tax_code", f"tax code {code!r} is not mapped; add it to companies.{self.company}.tax.codes"
            )
        return tax.codes[code]

    def shipping_type(self, carrier: str | None, service: str | None) -> int | None:
        """ShippingTypes.Code for `carrier/service`, else for `carrier` alone; None without a carrier. Case is ignored.

        Raises:
            Refusal: `unmapped_carrier`.
        """
        if not carrier:
            return None
        found = self._shipping_types.get(f"{carrier}/{service}".casefold()) if service else None
        if found is None:
            found = self._shipping_types.get(carrier.casefold())
        if found is None:
            name = f"{carrier}/{service}" if service else carrier
            raise Refusal(
                "unmapped_carrier",
                f"carrier {name!r} has no shipping type; add it to companies.{self.company}.shipping_types",
            )
        return found

    def account(self, warehouse: str, reason: str) -> str | None:
        """The G/L account of a stock movement; None: B1's own determination."""
        return self._accounts.get((warehouse, reason))

    def posting_date(self, occurred_at: datetime) -> date:
        """The day it happened on, in the company's time zone."""
        return occurred_at.astimezone(self.zone).date()

    @property
    def sources(self) -> tuple[str, ...]:
        """The connectors that feed the company."""
        return tuple(name for name, each in self._connectors.items() if each.company == self.company)

    def order_sources(self, source: str) -> tuple[str, ...]:
        """Whose order ids `source` names, in the order to search them."""
        connector = self._connectors.get(source)
        return (connector.order_source if connector else ()) or (source,)

    def sources_of(self, event_type: str, source: str) -> tuple[str, ...]:
        """Whose orders an event may be of: an order is its own source's."""
        return (source,) if event_type == "order_placed" else self.order_sources(source)

    def flow_off(self, event_type: str) -> bool:
        return event_type in self._off

    def before_start(self, source: str, occurred_at: datetime) -> bool:
        """Whether it happened before the connector's `start_at`: those were keyed by hand."""
        connector = self._connectors.get(source)
        return connector is not None and connector.start_at is not None and occurred_at < connector.start_at

    def returns_by_refund(self, warehouse: str) -> bool:
        """Whether refunds bring returned goods back into this warehouse; else its owner's adjustments do."""
        return warehouse not in self._by_adjustment

    def _own_warehouse(self, source: str, location: str) -> str | None:
        connector = self._connectors.get(source)
        named = connector.locations if connector else {}
        if location in named:
            return self._known(named[location], f"connectors.{source}.locations")
        renamed = set(named.values())
        for code, warehouse in self.settings.warehouses.items():
            if warehouse.owner == source and warehouse.location == location and code not in renamed:
                return code
        return None

    def _warehouse(self, source: str, location: str) -> str:
        warehouse = self._own_warehouse(source, location)
        if warehouse is not None:
            return warehouse
        found = [code for code, w in self.settings.warehouses.items() if w.location == location and w.owner != source]
        if len(found) > 1:
            raise Refusal(
                "unmapped_location",
                f"location {location!r} of {source} may be {' or '.join(sorted(found))}; "
                f"say which in connectors.{source}.locations",
            )
        if not found:
            raise self._unmapped(source, location)
        return found[0]

    def _known(self, warehouse: str, where: str) -> str:
        if warehouse not in self.settings.warehouses:
            raise Refusal(
                "unmapped_location",
                f"{where} names {warehouse!r}, which companies.{self.company}.warehouses lacks; add it or fix it",
            )
        return warehouse

    def _unmapped(self, source: str, location: str) -> Refusal:
        return Refusal(
            "unmapped_location",
            f"location {location!r} of {source} is not mapped; add a warehouse with it to "
            f"companies.{self.company}.warehouses, or the name to connectors.{source}.locations",
        )
