from decimal import Decimal
from typing import Any

import pytest

from connectors.sap_b1 import claims
from connectors.sap_b1.change_set import B1Request
from connectors.sap_b1.claims import Claim, InstallError
from connectors.sap_b1.client import HttpServiceLayer
from connectors.sap_b1.service_layer import B1Answer
from lab.simulators.sap_b1.state.company import Company

K = "order_placed-abcdefghijklmnopqrstuvwxyz"
CLAIM = Claim(K, "order_placed", bytes(range(16)), "1 order-placed/3/17")


@pytest.fixture
def bare(simulator: Any, clock: Any) -> Company:
    """A company that has never seen us."""
    company = Company("SBO_ACME", clock=clock.now)
    simulator.server.companies = {"SBO_ACME": company}
    return company


async def test_what_is_written_is_read_back(service_layer: HttpServiceLayer) -> None:
    assert (await service_layer.change_set([CLAIM.request()]))[0].ok
    assert await claims.look_up(service_layer, [K, "order_placed-none"]) == {K: CLAIM}


async def test_many_claims_are_looked_up_page_by_page(service_layer: HttpServiceLayer) -> None:
    rows = [Claim(f"stock_batch-{number:026}", "stock_batch", bytes(16), "1 t/0/0") for number in range(45)]
    await service_layer.change_set([claim.request() for claim in rows])
    assert await claims.look_up(service_layer, [claim.k for claim in rows]) == {claim.k: claim for claim in rows}


async def test_the_table_and_fields_are_made_once(bare: Company, service_layer: HttpServiceLayer) -> None:
    made = await claims.install(service_layer)
    assert made == [
        "@STREAMS_CLAIM",
        "@STREAMS_CLAIM.KIND",
        "@STREAMS_CLAIM.DIGEST",
        "@STREAMS_CLAIM.VERSION",
        "@STREAMS_CLAIM.STATE",
        "ORDR.STREAMS_KEY",
        "ORDR.STREAMS_ORDER",
        "RDR1.STREAMS_LINE",
    ]
    assert await claims.install(service_layer) == []
    assert await claims.missing(service_layer) == []
    assert (await service_layer.change_set([CLAIM.request()]))[0].ok


async def test_the_fields_serve_every_document(bare: Company, service_layer: HttpServiceLayer) -> None:
    await claims.install(service_layer)
    bare.load({"Items": [{"ItemCode": "A1"}], "Warehouses": [{"WarehouseCode": "L", "WarehouseName": "L"}]})
    line = {"ItemCode": "A1", "Quantity": Decimal(1), "WarehouseCode": "L", "U_STREAMS_LINE": "1"}
    answers = await service_layer.change_set(
        [
            B1Request(
                "POST", "InventoryGenEntries", {"U_STREAMS_KEY": "k", "U_STREAMS_ORDER": "o", "DocumentLines": [line]}
            )
        ]
    )
    assert answers[0].ok, answers[0].error


async def test_a_field_that_somebody_else_made_meanwhile_is_taken(service_layer: HttpServiceLayer) -> None:
    class Blind:
        """Sees no fields, so that it makes all of them again."""

        async def read(self, paths: list[str]) -> list[B1Answer]:
            return [B1Answer(200, {"value": []}) for _ in paths]

        post = service_layer.post

    assert await claims.install(Blind()) == []  # type: ignore[arg-type]


async def test_a_b1_that_refuses_says_which_and_why() -> None:
    class Refusing:
        async def read(self, paths: list[str]) -> list[B1Answer]:
            return [B1Answer(200, {"value": []}) for _ in paths]

        async def post(self, path: str, body: object) -> B1Answer:
            return B1Answer(403, {"error": {"code": "-6006", "message": "You are not permitted"}})

    with pytest.raises(InstallError, match=r"@STREAMS_CLAIM: HTTP 403, code -6006"):
        await claims.install(Refusing())  # type: ignore[arg-type]


async def test_the_proof_holds_and_leaves_nothing(
    service_layer: HttpServiceLayer, clock: Any, company: Company
) -> None:
    proof = await claims.prove(service_layer, clock, "abc")
    assert (proof.second_refused, proof.rolls_back, proof.detail) == (True, True, "")
    assert proof.row_ms == 0  # the clock stands still
    assert company.ledger()["claims"] == []
    assert company.counters["documents"] == 0


async def test_a_b1_whose_change_sets_are_not_atomic_is_found_out(service_layer: HttpServiceLayer, clock: Any) -> None:
    class Loose:
        """Runs each request of a change set on its own."""

        read = service_layer.read

        async def change_set(self, requests: list[B1Request]) -> list[B1Answer]:
            answers = []
            for request in requests:
                answers += await service_layer.change_set([request])
                if not answers[-1].ok:
                    return answers[-1:]
            return answers

    proof = await claims.prove(Loose(), clock, "abc")  # type: ignore[arg-type]
    assert (proof.second_refused, proof.rolls_back) == (True, False)
    assert "left its claim behind" in proof.detail
    assert await claims.look_up(service_layer, ["proof-abc-0", "proof-abc-dropped"]) == {}


async def test_a_b1_that_takes_a_second_row_is_found_out(service_layer: HttpServiceLayer, clock: Any) -> None:
    class Blind:
        read = service_layer.read

        async def change_set(self, requests: list[B1Request]) -> list[B1Answer]:
            answers = await service_layer.change_set(requests)
            return [B1Answer(201, {})] if answers[0].error[0] == "-2035" else answers

    proof = await claims.prove(Blind(), clock, "abc")  # type: ignore[arg-type]
    assert (proof.second_refused, proof.rolls_back) == (False, True)


def test_a_digest_that_somebody_edited_is_the_one_of_no_event() -> None:
    row = {"Code": K, "U_KIND": "order_placed", "U_DIGEST": "not hexadecimal", "U_VERSION": "1 t/0/0"}
    assert claims.parse_claim(row).digest not in (bytes(16), b"")
