"""The one table of connectors. A new vendor is one folder and one row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from connectors.base.clock import Clock
from connectors.base.settings import ConnectorSettings
from connectors.base.source import Source
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource, unread_files
from connectors.magento.settings import MagentoSettings
from connectors.magento.source import MagentoSource
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.source import ShopifySource, hook_of
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.source import VeeqoSource
from connectors.webhooks import Hook


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of connector.

    Attributes:
        settings: What its `[connectors.<name>]` may hold.
        source: Makes its source of a name, settings of that class, and a clock.
        unread: How much lies there that has not been read, by its settings, as far as one can see without asking
            anybody: 0 where that cannot be known.
        hook: How `connectors/webhooks.py` takes what its vendor pushes, by the connector's name and settings; None:
            nothing is pushed, or it is not configured.
    """

    settings: type[ConnectorSettings]
    source: Callable[[str, Any, Clock], Source]
    unread: Callable[[Any], int] = lambda _settings: 0
    hook: Callable[[str, Any], Hook | None] = lambda _name, _settings: None


KINDS: Mapping[str, Kind] = {
    "ims": Kind(ImsSettings, ImsSource, lambda settings: len(unread_files(settings))),
    "magento": Kind(MagentoSettings, MagentoSource),
    "shopify": Kind(ShopifySettings, ShopifySource, hook=hook_of),
    "veeqo": Kind(VeeqoSettings, VeeqoSource),
}
