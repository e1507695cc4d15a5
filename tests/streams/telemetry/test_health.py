import socket

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streams.config.sections import MetricsSettings
from streams.telemetry import health
from streams.telemetry.health import Health, PortTakenError, make_app
from streams.telemetry.metrics import Metrics
from tests.streams.fakes import PASSWORD, config


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(config())


async def ask(metrics: Metrics, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=make_app(metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://worker") as client:
        return await client.get(path)


async def test_it_is_alive_while_no_stage_stalls(metrics: Metrics) -> None:
    assert (await ask(metrics, "/healthz")).status_code == 200
    metrics.vitals.beat("worker", within_s=-1)
    answer = await ask(metrics, "/healthz")
    assert (answer.status_code, answer.json()) == (503, {"alive": False, "stalled": ["worker"]})


async def test_it_is_ready_when_every_part_is(metrics: Metrics) -> None:
    assert (await ask(metrics, "/readyz")).status_code == 503
    metrics.vitals.expect("worker")
    answer = await ask(metrics, "/readyz")
    assert (answer.status_code, answer.json()) == (
        503,
        {"ready": False, "waiting": {"worker": "is starting"}, "held": []},
    )
    metrics.vitals.ready("worker")
    assert (await ask(metrics, "/readyz")).json() == {"ready": True, "waiting": {}, "held": []}


async def test_metrics_are_prometheus_text_without_secrets(metrics: Metrics) -> None:
    answer = await ask(metrics, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert any(f.name == "b1streams_postings" for f in text_string_to_metric_families(answer.text))
    assert PASSWORD not in answer.text


async def test_nothing_else_is_served_and_nothing_can_be_changed(metrics: Metrics) -> None:
    assert (await ask(metrics, "/")).status_code == 404
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=make_app(metrics)), base_url="http://w") as client:
        assert (await client.post("/metrics")).status_code == 405


async def test_it_serves_on_a_free_port_in_the_running_loop(metrics: Metrics) -> None:
    async with Health(metrics, MetricsSettings(port=0)) as running, httpx.AsyncClient(trust_env=False) as client:
        assert running.url.startswith("http://127.0.0.1:")
        assert (await client.get(f"{running.url}/healthz")).json()["alive"] is True


async def test_the_default_port_taken_means_any_free_one(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(health, "DEFAULT_METRICS_PORT", port)
        async with Health(metrics, MetricsSettings(port=port)) as running:
            assert not running.url.endswith(f":{port}")


async def test_another_port_taken_is_refused_with_the_remedy(metrics: Metrics) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortTakenError, match=r"metrics\.port = 0"):
        await Health(metrics, MetricsSettings(port=taken.getsockname()[1])).start()


async def test_a_held_company_is_named_and_the_others_still_make_the_worker_ready(metrics: Metrics) -> None:
    metrics.vitals.expect("worker")
    metrics.vitals.ready("worker")
    company = next(iter(config().companies))
    metrics.components.report("company", company, "password_refused", "B1 says no")
    answer = await ask(metrics, "/readyz")
    (held,) = answer.json()["held"]
    assert (answer.status_code, held["kind"], held["name"], held["state"]) == (200, "company", company, "held")
    assert (held["reason"], held["owner"], held["detail"]) == ("password_refused", "platform", "B1 says no")
    assert held["since"]
