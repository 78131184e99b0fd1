"""A webhook receiver for the demo, written as a user would write it, with a public library.

Knows the Standard Webhooks headers and keeps every event once by its id. Must not know how we sign, or what the events
mean.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

LARGEST_BODY_BYTES = 64 * 1024


@dataclass(slots=True, kw_only=True)
class Received:
    """Received deliveries: the numbers of verified (repeats included) and refused ones, and each event once."""

    verified: int = 0
    refused: int = 0
    repeated: int = 0
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By webhook-id, in the order of arrival."""

    def counts(self) -> dict[str, int]:
        """Give the figures that the demo prints."""
        return {
            "verified": self.verified,
            "refused": self.refused,
            "repeated": self.repeated,
            "events": len(self.events),
        }


def app(secret: str, received: Received) -> Starlette:
    """Build the application: `POST /` takes a delivery, `GET /` shows the counts. `secret` is `whsec_…`."""
    verifier = Webhook(secret)

    async def take(request: Request) -> Response:
        content = await _body(request)
        if content is None:
            received.refused += 1
            return JSONResponse({"error": "too large"}, status_code=413)
        try:
            verifier.verify(content, dict(request.headers), json_parse=False)
            event = json.loads(content)
        except (WebhookVerificationError, ValueError):
            received.refused += 1
            return JSONResponse({"error": "the signature does not fit"}, status_code=401)
        received.verified += 1
        event_id = request.headers["webhook-id"]
        if event_id in received.events:
            received.repeated += 1
        received.events.setdefault(event_id, event)
        return Response(status_code=204)

    async def show(_request: Request) -> Response:
        return JSONResponse(received.counts())

    return Starlette(routes=[Route("/", take, methods=["POST"]), Route("/", show, methods=["GET"])])


async def _body(request: Request) -> bytes | None:
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > LARGEST_BODY_BYTES:
            return None
    return content
