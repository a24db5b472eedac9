"""The operator's own audit, as a process beside the trio."""

import os
import subprocess
import sys
from collections.abc import Sequence

from tests.support.trio import Trio

_TIMEOUT_S = 300


def audited(trio: Trio, batch_ids: Sequence[str], *, strict: bool) -> tuple[int, str]:
    """`smsctl audit` of these batches with the trio's settings: its exit status, and all that it said."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMS_")}
    # Past any proxy that stands between the services and the broker.
    settings = {**trio.settings, "SMS_AMQP_URL": trio.vhost.amqp_url, "SMS_SIMULATOR_URL": trio.simulator.url}
    ended = subprocess.run(
        [sys.executable, "-m", "tools.ctl", "audit", *batch_ids, *(["--strict"] if strict else [])],
        env={**inherited, **settings},
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr
