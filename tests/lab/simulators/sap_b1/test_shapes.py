"""Both versions of the API: errors, dates, counts, headers."""

import json

from tests.lab.simulators.sap_b1.http import World, code, order


async def test_v2_errors_have_text_codes_and_v1_errors_numbers_and_an_object(world: World) -> None:
    two = (await world.client.get("Items('NONE')")).json()["error"]
    assert (two["code"], two["details"]) == ("-2028", [{"code": "", "message": ""}])
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        one = (await other.get("Items('NONE')", headers=cookie)).json()["error"]
    assert one == {"code": -2028, "message": {"lang": "en-us", "value": two["message"]}}


async def test_a_created_document_has_location_etag_and_exact_numbers(world: World) -> None:
    answer = await world.post("Orders", order())
    assert (answer.status_code, answer.headers["location"]) == (201, "https://b1.example/b1s/v2/Orders(1)")
    assert answer.headers["etag"].startswith('W/"')
    assert json.loads(answer.content, parse_float=str)["DocumentLines"][0]["UnitPrice"] == "9.99"
    assert answer.json()["DocDate"] == "2026-11-21T00:00:00Z"
    assert answer.headers["odata-version"] == "4.0"


async def test_v1_dates_have_no_time_and_counts_are_text(world: World) -> None:
    await world.post("Orders", order())
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        body = (await other.get("Orders?$inlinecount=allpages", headers=cookie)).json()
    assert (body["odata.count"], body["value"][0]["DocDate"]) == ("1", "2026-11-21")
    assert "odata.etag" in body["value"][0]


async def test_patch_is_204_without_an_etag(world: World) -> None:
    await world.post("Orders", order())
    answer = await world.client.patch("Orders(1)", json={"Comments": "x"})
    assert (answer.status_code, answer.content, "etag" in answer.headers) == (204, b"", False)
    override = {"x-http-method-override": "PATCH"}
    assert (await world.client.post("Orders(1)", json={"Comments": "y"}, headers=override)).status_code == 204
    assert (await world.client.get("Orders(1)")).json()["Comments"] == "y"


async def test_a_count_is_plain_text(world: World) -> None:
    answer = await world.client.get("Items/$count")
    assert (answer.text, answer.headers["content-type"]) == ("9", "text/plain")


async def test_a_body_that_is_no_json_object_is_minus_1000(world: World) -> None:
    assert code(await world.client.post("Orders", content=b"{")) == -1000
    assert code(await world.client.post("Orders", content=b"[1]")) == -1000


async def test_an_encoded_slash_in_a_path_is_apaches_404(world: World) -> None:
    answer = await world.client.get("Items('A%2FB')")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=iso-8859-1")


async def test_ping_answers_without_a_session() -> None:
    world = World()
    answer = await world.client.get("https://b1.example/ping/load-balancer")
    assert (answer.json()["message"], answer.json()["sender"]) == ("pong", "load balancer")
    await world.client.aclose()
