"""The short form: a few seconds of `python -m tests.fuzz`, every bit of what is signed, and bodies made to be slow."""

import asyncio
import time

import pytest

from connectors.registry import KINDS, Kind
from connectors.webhooks.body import parse_json
from connectors.webhooks.hook import UnreadablePushError
from tests.fuzz import door, parsers, wire
from tests.fuzz.harness import Outlet, reference_s, run
from tests.fuzz.mutation import Example, Mutator

INPUTS = 3000
SPEECHES = 25
SEED = 20261121


def test_the_door_and_every_parser_refuse_what_nobody_would_send_and_do_not_fall_over() -> None:
    outlet = Outlet()
    report = asyncio.run(run([*parsers.targets(outlet), (door.Requests("door", outlet), 4.0)], outlet, INPUTS, SEED))
    assert not report.findings, [(each.what, each.example, each.shown) for each in report.findings.values()]
    assert set(report.by_target) == {*KINDS, "door"}, "a connector without a target here"
    # Real shapes stay real often enough that not only the first check is met.
    assert outlet.sink.events > INPUTS / 10
    assert outlet.sink.letters > INPUTS / 20


@pytest.mark.parametrize("signer", door.signers(), ids=lambda each: each.hook.connector)
async def test_every_single_bit_change_of_what_is_signed_is_refused(signer: door.Signer) -> None:
    outlet = Outlet()
    target = door.Requests("door", outlet)
    requests = door.every_bit(signer)
    for request in requests:
        await target.feed(request)
    assert len(requests) > 8 * sum(len(value) for name, value in signer.sign(b"") if name in signer.signed)


def test_every_hook_of_the_registry_has_a_signer() -> None:
    hooked = {name for name, kind in KINDS.items() if kind.hook is not Kind.__dataclass_fields__["hook"].default}
    assert hooked <= {each.hook.connector for each in door.signers()}


async def test_a_real_server_ends_every_conversation_and_goes_on() -> None:
    outcome = await wire.speak(SPEECHES, SEED, door.signers())
    assert not outcome.findings
    assert outcome.statuses.get(200)


@pytest.mark.parametrize(
    "unit", [b"1,", b"{},", b'{"a":1},', b'"a",', b"[],", b'"k":1,', b"[", b"\\u0041", b"0.1,", b"1e5,"]
)
def test_no_body_of_a_mebibyte_takes_twice_as_long_as_plain_json_of_that_size(unit: bytes) -> None:
    body = (b"[" + unit * (1_048_576 // len(unit)))[:1_048_575] + b"]"
    spent = []
    for _ in range(3):
        began = time.thread_time()
        with pytest.raises(UnreadablePushError):
            parse_json(body)
        spent.append(time.thread_time() - began)
    assert min(spent) < 2 * reference_s()


def test_an_input_comes_from_its_seed_alone_and_values_are_found_where_they_are() -> None:
    text = b' { "a" : [1, "x", {"b": null}] , "c": true } '
    example = Example(text)
    assert [text[each.start : each.end] for each in example.values][2:4] == [b"1", b'"x"']
    assert {each.key for each in example.values} == {None, b'"a"', b'"b"', b'"c"'}
    from random import Random

    mutator = Mutator([text])
    assert [mutator.mutate(Random(f"1/{n}")) for n in range(50)] == [
        mutator.mutate(Random(f"1/{n}")) for n in range(50)
    ]
