"""Requests in service: locks, service time, commit, and batches of them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Final
from urllib.parse import parse_qsl

from lab.simulators.sap_b1.faults import FaultKind, InjectedFault
from lab.simulators.sap_b1.server import ServerState, Session
from lab.simulators.sap_b1.state.company import Company
from lab.simulators.sap_b1.state.locks import lock_cause
from lab.simulators.sap_b1.state.messages import LedgerAnswer, NodeDiedError, RefusedError, Request, refusal
from lab.simulators.sap_b1.wire.multipart import ChangeSet, Part, change_set_part, http_part, multipart, requests_of
from lab.simulators.sap_b1.wire.replies import B1Reply, HttpCall, answer_reply, common_headers, read_json

_DOCUMENT_SETS: Final = frozenset(
    {
        "Orders",
        "DeliveryNotes",
        "Invoices",
        "CreditNotes",
        "InventoryGenEntries",
        "InventoryGenExits",
        "StockTransfers",
    }
)


def _business_refusal(fault: InjectedFault | None) -> LedgerAnswer | None:
    if fault is None:
        return None
    match fault.kind:
        case FaultKind.DUPLICATE:
            return refusal(-2035, "This entry already exists in the following tables (ODBC -2035)")
        case FaultKind.LOCKED:
            return refusal(-2035, "Object locked by another user (ODBC -2035)")
        case FaultKind.CONFLICT:
            text = "Another user or another operation modified data; to continue, open the window again (ODBC -2039)"
            return refusal(-2039, text)
        case FaultKind.CLOSED_PERIOD:
            return refusal(-4013, "Posting period locked; specify an alternative date")
        case FaultKind.MACHINERY:
            return refusal(-1116, "Could not commit transaction: Error -1 detected during transaction")
        case FaultKind.ERROR:
            return refusal(fault.code, fault.text, fault.status)
        case _:
            return None


async def execute(
    server: ServerState,
    call: HttpCall,
    version: str,
    resource: str,
    parts: list[Part] | B1Reply,
    session: Session,
    fault: InjectedFault | None,
) -> B1Reply:
    if resource == "$batch":
        if isinstance(parts, B1Reply):
            return parts
        return await _run_batch(server, call, version, parts, session, fault)
    if call.method == "GET":
        answer = await read(server, session.company, resource, call.query, call.headers, fault)
        return answer_reply(answer, version, call)
    try:
        body = read_json(call.body) if call.body else {}
    except RefusedError as error:
        return answer_reply(error.answer(), version, call)
    request = Request(call.method, resource, body, headers=call.headers)
    answers = await change(server, session.company, (request,), fault)
    return answer_reply(answers[0], version, call)


async def read(
    server: ServerState,
    company: Company,
    path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
    fault: InjectedFault | None,
) -> LedgerAnswer:
    await server.sleep(server.settings.read_s * server.settings.speed)
    if fault and fault.kind is FaultKind.ERROR:
        return refusal(fault.code, fault.text, fault.status)
    return company.read(path, query, headers)


async def change(
    server: ServerState, company: Company, requests: Sequence[Request], fault: InjectedFault | None
) -> list[LedgerAnswer]:
    """One change set in service: take the locks, take the time, commit, let go."""
    settings = server.settings
    work = company.work(requests)
    holder = f"request:{next(server.holders)}"
    names = (*sorted(work.items), *sorted(work.keys))
    taken: list[str] = []
    try:
        for name in names:
            if not await _take_lock(server, company, name, holder):
                return [company.locked_error().answer()]
            taken.append(name)
        time_s = work.documents * settings.base_s + work.lines * settings.per_line_s + work.rows * settings.row_s
        await server.sleep(time_s * settings.speed)
        if fault and fault.kind is FaultKind.LATE_COMMIT and fault.holds:
            await server.sleep(fault.after_s)
        refused = _business_refusal(fault)
        if refused is not None and not (fault and fault.commit):
            return [refused]
        rules = company.rules
        if fault and fault.kind is FaultKind.APPROVAL:
            company.rules = replace(rules, approval=_DOCUMENT_SETS)
        try:
            answers = company.apply(requests, holder)
        finally:
            company.rules = rules
        return answers if refused is None else [refused]
    finally:
        for name in taken:
            company.unlock(name, holder)
        if taken:
            wake_waiting(server)


async def _take_lock(server: ServerState, company: Company, name: str, holder: str) -> bool:
    started: datetime | None = None
    cause = ""
    try:
        while not company.lock(name, holder):
            now = server.clock()
            if started is None:
                started = now
                cause = lock_cause(name, company.holder(name) or "")
                company.counters[f"lock_waits_{cause}"] += 1
            left = server.settings.lock_wait_s - (now - started).total_seconds()
            if left <= 0 or not await _wait_released(server, left):
                return False
        return True
    finally:
        if started is not None:
            company.counters[f"lock_wait_{cause}_s"] += (server.clock() - started).total_seconds()


async def _wait_released(server: ServerState, seconds: float) -> bool:
    """Wait until something is given back; False if the time is over first."""
    event = asyncio.create_task(server.released.wait())
    timer = asyncio.ensure_future(server.sleep(seconds))
    try:
        await asyncio.wait({event, timer}, return_when=asyncio.FIRST_COMPLETED)
        return event.done()
    finally:
        for task in (event, timer):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def wake_waiting(server: ServerState) -> None:
    server.released.set()
    server.released = asyncio.Event()


async def commit_late(
    server: ServerState,
    call: HttpCall,
    version: str,
    resource: str,
    parts: list[Part] | B1Reply,
    session: Session,
    fault: InjectedFault,
) -> None:
    if not fault.holds:
        await server.sleep(fault.after_s)
    with suppress(NodeDiedError):  # nobody waits for the answer
        await execute(server, call, version, resource, parts, session, fault)


async def _run_batch(
    server: ServerState,
    call: HttpCall,
    version: str,
    parts: Iterable[Part],
    session: Session,
    fault: InjectedFault | None,
) -> B1Reply:
    """Run the parts in order and stop at the first that fails; what came before it stays."""
    made: list[bytes] = []
    waiting = fault
    for part in parts:
        if isinstance(part, Request) and part.method == "GET":
            path, _, query = part.path.partition("?")
            options = dict(parse_qsl(query, keep_blank_values=True))
            answers = [await read(server, session.company, path, options, part.headers, waiting)]
        else:
            answers = await change(server, session.company, requests_of(part), waiting)
            if waiting and _business_refusal(waiting) is not None:
                waiting = None
        failed = answers[0].status >= 400
        if isinstance(part, ChangeSet) and not failed:
            made.append(change_set_part(part, answers, version, call, len(made)))
        else:
            content_id = part.content_id if isinstance(part, Request) else None
            made.append(http_part(answers[0], content_id, version, call))
        if failed:
            break
    if fault and fault.kind is FaultKind.REORDERED_BATCH:
        made.reverse()
    boundary = "batchresponse_7f1e"
    headers = [("Content-Type", f"multipart/mixed; boundary={boundary}"), *common_headers(version)]
    return B1Reply(202 if version == "v1" else 200, headers, multipart(made, boundary))
