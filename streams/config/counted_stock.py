"""Warehouses of which one connector says how much is there while dispatches leave them: nothing may be booked twice."""

from collections.abc import Iterator, Mapping

from connectors.base.settings import ConnectorSettings
from connectors.registry import KINDS
from connectors.sap_b1.settings import CompanySettings
from streams.config.problems import ConfigProblem, path_text


def counted_dispatches(
    companies: Mapping[str, CompanySettings], connectors: Mapping[str, ConnectorSettings]
) -> Iterator[ConfigProblem]:
    """Connectors that must say whether their counts contain what dispatches took, or say what cannot be.

    What a connector reads is known by its mappings alone: JSON lines may bring anything.
    """
    for name, company in companies.items():
        for owner, counting in connectors.items():
            codes = [code for code, warehouse in company.warehouses.items() if warehouse.owner == owner]
            if counting.company != name or not codes or not KINDS[counting.kind].levels(counting):
                continue
            said = getattr(counting, "levels_include_dispatches", None)
            path = path_text(("connectors", owner, "levels_include_dispatches"))
            if said and company.flows.get("dispatch_confirmed") == "off":
                yield ConfigProblem(
                    path,
                    f"is true, but dispatches move nothing in B1 (companies.{name}.flows)",
                    "write false: what a dispatch took is then booked with the count",
                )
            elif said is None and KINDS[counting.kind].dispatches(counting):
                yield ConfigProblem(
                    path,
                    f"is missing, and {owner} brings both counts and dispatches of {', '.join(codes)}",
                    "write true where a count falls with each dispatch (B1 would book it twice), false where counts "
                    "know "
                    "nothing of dispatches",
                )
            others = [] if said is False else _others_from(owner, codes, company, name, connectors)
            for other, code in others:
                yield ConfigProblem(
                    path,
                    f"is {'true' if said else 'missing'}, and {code} has counts of {owner} and dispatches of {other}, "
                    "of "
                    f"which {owner} does not know",
                    "let one connector read both; or write false, if counts know nothing of dispatches",
                )


def _others_from(
    owner: str, codes: list[str], company: CompanySettings, name: str, connectors: Mapping[str, ConnectorSettings]
) -> list[tuple[str, str]]:
    """Other connectors that bring dispatches from warehouses that this one counts."""
    owners = {warehouse.owner for warehouse in company.warehouses.values()}
    found: list[tuple[str, str]] = []
    for other, settings in connectors.items():
        if (
            other == owner
            or settings.company != name
            or not settings.enabled
            or not KINDS[settings.kind].dispatches(settings)
        ):
            continue
        named = [code for code in codes if code in settings.locations.values()]
        # One that names no warehouse of its own can only mean those of others.
        found += [(other, code) for code in named or ([] if other in owners or settings.locations else codes[:1])]
    return found
