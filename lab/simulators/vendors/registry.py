"""The vendors by name."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from lab.simulators.vendors.actions import SimulatedVendor
from lab.simulators.vendors.magento import MagentoVendor
from lab.simulators.vendors.seko import SekoVendor
from lab.simulators.vendors.shopify import ShopifyVendor
from lab.simulators.vendors.veeqo import VeeqoVendor

VENDORS: Final[Mapping[str, Callable[[Mapping[str, Any], Callable[[], datetime]], SimulatedVendor]]] = {
    "magento": MagentoVendor,
    "shopify": ShopifyVendor,
    "veeqo": VeeqoVendor,
    "seko": SekoVendor,
}


def build_vendor(name: str, data: Mapping[str, Any]) -> SimulatedVendor:
    """A vendor as a configuration describes it; its clock is `skew_s` seconds ahead of ours.

    Raises:
        ValueError: A fault that the vendor does not know.
    """
    skew = timedelta(seconds=float(data.get("skew_s", 0)))
    vendor = VENDORS[name](data, lambda: datetime.now(UTC) + skew)
    vendor.fail({kind: float(rate) for kind, rate in data.get("faults", {}).items()})
    return vendor
