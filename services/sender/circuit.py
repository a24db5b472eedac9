"""The circuit: while the provider as a whole is down or throttling, a sender holds still and burns no attempts."""

from dataclasses import dataclass

from shared.outcome import CallResult, Verdict

_CALLS_IN_A_ROW, _NUMBERS_IN_A_ROW = 20, 500
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
_LONGEST_ACCOUNT_PAUSE_S = 300.0


@dataclass(slots=True)
class Circuit:
    """Opens after many calls in a row that were certainly not sent, or fewer with many numbers in each; then one call
    at a time probes, after a pause.

    Times are of one monotonic clock, in seconds. A pause that the provider asks for is kept; without one, pauses double
    from one second to thirty. One call that is refused for our account opens it: none will be taken before somebody
    mends that, and pauses double up to five minutes.
    """

    failures: int = 0
    numbers: int = 0
    pause_s: float = 0.0
    held_until_s: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether calls are held back, but for the probes."""
        return self.failures >= _CALLS_IN_A_ROW or self.numbers >= _NUMBERS_IN_A_ROW

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

    def record(self, result: CallResult, now_s: float, numbers: int = 1) -> bool:
        """Take the result of a call with so many numbers into account; whether the circuit opened or closed by it."""
        was_open = self.is_open
        if result.verdict is Verdict.UNCLEAR:
            return False  # says nothing of the provider: neither that it is there nor that it refuses
        is_account = result.verdict is Verdict.ACCOUNT
        if result.verdict is not Verdict.NOT_SENT and not is_account:
            self.failures, self.numbers, self.pause_s = 0, 0, 0.0
            return was_open
        self.failures = max(self.failures + 1, _CALLS_IN_A_ROW if is_account else 0)
        self.numbers += numbers
        # Calls that were under way when it opened fail too; only a probe, made after the pause, lengthens it.
        if self.is_open and now_s >= self.held_until_s:
            self.pause_s = min(
                max(2 * self.pause_s, _FIRST_PAUSE_S), _LONGEST_ACCOUNT_PAUSE_S if is_account else _LONGEST_PAUSE_S
            )
            self.held_until_s = now_s + max(self.pause_s, result.retry_after_s or 0)
        return self.is_open and not was_open
