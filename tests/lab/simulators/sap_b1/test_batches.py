"""`$batch` over HTTP."""

import pytest

from tests.lab.simulators.sap_b1.http import World, batch, change_set, claimed, code, order, request_part, send_batch


async def test_a_change_set_answers_one_part_per_request_inside_one_part(world: World) -> None:
    answer = await send_batch(world, claimed("K"))
    assert answer.status_code == 200
    assert (answer.text.count("HTTP/1.1 201 Created"), "changesetresponse" in answer.text) == (2, True)
    assert answer.text.count("Content-ID: 2") == 2
    assert len(world.company.ledger()["claims"]) == 1


async def test_a_failed_change_set_is_rolled_back_and_answered_by_one_part(world: World) -> None:
    answer = await send_batch(world, claimed("K", "NONE"))
    assert (answer.status_code, answer.text.count("HTTP/1.1"), "changesetresponse" in answer.text) == (200, 1, False)
    assert '"code":"-2028"' in answer.text
    assert world.company.ledger()["claims"] == []


async def test_a_batch_runs_in_order_and_stops_at_the_first_failure(world: World) -> None:
    answer = await send_batch(
        world,
        request_part("GET", "Items('A1')?$select=ItemCode"),
        claimed("K1"),
        claimed("K1"),
        claimed("K2"),
    )
    assert [line.split(" ")[1] for line in answer.text.splitlines() if line.startswith("HTTP/1.1")] == [
        "200",
        "201",
        "201",
        "400",
    ]
    assert [row["Code"] for row in world.company.ledger()["claims"]] == ["K1"]


async def test_a_v1_batch_answers_202_and_needs_no_content_ids(world: World) -> None:
    part = change_set(request_part("POST", "Orders", order()))
    content, headers = batch(part)
    answer = await world.client.post(
        "https://b1.example/b1s/v1/$batch",
        content=content,
        headers={**headers, "cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"},
    )
    assert (answer.status_code, answer.text.count("201 Created")) == (202, 1)
    answer = await world.client.post("$batch", content=content, headers=headers)
    assert (answer.status_code, code(answer)) == (400, -1000)


async def test_a_request_of_a_change_set_names_another_by_its_content_id(world: World) -> None:
    part = change_set(request_part("POST", "Orders", order(), "7"), request_part("POST", "$7/Cancel", None, "8"))
    answer = await send_batch(world, part)
    assert answer.text.count("HTTP/1.1 204 No Content") == 1


async def test_a_quoted_boundary_is_405(world: World) -> None:
    content, _ = batch(claimed("K"))
    headers = {"content-type": 'multipart/mixed;boundary="b"'}
    assert (await world.client.post("$batch", content=content, headers=headers)).status_code == 405


@pytest.mark.parametrize(
    "part",
    [
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET Items HTTP/1.1",
        "Content-Type: application/http\r\n\r\nGET Items HTTP/1.1\r\n\r\n",
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET It ems HTTP/1.1\r\n\r\n",
        change_set(change_set(request_part("POST", "Orders", {}, "1"), boundary="inner")),
        "nothing",
    ],
)
async def test_a_malformed_batch_is_400_and_minus_1000(world: World, part: str) -> None:
    answer = await send_batch(world, part)
    assert (answer.status_code, code(answer)) == (400, -1000)


async def test_an_unended_batch_is_400_and_minus_1000(world: World) -> None:
    content, headers = batch(claimed("K"))
    answer = await world.client.post("$batch", content=content[:-6], headers=headers)
    assert answer.json()["error"]["message"] == "Incomplete Batch Request Body!"
    assert world.company.ledger()["claims"] == []
