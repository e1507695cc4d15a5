"""Login, sessions, their limits."""

import asyncio
from datetime import timedelta

import pytest

from tests.lab.simulators.sap_b1.http import LOGIN, World, code


async def test_login_answers_session_version_timeout_and_both_cookies() -> None:
    world = World()
    answer = await world.login()
    body = answer.json()
    assert (answer.status_code, body["SessionTimeout"]) == (200, 30)
    cookies = answer.headers.get_list("set-cookie")
    assert cookies == [f"B1SESSION={body['SessionId']}; HttpOnly", "ROUTEID=.node1; path=/b1s"]
    assert "odata.metadata" in (await world.login(world.new_client("v1"))).json()
    await world.client.aclose()


async def test_a_session_is_good_on_both_versions_and_gone_after_logout(world: World) -> None:
    cookie = {"cookie": f"B1SESSION={world.client.cookies['B1SESSION']}"}
    async with world.new_client("v1") as other:
        assert (await other.get("Items", headers=cookie)).status_code == 200
        assert (await world.client.post("Logout")).status_code == 204
        answer = await other.get("Items", headers=cookie)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, 301)
    assert world.company.counters["sessions_open"] == 0


@pytest.mark.parametrize(("change", "wanted"), [({"Password": "x"}, -304), ({"CompanyDB": "NONE"}, -306)])
async def test_a_wrong_password_is_minus_304_an_unknown_company_minus_306(change: dict[str, str], wanted: int) -> None:
    world = World()
    answer = await world.login(**change)
    assert (answer.status_code, code(answer)) == (401, wanted)
    await world.client.aclose()


async def test_an_account_is_locked_after_the_tries_it_has() -> None:
    world = World(password_tries=2)
    for _ in range(2):
        await world.login(Password="wrong")
    assert code(await world.login()) == -304
    await world.admin("unlock-users", {})
    assert (await world.login()).status_code == 200
    await world.client.aclose()


async def test_a_lower_case_path_is_401_and_301_instead_of_a_login() -> None:
    world = World()
    answer = await world.client.post("login", json=LOGIN)
    assert (answer.status_code, code(answer)) == (401, 301)
    await world.client.aclose()


async def test_logins_that_overlap_fail_with_500_and_299() -> None:
    world = World()
    answers = await asyncio.gather(world.login(), world.login(), world.login())
    assert sorted(answer.status_code for answer in answers) == [200, 500, 500]
    assert {code(answer) for answer in answers if answer.status_code == 500} == {299}
    await world.client.aclose()


async def test_the_timeout_slides_with_use(world: World) -> None:
    for _ in range(5):
        world.clock.now += timedelta(minutes=10)
        assert (await world.client.get("Items")).status_code == 200
    world.clock.now += timedelta(minutes=31)
    assert (await world.client.get("Items")).status_code == 401


async def test_a_session_limit_refuses_the_next_login_until_one_logs_out() -> None:
    world = World(session_limit=1, session_limit_error=(503, 42, "too many"))
    await world.login()
    async with world.new_client() as other:
        answer = await world.login(other)
        assert (answer.status_code, code(answer)) == (503, 42)
        await world.client.post("Logout")
        assert (await world.login(other)).status_code == 200
    assert (world.company.counters["sessions_high_water"], world.company.counters["logins"]) == (1, 2)
    await world.client.aclose()


async def test_killed_sessions_are_401_at_the_next_call(world: World) -> None:
    assert await world.admin("kill-sessions", {}) == {"killed": 1}
    assert code(await world.client.get("Items")) == 301


async def test_a_login_may_fail_for_the_landscape_directory_and_not_for_the_password() -> None:
    world = World()
    text = "Fail to get DB Credentials from SLD"
    world.faults.script("error", method="POST", path="Login", status=401, code=-304, text=text)
    answer = await world.login()
    assert (answer.status_code, code(answer), answer.json()["error"]["message"]) == (401, -304, text)
    assert (await world.login()).status_code == 200
    await world.client.aclose()
