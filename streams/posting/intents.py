"""Writes to a B1 whose change sets are not atomic: an intent, then the document (tiers guard and lookup, D2).

1. The claim is written with the state `intent`: alone in tier lookup, with the document in tier guard.
2. The document is sent, if it has not gone with the claim.
3. Where nobody knows what became of it (its answer was lost, or the intent is another writer's, who may have died),
   nothing is sent for a quiet period: B1 is not at it any more then. Afterwards the document is looked up by its key
   and adopted; where there is none it is sent again.
4. A refused document takes its intent back, so that another try need not wait.

In tier guard B1 itself refuses a second document, and one whose claim is withdrawn. In tier lookup there is one
document as long as no request is applied later than a quiet period after it was sent and no worker is frozen for that
long between look-up and request.

A cancellation has no document to be looked up: its order is compared with what its requests make of it.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from connectors.sap_b1.claims import Claim
from connectors.sap_b1.error_codes import OutcomeClass
from connectors.sap_b1.service_layer import B1Request
from connectors.sap_b1.sink import ENTITIES, B1Sink, Found, Written, is_open
from streams.flow_control.lanes import HeldLanes
from streams.ports import Ports
from streams.posting.attempts import ABANDONED_REQUEST_S, Attempts, Patience
from streams.posting.own_failures import WriteInProgress

#: Reads from B1; waits while it is away.
Ask = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]

#: After which B1 is not at a request any more. The guard refuses what comes later still; a look-up has nothing behind
#: it, so it waits for the client's 120 s, a web server's 120 s, and as much again as a clock or a queue may be off.
QUIET_S: Mapping[str, float] = {"guard": ABANDONED_REQUEST_S, "lookup": 300.0}
#: Refusals that leave the intent: it is not ours, or nobody knows what it stands for.
_LEAVES_INTENT = frozenset({"key_conflict", "id_reuse"})


class IntentWriter:
    """Writes one claim and what it claims. Keeps no state between writes: all that counts is in B1."""

    def __init__(self, tier: str, sink: B1Sink, attempts: Attempts, ask: Ask, ports: Ports) -> None:
        self._sink, self._attempts, self._ask, self._crash_point = sink, attempts, ask, ports.crash_point
        self._random, self._clock = ports.random, ports.clock
        self._together, self._quiet_s = tier == "guard", QUIET_S[tier]

    async def write(
        self,
        progress: WriteInProgress,
        claim: Claim,
        requests: Sequence[B1Request],
        patience: Patience,
    ) -> Written:
        """Send until the outcome is known; as `Attempts.until_known`.

        Args:
            progress: The caller's.
            claim: What `requests` are done for.
            requests: One document, or what changes an order; empty: only the claim is written.
            patience: When it is given up.
        """
        if not requests:
            return await self._write_claim(progress, claim, patience)
        plan = "" if claim.kind in ENTITIES else _digest(requests)
        writer = f"{int(self._clock.now().timestamp() * 1e6):x}{self._random.getrandbits(32):08x}"
        intent = replace(claim, state="intent", plan=plan, writer=writer)
        first = requests if self._together else ()
        written = await self._attempts.until_known(
            progress,
            partial(self._sink.write, [intent], first),
            replace(patience, document=self._together),
            partial(self._look_up, intent, plan, requests, patience) if self._together else None,
        )
        standing, ours = written.claim or intent, {intent.writer}
        if is_open(written) and standing.writer != intent.writer:
            ours.add(standing.writer)
            written = await self._look_up(intent, standing.plan, requests, patience) or await self._send(
                progress, intent, requests, patience
            )
        elif is_open(written) or (written.outcome is OutcomeClass.APPLIED and not self._together):
            # Where it went with its claim and was not answered, it has been looked up since
            await self._crash_point("t1")
            written = await self._send(progress, intent, requests, patience)
        return await self._settle(progress, intent, requests, written, ours)

    async def _send(
        self, progress: WriteInProgress, intent: Claim, requests: Sequence[B1Request], patience: Patience
    ) -> Written:
        return await self._attempts.until_known(
            progress,
            partial(self._sink.write_claimed, intent, requests),
            patience,
            partial(self._look_up, intent, intent.plan, requests, patience),
        )

    async def _look_up(
        self, intent: Claim, plan: str, requests: Sequence[B1Request], patience: Patience
    ) -> Written | None:
        """What has become of an earlier request, when B1 is not at it any more; None: nothing, and it may be sent.

        `plan` is the standing intent's.
        """
        await self._keep_quiet(patience.lanes)
        found: Written | None = await self._ask(partial(self._sink.document_of, intent))
        if found is not None or intent.kind in ENTITIES:
            return found
        if plan == intent.plan:
            done = await self._ask(partial(self._sink.is_cancelled, requests))
            return Written(OutcomeClass.EXISTS, claim=intent) if done else None
        if requests[0].body is None:
            return None  # cancelling or closing the whole order: B1 shows that it is not done
        return _in_doubt(intent, "the answer to it was lost, and the order is not as it was")

    async def _settle(
        self,
        progress: WriteInProgress,
        intent: Claim,
        requests: Sequence[B1Request],
        written: Written,
        ours: Collection[str],
    ) -> Written:
        """Say in the claim what has become of it, where B1 does not show it otherwise."""
        match written.outcome:
            case OutcomeClass.APPLIED | OutcomeClass.EXISTS if intent.kind not in ENTITIES:
                if written.claim is None or written.claim.state == "intent":
                    await self._mark(progress, intent.marked("posted"))
            case OutcomeClass.REJECTED | OutcomeClass.LOCKED if written.reason not in _LEAVES_INTENT:
                if len(requests) > 1 and await self._ask(partial(self._sink.is_cancelled, requests[:1])):
                    error = f"B1 has done the first part of it and refuses the rest: {written.error}"
                    return _in_doubt(intent, error)
                await self._take_back(progress, intent, ours)
        return written

    async def _take_back(self, progress: WriteInProgress, intent: Claim, ours: Collection[str]) -> None:
        """Remove an intent that came to nothing; never that of a writer of whom we know nothing, nor of a document."""
        found: Found = (await self._ask(partial(self._sink.look_up, [intent.k])))[intent.k]
        there, has_document = found.claim, found.ref is not None and not found.draft
        if there is None or has_document or there.writer not in ours:
            return
        if (there.code, there.state) == (intent.code, "intent"):
            await self._mark(progress, intent.removed())

    async def _write_claim(self, progress: WriteInProgress, claim: Claim, patience: Patience) -> Written:
        """Write only a claim; where an intent stands that came to nothing, it becomes this."""
        written = await self._attempts.until_known(progress, partial(self._sink.write, [claim], ()), patience)
        if not is_open(written) or written.claim is None:
            return written
        await self._keep_quiet(patience.lanes)
        found: Written | None = await self._ask(partial(self._sink.document_of, claim))
        return found or await self._mark(progress, written.claim.marked(claim.state))

    async def _mark(self, progress: WriteInProgress, request: B1Request) -> Written:
        """Change a claim that stands; one that comes late must not meet the intent of the next try."""
        return await self._attempts.until_known(
            progress,
            partial(self._sink.write, (), [request]),
            Patience(lock_s=0, own_s=ABANDONED_REQUEST_S),
            partial(self._keep_quiet, None),
        )

    async def _keep_quiet(self, lanes: HeldLanes | None) -> None:
        """Send nothing of it for the quiet period; the lanes are kept for as long as B1 is likely to be at it."""
        await asyncio.sleep(ABANDONED_REQUEST_S)
        if self._quiet_s > ABANDONED_REQUEST_S:
            if lanes is not None:
                lanes.let_go()
            await asyncio.sleep(self._quiet_s - ABANDONED_REQUEST_S)
            if lanes is not None:
                await lanes.take()


def _digest(requests: Sequence[B1Request]) -> str:
    words = repr([(request.method, request.path, request.body) for request in requests])
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _in_doubt(intent: Claim, why: str) -> Written:
    error = f"{why}; compare the order in B1 with the cancellation, do by hand what is missing, then discard it"
    return Written(OutcomeClass.REJECTED, reason="key_conflict", error=error[:400], claim=intent)
