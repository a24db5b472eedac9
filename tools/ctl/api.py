"""The HTTP client of the api: the contract's requests, one error for no answer and one for an answer that refuses."""

import ipaddress
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar
from urllib.parse import quote, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, ValidationError

from tools.ctl.batches.snapshots import Accepted, MessageRow, Messages, ProviderList, ProviderState, Snapshot
from tools.ctl.batches.sse import event_data
from tools.ctl.errors import CtlError, Flaw, Refused, Unreachable

RETRY_PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_CONNECT_TIMEOUT_S, _ANSWER_TIMEOUT_S = 5, 60
_SILENCE_TIMEOUT_S = 20
"""The events endpoint pings more often than that; a proxy that holds the stream back is found out."""
_LONGEST_PAUSE_S = 60.0

Answer = TypeVar("Answer", bound=BaseModel)


class _FlawDocument(BaseModel):
    pointer: str = ""
    detail: str = ""


class _ProblemDocument(BaseModel):
    model_config = ConfigDict(extra="ignore")

    title: str = ""
    detail: str = ""
    errors: list[_FlawDocument] = []


class _BearerAuth(requests.auth.AuthBase):
    """As an auth object and no header, which requests replaces by what it finds in ~/.netrc."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Api:
    """One api. Every method raises Unreachable where there is no answer, and Refused for an answer that is an error."""

    def __init__(self, url: str, key: str | None, retry_pauses_s: Sequence[float] = RETRY_PAUSES_S) -> None:
        self._url, self._retry_pauses_s = url, retry_pauses_s
        self._session = requests.Session()
        self._session.auth = _BearerAuth(key)
        self._session.trust_env = not is_loopback(url)  # no proxy leads to this machine

    def post_batch(self, body: bytes, idempotency_key: str, notice: Callable[[str], None]) -> Accepted:
        """Post one batch, again under the same key while the api cannot take it; `notice` hears of every pause."""
        return self._post("/v1/batches", body, idempotency_key, notice)

    def test_provider(self, name: str, body: bytes, idempotency_key: str, notice: Callable[[str], None]) -> Accepted:
        """Have one text sent by this provider; again under the same key, as `post_batch`."""
        return self._post(f"/v1/providers/{quote(name, safe='')}/test", body, idempotency_key, notice)

    def resend(self, batch_id: str, body: bytes, idempotency_key: str, notice: Callable[[str], None]) -> Accepted:
        """Have numbers of a batch sent again in a new one; again under the same key, as `post_batch`."""
        return self._post(f"{_place(batch_id)}/resend", body, idempotency_key, notice)

    def batch(self, batch_id: str) -> Snapshot:
        """The batch as it stands."""
        return _read(Snapshot, self._request("GET", _place(batch_id)))

    def control(self, batch_id: str, command: str) -> Snapshot:
        """Pause, resume or cancel a batch; the batch after it."""
        return _read(Snapshot, self._request("POST", f"{_place(batch_id)}/{command}"))

    def messages(self, batch_id: str, state: str, limit: int) -> list[MessageRow]:
        """The first numbers of a batch in a state."""
        path = f"{_place(batch_id)}/messages?state={state}&limit={limit}"
        return _read(Messages, self._request("GET", path)).messages

    def providers(self) -> list[ProviderState]:
        """How the providers stand."""
        return _read(ProviderList, self._request("GET", "/v1/providers")).providers

    def events(self, batch_id: str) -> Iterator[Snapshot]:
        """The batch whenever it changes, until the api ends the stream."""
        response = self._request("GET", f"{_place(batch_id)}/events", stream=True, timeout_s=_SILENCE_TIMEOUT_S)
        response.encoding = "utf-8"
        with closing(response):
            try:
                for data in event_data(response.iter_lines(decode_unicode=True)):
                    if (snapshot := _snapshot(data)) is not None:
                        yield snapshot
            except requests.RequestException as error:
                raise self._unreachable(error) from None

    def _post(self, path: str, body: bytes, idempotency_key: str, notice: Callable[[str], None]) -> Accepted:
        for pause_s in self._retry_pauses_s:
            try:
                return self._post_once(path, body, idempotency_key)
            except (Unreachable, Refused) as error:
                wait_s = _wait_s(error, pause_s)
                notice(f"{error}; trying again in {wait_s:g} s")
                time.sleep(wait_s)
        return self._post_once(path, body, idempotency_key)

    def _post_once(self, path: str, body: bytes, idempotency_key: str) -> Accepted:
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key}
        return _read(Accepted, self._request("POST", path, body=body, headers=headers))

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        stream: bool = False,
        timeout_s: float = _ANSWER_TIMEOUT_S,
    ) -> requests.Response:
        try:
            response = self._session.request(
                method,
                self._url + path,
                data=body,
                headers=headers,
                stream=stream,
                timeout=(_CONNECT_TIMEOUT_S, timeout_s),
                allow_redirects=False,  # a redirected POST becomes a GET
            )
            if response.status_code >= 300:
                raise _refused(response)
        except requests.RequestException as error:
            raise self._unreachable(error) from None
        return response

    def _unreachable(self, error: requests.RequestException) -> Unreachable:
        if isinstance(error, requests.exceptions.SSLError):
            return Unreachable(f"cannot reach the API at {self._url}: its certificate is not trusted")
        if isinstance(error, requests.ReadTimeout):
            return Unreachable(f"no answer from the API at {self._url}")
        return Unreachable(f"cannot reach the API at {self._url}: is it running? (make run)")


def _wait_s(error: Unreachable | Refused, pause_s: float) -> float:
    if isinstance(error, Unreachable):
        return pause_s
    if not error.may_pass:
        raise error
    return max(pause_s, min(error.retry_after_s or 0, _LONGEST_PAUSE_S))


def _refused(response: requests.Response) -> Refused:
    try:
        problem = _ProblemDocument.model_validate_json(response.content)
    except ValidationError:
        problem = _ProblemDocument()
    said = problem.detail or problem.title or response.reason or "no reason given"
    hint = " (set SMS_API_KEY)" if response.status_code == 401 else ""
    pause = response.headers.get("Retry-After", "")
    return Refused(
        f"the API answered {response.status_code}: {said}{hint}",
        response.status_code,
        [Flaw(flaw.pointer, flaw.detail) for flaw in problem.errors],
        float(pause) if pause.isdigit() else None,
    )


def _read(model: type[Answer], response: requests.Response) -> Answer:
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise CtlError(f"{response.url} answered something else than this API would: check SMS_API_URL") from None


def _snapshot(data: str) -> Snapshot | None:
    """A snapshot in an event, or None where an event says something else."""
    try:
        return Snapshot.model_validate_json(data)
    except ValidationError:
        return None


def _place(batch_id: str) -> str:
    return f"/v1/batches/{quote(batch_id, safe='')}"


def is_loopback(url: str) -> bool:
    """Whether the URL is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
