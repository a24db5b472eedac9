"""The operator's own audit, as a process beside the trio."""

from collections.abc import Sequence

from tests.support.forking.process import outside_environment, run
from tests.support.trio import Trio

_TIMEOUT_S = 300


def audited(trio: Trio, batch_ids: Sequence[str], *, strict: bool) -> tuple[int, str]:
    """`smsctl audit` of these batches with the trio's settings: its exit status, and all that it said."""
    # Past any proxy that stands between the services and the broker.
    settings = {**trio.settings, "SMS_AMQP_URL": trio.vhost.amqp_url}
    if len(trio.providers) == 1:  # of several, it can ask one only
        settings["SMS_SIMULATOR_URL"] = trio.simulator.url
    arguments = ["audit", *batch_ids, *(["--strict"] if strict else [])]
    ended = run("tools.ctl", *arguments, environment=outside_environment(**settings), timeout_s=_TIMEOUT_S)
    return ended.returncode, ended.stdout + ended.stderr
