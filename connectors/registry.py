"""The one table of connectors. A new vendor is one folder and one row here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors.base.clock import Clock
from connectors.base.doctor import Finding
from connectors.base.settings import ConnectorSettings
from connectors.base.sink import Sink
from connectors.base.source import BackfillSource, Source, TimeRange
from connectors.ims import doctor as ims_doctor
from connectors.ims.outbox import ImsSink
from connectors.ims.settings import ImsSettings
from connectors.ims.source import ImsSource, unmapped_files, unread_files
from connectors.magento import doctor as magento_doctor
from connectors.magento.backfill import MagentoBackfill
from connectors.magento.settings import MagentoSettings
from connectors.magento.sink import MagentoSink
from connectors.magento.source import MagentoSource
from connectors.sap_b1.reading import doctor as sap_b1_doctor
from connectors.sap_b1.reading.settings import SapB1Settings
from connectors.sap_b1.reading.source import SapB1Source
from connectors.seko import doctor as seko_doctor
from connectors.seko.backfill import SekoBackfill
from connectors.seko.hook import hook_of as seko_hook
from connectors.seko.settings import SekoSettings
from connectors.seko.sink import SekoSink
from connectors.seko.source import SekoSource
from connectors.shopify import doctor as shopify_doctor
from connectors.shopify.backfill import ShopifyBackfill
from connectors.shopify.hook import hook_of as shopify_hook
from connectors.shopify.settings import ShopifySettings
from connectors.shopify.sink import ShopifySink
from connectors.shopify.source import ShopifySource
from connectors.veeqo import doctor as veeqo_doctor
from connectors.veeqo.backfill import VeeqoBackfill
from connectors.veeqo.settings import VeeqoSettings
from connectors.veeqo.sink import VeeqoSink
from connectors.veeqo.source import VeeqoSource
from connectors.webhooks.hook import Hook


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of connector.

    Attributes:
        settings: What its `[connectors.<name>]` may hold.
        source: Makes its source of a name, settings of that class, and a clock.
        unread: How much lies there that has not been read, by its settings, as far as one can see without asking
            anybody: 0 where that cannot be known.
        unmapped: What lies there that nobody will read, by its settings and its cursor: names for people.
        hook: How `connectors/webhooks/` takes what its vendor pushes, by the connector's name and settings; None:
            nothing is pushed, or it is not configured.
        backfill: Makes what reads a time range, of name, settings, clock, span, and the live source's cursor (None: it
            has none yet); None: this kind has no past that could be asked for.
        counts: Whether it says of a place (by the vendor's name, and settings) how much is there, instead of what came
            and went. Goods that come back are in that count, so that nobody else may bring them back.
        levels: Whether its files are known to say how much is there; False where that cannot be known.
        dispatches: Whether it is known to bring dispatches; False where that cannot be known.
        doctor: Looks at what its vendor really lets us see, and writes nothing there: name, settings, the vendor's
            places that the configuration names, clock.
        install: Makes at its vendor what it does better with, by settings and clock; the doctor finds what came of it.
        sink: Makes what tells its channel what B1 says, of name, settings and clock; None: this kind receives nothing.
    """

    settings: type[ConnectorSettings]
    source: Callable[[str, Any, Clock], Source]
    unread: Callable[[Any], int] = lambda _settings: 0
    unmapped: Callable[[Any, str | None], Sequence[str]] = lambda _settings, _cursor: ()
    hook: Callable[[str, Any], Hook | None] = lambda _name, _settings: None
    backfill: Callable[[str, Any, Clock, TimeRange, str | None], BackfillSource] | None = None
    counts: Callable[[str, Any], bool] = lambda _place, _settings: False
    levels: Callable[[Any], bool] = lambda _settings: False
    dispatches: Callable[[Any], bool] = lambda _settings: False
    doctor: Callable[[str, Any, frozenset[str], Clock], Awaitable[Sequence[Finding]]] | None = None
    install: Callable[[Any, Clock], Awaitable[None]] | None = None
    sink: Callable[[str, Any, Clock], Sink] | None = None


KINDS: Mapping[str, Kind] = {
    "ims": Kind(
        ImsSettings,
        ImsSource,
        lambda settings: len(unread_files(settings)),
        unmapped_files,
        levels=lambda settings: settings.maps("stock_adjusted", "level"),
        dispatches=lambda settings: settings.maps("dispatch_confirmed"),
        doctor=ims_doctor.examine,
        sink=ImsSink,
    ),
    "magento": Kind(
        MagentoSettings,
        MagentoSource,
        backfill=MagentoBackfill,
        dispatches=lambda settings: "shipments" in settings.flows,
        doctor=magento_doctor.examine,
        sink=MagentoSink,
    ),
    "sap_b1": Kind(SapB1Settings, SapB1Source, doctor=sap_b1_doctor.examine, install=sap_b1_doctor.install),
    "seko": Kind(
        SekoSettings,
        SekoSource,
        hook=seko_hook,
        backfill=SekoBackfill,
        dispatches=lambda _settings: True,
        doctor=seko_doctor.examine,
        sink=SekoSink,
    ),
    "shopify": Kind(
        ShopifySettings,
        ShopifySource,
        hook=shopify_hook,
        backfill=ShopifyBackfill,
        counts=lambda place, settings: place in settings.stock_locations,
        dispatches=lambda settings: "dispatch_confirmed" in settings.events,
        doctor=shopify_doctor.examine,
        sink=ShopifySink,
    ),
    "veeqo": Kind(
        VeeqoSettings,
        VeeqoSource,
        backfill=VeeqoBackfill,
        dispatches=lambda settings: "dispatches" in settings.reads,
        counts=lambda place, settings: settings.counts(place),
        doctor=veeqo_doctor.examine,
        sink=VeeqoSink,
    ),
}
