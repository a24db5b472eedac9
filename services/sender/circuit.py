"""The circuit: while the provider as a whole is down or throttling, a sender holds still: it burns no attempts, and
does not make a whole batch unclear."""

from dataclasses import dataclass

from shared.domain.outcome import CallResult, Verdict

_CALLS_IN_A_ROW, _NUMBERS_IN_A_ROW = 20, 500
_IN_A_ROW_FOR_DOUBT = 5
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSES_S = {
    Verdict.NOT_SENT: 30.0,
    Verdict.UNCLEAR: 120.0,  # such a probe costs a number
    Verdict.ACCOUNT: 300.0,  # until somebody has paid, or mended a key
}


@dataclass(slots=True)
class Circuit:
    """Opens after many calls in a row that no number came through, or fewer with many numbers in each; then one call at
    a time probes, after a pause, and one that passes closes it. A call that was begun before the pause was over says
    nothing of the time since.

    Certainly not sent or unclear, both count: a gateway that answers 502 to everything is down too. Times are of one
    monotonic clock, in seconds. A pause that the provider asks for is kept; without one, pauses double from one second
    on. One call that is refused for our account opens it: none will be taken before somebody mends that.
    """

    failures: int = 0
    numbers: int = 0
    pause_s: float = 0.0
    held_until_s: float = 0.0
    has_answered: bool = False

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, but for the probes."""
        return self.failures >= _CALLS_IN_A_ROW or self.numbers >= _NUMBERS_IN_A_ROW

    @property
    def is_doubtful(self) -> bool:
        """Whether nothing shows that the provider works: it has taken nothing yet, or some calls in a row failed.

        What is called meanwhile is what an outage may cost.
        """
        return not self.has_answered or self.failures >= _IN_A_ROW_FOR_DOUBT

    def wait_s(self, now_s: float) -> float:
        """How long until the next probe may be made; 0 while the circuit is closed."""
        return max(0.0, self.held_until_s - now_s) if self.is_open else 0.0

    def hold(self, until_s: float) -> bool:
        """Open, or stay open, until then: another sender was told so; whether the circuit opened by it."""
        was_open = self.is_open
        self.failures = max(self.failures, _CALLS_IN_A_ROW)
        self.held_until_s = max(self.held_until_s, until_s)
        return not was_open

    def release(self, now_s: float) -> None:
        """Probe now: the pause is over for all senders."""
        self.held_until_s = min(self.held_until_s, now_s)

    def record(self, result: CallResult, now_s: float, numbers: int = 1, begun_s: float | None = None) -> bool:
        """Take the result of a call with so many numbers into account, which began then (or just now); whether the
        circuit opened or closed by it."""
        was_open = self.is_open
        if result.verdict not in _LONGEST_PAUSES_S:
            self.has_answered = True
            if was_open and (now_s if begun_s is None else begun_s) < self.held_until_s:
                return False
            self.failures, self.numbers, self.pause_s = 0, 0, 0.0
            self.held_until_s = min(self.held_until_s, now_s)
            return was_open
        self.failures = max(self.failures + 1, _CALLS_IN_A_ROW if result.verdict is Verdict.ACCOUNT else 0)
        self.numbers += numbers
        # Calls that were under way when it opened fail too; only a probe, made after the pause, lengthens it.
        if self.is_open and now_s >= self.held_until_s:
            self.pause_s = min(max(2 * self.pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSES_S[result.verdict])
            self.held_until_s = now_s + max(self.pause_s, result.retry_after_s or 0)
        return self.is_open and not was_open
