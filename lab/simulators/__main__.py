"""Serve a simulator on loopback: `python -m lab.simulators NAME --port 0 --config FILE.json --fault KIND=SHARE`.

NAME is `sap_b1` or a vendor (`vendors.registry.VENDORS`). Prints one line, `listening on PORT`, when it takes requests.
SIGTERM and SIGINT end it; its ledger is read over HTTP. `--fault` may be given again and again, beside the file's
`faults`; what a vendor can fail in is said at its class's `fail`, and for B1 in sap_b1.faults.FaultKind.

A vendor's file (none is needed) has what its class in `vendors/` says, and `skew_s`, `faults` {kind: share},
`webhooks` {"url", "every_s"}. B1's, every key optional but `users`:

    {"seed": 1,                      of everything random
     "speed": 0.2,                   service times, 1 is a real installation
     "timezone": "Europe/London",    of the companies
     "users": {"streams": "secret"},
     "settings": {"session_limit": 4, "lock_wait_s": 5},            fields of ServiceLayerSettings
     "faults": {"rates": {"html_502": 0.01}, "scripts": []},        see sap_b1.faults.FaultPlan.update
     "companies": {"SBO_DEMO": {
         "with_claims": false,                                      the claim table and our fields exist already
         "master_data": {"Items": [{"ItemCode": "A1"}], ...}}}}     see state/master_data.py
"""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any, cast
from zoneinfo import ZoneInfo

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from lab.simulators.sap_b1.app import ServiceLayerApp, build_app
from lab.simulators.sap_b1.faults import FaultPlan
from lab.simulators.sap_b1.settings import ServiceLayerSettings
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.vendors.registry import VENDORS, build_vendor
from lab.simulators.vendors.server import VendorServer
from lab.simulators.wire import Receive, Scope, Send


class _DroppableProtocol(H11Protocol):
    """Lets the app close its connection: `scope["extensions"]["simulator.drop"]()`."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        app = self.app

        async def droppable(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {**(scope.get("extensions") or {}), "simulator.drop": transport.close}
            await app(cast(Any, scope), cast(Any, receive), cast(Any, send))

        self.app = cast(Any, droppable)


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        sys.stdout.write(f"listening on {port}\n")
        sys.stdout.flush()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn would raise the signal again at the end; here a signal is the ordinary way to stop.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.should_exit = True


def read_app(data: Mapping[str, Any]) -> ServiceLayerApp:
    """The app that a configuration describes."""
    zone = ZoneInfo(data.get("timezone", "UTC"))

    def clock() -> datetime:
        return datetime.now(zone)

    companies = {
        name: Company(
            name, clock=clock, with_claims=bool(one.get("with_claims")), master_data=one.get("master_data", {})
        )
        for name, one in (data.get("companies") or {"SBO_DEMO": {}}).items()
    }
    return build_app(
        companies,
        users=data["users"],
        faults=FaultPlan.read(data.get("faults", {})),
        clock=clock,
        random=Random(data.get("seed", 0)),  # noqa: S311 - faults, not secrets
        settings=ServiceLayerSettings().changed({"speed": float(data.get("speed", 1)), **data.get("settings", {})}),
    )


def read_vendor(name: str, data: Mapping[str, Any]) -> VendorServer:
    """The app of a vendor that a configuration describes.

    Raises:
        ValueError: A fault that the vendor does not know.
    """
    webhooks = data.get("webhooks", {})
    url, push_s = str(webhooks.get("url", "")), float(webhooks.get("every_s", 0.5))
    return VendorServer(build_vendor(name, data), url=url, push_s=push_s)


def _fault(text: str) -> tuple[str, float]:
    kind, _, share = text.partition("=")
    if not 0 <= float(share) <= 1:
        raise argparse.ArgumentTypeError(f"{text}: a share is from 0 to 1")
    return kind, float(share)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m lab.simulators", description="Serve a simulator.")
    parser.add_argument("simulator", choices=["sap_b1", *VENDORS])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--config", type=Path, help="sap_b1 needs one, for its users")
    parser.add_argument(
        "--fault", type=_fault, action="append", default=[], metavar="KIND=SHARE", help="how often something goes wrong"
    )
    options = parser.parse_args(arguments)
    text = options.config.read_text(encoding="utf-8") if options.config is not None else "{}"
    data: dict[str, Any] = json.loads(text, parse_float=Decimal)
    try:
        if options.simulator == "sap_b1":
            faults = data.setdefault("faults", {})
            faults["rates"] = {**faults.get("rates", {}), **dict(options.fault)}
            app: Any = read_app(data)
        else:
            data["faults"] = {**data.get("faults", {}), **dict(options.fault)}
            app = read_vendor(options.simulator, data)
    except (ValueError, KeyError) as error:
        parser.error(f"{options.config or options.simulator}: {error}")
    config = uvicorn.Config(
        app,
        host=options.host,
        port=options.port,
        http=_DroppableProtocol,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=options.simulator == "sap_b1",  # vendors tell their own time, and uvicorn's may be a second old
        # Apache's: an idle connection dies after 5 s.
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )
    asyncio.run(_Server(config).serve())


if __name__ == "__main__":
    main()
