"""The door to Stripe's API: one request after the other, each with its idempotency key, and what came of it.

Knows how Stripe is asked and what its answers mean; must not know invoices, the ledger or the clock. A request that may
have been executed without our knowing is `unknown`, not refused: asking again with its key is harmless for a day.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from metering import __version__
from metering.core.errors import CredentialsError, MeteringError
from metering.core.network import AUTHORITY_IS_UNKNOWN, DIRECT, Network
from metering.core.secrets import Secret

ATTEMPTS = 4
TIMEOUT_SECONDS = 30
LONGEST_WAIT_SECONDS = 30
PAGE = 100
Pairs = Sequence[tuple[str, str]]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`sent` with Stripe's id, `refused` with the reason, or `unknown` with what was seen instead of an answer."""

    state: str
    remote_id: str | None = None
    error: str | None = None


class Stripe:
    """An account of Stripe's; safe to use from several threads. `sleep` and `transport` are given by tests."""

    def __init__(
        self,
        base_url: str,
        secret: Secret,
        *,
        network: Network = DIRECT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[int], None] = time.sleep,
    ) -> None:
        self._sleep = sleep
        self._client = httpx.Client(
            base_url=base_url,
            headers={"authorization": f"Bearer {secret.reveal()}", "user-agent": f"metering/{__version__}"},
            timeout=TIMEOUT_SECONDS,
            follow_redirects=False,
            trust_env=False,
            verify=network.tls(),
            proxy=network.proxy_for(httpx.URL(base_url).host),
            transport=transport,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def create(self, path: str, form: Pairs, key: str) -> Answer:
        """POSTs a form under its idempotency key, again where that may help. Raises CredentialsError."""
        answer = Answer(state="unknown")
        for attempt in range(ATTEMPTS):
            try:
                response = self._client.post(path, data=_form(form), headers={"idempotency-key": key})
            except httpx.HTTPError as error:
                answer = Answer(state="unknown", error=_no_answer(error))
                wait = 2**attempt
            else:
                answer = _judged(response)
                wait = _wait(response, attempt)
            if answer.state != "unknown":
                break
            if attempt + 1 < ATTEMPTS:
                self._sleep(wait)
        return answer

    def items_since(self, customer: str, created: int) -> dict[str, str]:
        """Invoice items of a customer made since a moment (unix seconds): our key in their metadata -> Stripe's id.

        Raises CredentialsError, and MeteringError where Stripe does not answer.
        """
        found: dict[str, str] = {}
        query: dict[str, str] = {"customer": customer, "limit": str(PAGE), "created[gte]": str(created)}
        while True:
            page = self._page("/v1/invoiceitems", query)
            for item in page["data"]:
                if key := item.get("metadata", {}).get("metering_key"):
                    found[key] = item["id"]
            if not page.get("has_more") or not page["data"]:
                return found
            query["starting_after"] = page["data"][-1]["id"]

    def _page(self, path: str, query: dict[str, str]) -> Json:
        try:
            response = self._client.get(path, params=query)
            _refuse_credentials(response)
            response.raise_for_status()
            found: Json = response.json()
        except (httpx.HTTPError, ValueError) as error:
            hint = "run the command again; what was sent is not sent twice"
            raise MeteringError(f"Stripe could not be asked: {type(error).__name__}", hint=hint) from None
        return found


def _no_answer(error: httpx.HTTPError) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return f"no answer: {AUTHORITY_IS_UNKNOWN}"
    return f"no answer: {type(error).__name__}"


def _form(pairs: Pairs) -> dict[str, str]:
    assert len({name for name, _ in pairs}) == len(pairs), "a name stands once in a form"
    return dict(pairs)


def _judged(response: httpx.Response) -> Answer:
    """2xx is done; 409, 429 and 5xx may be asked again; every other answer is a refusal, which changed nothing."""
    _refuse_credentials(response)
    status, body = response.status_code, _object(response)
    if 200 <= status < 300:
        return Answer(state="sent", remote_id=str(body.get("id") or body.get("identifier") or ""))
    if status in {409, 429} or status >= 500:
        return Answer(state="unknown", error=f"Stripe answered {status}")
    error = body.get("error")
    said = error.get("message") if isinstance(error, dict) else None
    return Answer(state="refused", error=f"Stripe answered {status}: {said or 'without a reason'}"[:300])


def _object(response: httpx.Response) -> Json:
    """The answer's JSON object; empty where a proxy on the way answered something else."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refuse_credentials(response: httpx.Response) -> None:
    if response.status_code in {401, 403}:
        hint = "stripe.secret_env or stripe.secret_file must hold a key that may write invoice items and meter events"
        raise CredentialsError(f"Stripe refused the key ({response.status_code})", hint=hint)


def _wait(response: httpx.Response, attempt: int) -> int:
    asked = response.headers.get("retry-after", "")
    return min(int(asked), LONGEST_WAIT_SECONDS) if asked.isdigit() else 2**attempt
