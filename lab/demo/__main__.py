"""`python -m lab.demo prepare|drip FOLDER`: the demo's input for the compose file's profile `demo`.

With `--vendor NAME=URL` for each of them the sales come from the vendors' simulators there and a till, else from files.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

from lab.demo.inputs import DemoInput, FileInput
from lab.demo.vendors.names import VENDORS
from lab.demo.vendors.source import VendorInput
from lab.feed.build import build_feed
from lab.feed.company import ZONE
from lab.feed.rows import SLICE, read_rows

_STEPS = 60


def _input(options: argparse.Namespace, data: Path, today: date) -> DemoInput:
    made, urls = build_feed(read_rows(data), today), dict(options.vendor)
    if not urls:
        return FileInput(made, options.folder)
    return VendorInput(made, options.folder, urls)


async def _prepare(options: argparse.Namespace) -> None:
    """Write `streams.toml` and the simulators' files, once: a second start goes on with the first one's dates."""
    folder: Path = options.folder
    marker = folder / "feed.json"
    if marker.exists():
        return
    today = datetime.now(ZONE).date()
    source = _input(options, options.data, today)
    password = options.password_file.read_text(encoding="utf-8").removesuffix("\n")
    source.prepare()
    text = source.configuration(
        bootstrap_servers=options.bootstrap_servers,
        service_layer_url=options.service_layer_url,
        password=f"file:{options.password_file}",
    )
    (folder / "streams.toml").write_text(text, encoding="utf-8")
    (folder / "simulator.json").write_text(json.dumps(source.simulator(password=password)), encoding="utf-8")
    marker.write_text(json.dumps({"today": today.isoformat(), "data": str(options.data)}), encoding="utf-8")


async def _drip(options: argparse.Namespace) -> None:
    """Let the sales come in, evenly over so many seconds, unless that has been done."""
    done = options.folder / "dripped"
    if done.exists():
        return
    marker = json.loads((options.folder / "feed.json").read_text(encoding="utf-8"))
    source = _input(options, Path(marker["data"]), date.fromisoformat(marker["today"]))
    await source.connect(options.door)
    for until in source.moments(_STEPS):
        await source.write(until)
        await asyncio.sleep(options.seconds / _STEPS)
    done.touch()


def _vendor(text: str) -> tuple[str, str]:
    name, _, url = text.partition("=")
    if name not in VENDORS or not url:
        raise argparse.ArgumentTypeError(f"{text}: write NAME=URL, a name of {', '.join(VENDORS)}")
    return name, url


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do it."""
    parser = argparse.ArgumentParser(prog="python -m lab.demo", description="A real shop's week.")
    commands = parser.add_subparsers(required=True)
    prepare = commands.add_parser("prepare", help="write streams.toml and what the simulators need")
    prepare.add_argument("--bootstrap-servers", required=True)
    prepare.add_argument("--service-layer-url", required=True)
    prepare.add_argument("--password-file", type=Path, required=True)
    prepare.add_argument("--data", type=Path, default=SLICE)
    prepare.set_defaults(run=_prepare)
    drip = commands.add_parser("drip", help="let the sales come in, a piece at a time")
    drip.add_argument("--seconds", type=float, default=90)
    drip.add_argument("--door", default="", help="where webhooks go to")
    drip.set_defaults(run=_drip)
    for each in (prepare, drip):
        each.add_argument("folder", type=Path)
        each.add_argument("--vendor", type=_vendor, action="append", default=[], metavar="NAME=URL")
    options = parser.parse_args(arguments)
    asyncio.run(options.run(options))


if __name__ == "__main__":
    main()
