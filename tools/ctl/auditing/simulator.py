"""The simulator's record of calls, asked for over HTTP."""

import requests

from tools.ctl.auditing.provider import Calls
from tools.ctl.errors import CtlError

_TIMEOUT_S = 60


class Simulator:
    """One simulator; CtlError where it does not answer as one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False  # it is on this machine, or in its network

    def calls(self, batch_id: str) -> Calls:
        """How often each row of the batch was called."""
        return self._counts("counts", batch_id)

    def accepted(self, batch_id: str) -> Calls:
        """How often each row of the batch was accepted, whatever was answered."""
        return self._counts("accepted", batch_id)

    def _counts(self, what: str, batch_id: str) -> Calls:
        try:
            answer = self._session.get(f"{self._url}/calls/{what}", params={"batch": batch_id}, timeout=_TIMEOUT_S)
            answer.raise_for_status()
            counts = answer.json()["counts"].items()
            return {int(reference.rpartition(":")[2]): int(number) for reference, number in counts}
        except (requests.RequestException, ValueError, KeyError, AttributeError, TypeError):
            raise CtlError(f"no simulator answers at {self._url} (--simulator, SMS_SIMULATOR_URL)") from None
