"""B1's ledger and the terms of the configuration, for the proof."""

import json
import tomllib
from pathlib import Path
from typing import Any

from lab.demo.system import DemoSystem
from lab.proof.documents import read_document
from lab.proof.terms import Terms

_DOCUMENTS_PER_PAGE = 500


async def read_ledger(system: DemoSystem, folder: Path) -> dict[str, Any]:
    """B1's books, a page of documents at a time: a year of them is a gigabyte."""
    ledger: dict[str, Any] = await system.b1("GET", "ledger?documents=0")
    documents: list[dict[str, Any]] = []
    after = 0
    with (folder / "ledger.jsonl").open("w", encoding="utf-8") as file:
        file.write(json.dumps(ledger) + "\n")
        while page := await system.b1("GET", f"documents?after={after}&limit={_DOCUMENTS_PER_PAGE}"):
            file.writelines(json.dumps(document) + "\n" for document in page)
            documents += map(read_document, page)
            after = page[-1]["sequence"]
    return {**ledger, "documents": documents}


def read_terms(path: Path) -> Terms:
    """What the configuration says, read as any reader would."""
    settings = tomllib.loads(path.read_text(encoding="utf-8"))
    company, connectors = settings["companies"]["acme"], settings["connectors"]
    places = {each["location"]: code for code, each in company["warehouses"].items()}
    for connector in connectors.values():
        places |= connector.get("locations", {})
    accounts = {reason: code for each in company["warehouses"].values() for reason, code in each["gl_account"].items()}
    defaults = {name: each["orders"]["warehouse"] for name, each in connectors.items() if "orders" in each}
    return Terms(company["items"], places, accounts, defaults, company["timezone"])
