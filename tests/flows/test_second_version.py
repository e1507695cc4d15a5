"""The next version of an event, rehearsed: the steps of docs/extending.md on a copy, our own tests there, and a flow.

A new field for `order_placed`: a v2 schema beside the v1, a new id, the field in the dataclass and in the file's
record. The copy must pass the tests of the schemas and of the codec, and bring records of both versions from file to
B1.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from schemas.schema import content_fingerprint
from tests.flows.world import World, order
from tests.streams.fakes import ROOT

STEPS = Path(__file__).parent / "second_version"


def add_second_version(copy: Path) -> None:
    """What docs/extending.md says for a field of an event."""
    schema = (STEPS / "order_placed.v2.avsc").read_text()
    (copy / "schemas/avro/order_placed.v2.avsc").write_text(schema)
    line = f'"order_placed.v2" = {{ id = 14, fingerprint = "{content_fingerprint(schema)}" }}\n'
    append(copy / "schemas/ids.toml", "", line)
    append(
        copy / "schemas/events.py",
        "    payment: Payment | None = None\n    note: str | None = None\n",
        "    gift_message: str | None = None\n",
    )
    append(
        copy / "connectors/ims/records.py",
        "    payment: PaymentRecord | None = None\n    note: OptionalText = None\n",
        "    gift_message: OptionalText = None\n",
    )
    example = copy / "schemas/examples/order_placed/v1/guest-minimal.json"
    second = copy / "schemas/examples/order_placed/v2/with-gift-message.json"
    second.parent.mkdir()
    second.write_text(json.dumps(json.loads(example.read_text()) | {"gift_message": "For Ada"}))


def append(path: Path, after: str, text: str) -> None:
    """Put text behind a place that exists once; by default at the end."""
    content = path.read_text()
    after = after or content
    assert content.count(after) == 1, f"{path.name}: {after!r}"
    path.write_text(content.replace(after, after + text))


def run_tests(copy: Path, *tests: str, **environ: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), **environ},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-2000:]


async def test_a_second_version_of_an_event_goes_from_file_to_b1_with_records_of_the_first_in_the_topic(
    world: World, tmp_path: Path
) -> None:
    await world.says("shop", order("1001"))
    topic, left = world.config.topic("order-placed"), None
    for partition in range(world.config.kafka.partitions):
        async for records in world.log.read(topic, partition, 0):
            (left,) = records
    assert left is not None
    assert left.value is not None
    assert int.from_bytes(left.value[1:5], "big") == 1

    copy = tmp_path / "copy"
    for folder in ("schemas", "connectors", "streams", "lab", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.xz"))
    for file in ("pyproject.toml", "streams.example.toml"):
        shutil.copy(ROOT / file, copy / file)
    add_second_version(copy)
    shutil.copy(STEPS / "after_upgrade.py", copy / "tests/flows/test_after_upgrade.py")

    run_tests(copy, "tests/schemas/test_registry.py", "tests/schemas/test_codec.py")
    record = {
        "partition": left.partition,
        "key": (left.key or b"").hex(),
        "value": left.value.hex(),
        "headers": [(name, value.hex()) for name, value in left.headers],
    }
    run_tests(copy, "tests/flows/test_after_upgrade.py", RECORD_OF_V1=json.dumps(record))
