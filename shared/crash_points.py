"""Named points at which the fault tests have a process die as by `kill -9`.

`SMS_CRASH_AT=sender.recorded` ends the process the first time it gets there, `sender.recorded:250` the 250th time,
`sender.received@<message id>` whenever it gets there with that message. Unset, `crash_at` is an empty function.
The points, in the order of a batch's way: api.publishing, api.confirmed, dispatcher.received, dispatcher.written (a
chunk of rows), dispatcher.complete (the last row, before the ack), dispatcher.confirmed (a chunk published, not yet
marked), sender.received, sender.claimed, sender.answered, sender.recorded, settle.confirmed (the follow-up, before the
ack). Of a resend: api.resend_marked (all is written, before the commit), api.resend_committed (before the answer).
Where dead letters are handled: letters.confirmed (a chunk published again), letters.noted (before the acks). In
`smsctl doctor --fix`, for each of the two ways: doctor.bound, doctor.moved (each message that is confirmed, before its
ack), doctor.emptied, doctor.deleted.
"""

import os
import signal

_armed_at, _, _subject = os.environ.get("SMS_CRASH_AT", "").partition("@")
_point, _, _passes = _armed_at.partition(":")
_left = int(_passes or 1)


def _pass_by(point: str, subject: str | None = None) -> None:
    """Nothing."""


def _maybe_crash(point: str, subject: str | None = None) -> None:
    global _left
    if point != _point or (_subject and subject != _subject):
        return
    _left -= 1
    if not _left:
        os.kill(os.getpid(), signal.SIGKILL)


crash_at = _maybe_crash if _point else _pass_by
