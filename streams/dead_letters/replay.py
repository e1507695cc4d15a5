"""Runs a plan: its dead letters posted again, in order within an order and an item, each at most once."""

from collections.abc import Callable, Mapping

from connectors.base.clock import Clock
from schemas.letters import OPEN_STATES
from schemas.records import DeadLetterState
from streams.dead_letters.plan import ReplayPlan
from streams.dead_letters.run import Desk, LetterRun, Pace, RunTally

#: After so many replays in a row that ended as they began a dead letter is left alone.
MAX_ALIKE = 3


class Replay:
    """A plan beside how its dead letters stand now.

    Attributes:
        letters: Those that are to be replayed.
        already_there: Ids that have ended since.
        discarded: Ids that a person has discarded: they are not replayed and count nothing.
        in_circles: Those that failed the same way again and again, with words.
    """

    def __init__(self, plan: ReplayPlan, standing: Mapping[str, DeadLetterState], *, force: bool = False) -> None:
        """`force`: those too that failed the same way again and again."""
        self.letters: list[DeadLetterState] = []
        self.already_there: list[str] = []
        self.discarded: list[str] = []
        self.in_circles: dict[str, str] = {}
        self._would = {letter.id: letter.would for letter in plan.letters}
        for planned in plan.letters:
            letter = standing.get(planned.id)
            if letter is None or (letter.state not in OPEN_STATES and letter.state != "discarded"):
                self.already_there.append(planned.id)
            elif letter.state == "discarded":
                self.discarded.append(planned.id)
            elif (replays := max(letter.replays, letter.republished)) >= MAX_ALIKE and not force:
                why = f"it was replayed {replays} times and failed the same way each time ({letter.reason})"
                self.in_circles[planned.id] = f"{why}: {letter.error or 'find out why'}; or --force"
            else:
                self.letters.append(letter)

    def expected(self) -> dict[str, int]:
        """What a replay would come to, as far as the plan knows."""
        would = [self._would[letter.id] for letter in self.letters]
        counts = {
            "posted": would.count("post"),
            "already_there": would.count("already_there") + len(self.already_there),
            "failed": would.count("fail") + len(self.in_circles),
            "waiting": 0,
        }
        return {"replayed": sum(counts.values()), **counts}

    async def run(
        self, desk: Desk, clock: Clock, pace: Pace, on_progress: Callable[[RunTally], None] = lambda _: None
    ) -> RunTally:
        """Replay them and count what has come of the whole plan.

        Raises:
            LogError: The broker does not answer; what was asked is carried out all the same.
        """
        tally = await LetterRun(desk, clock, pace, on_progress).run(self.letters)
        for id_, result in tally.results.items():
            if result == "posted" and self._would[id_] == "already_there":
                tally.results[id_] = "already_there"  # B1 had it, and it was taken over
        tally.results.update(dict.fromkeys(self.already_there, "already_there"))
        tally.results.update(dict.fromkeys(self.in_circles, "failed"))
        tally.why.update(self.in_circles)
        return tally
