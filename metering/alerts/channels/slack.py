"""Messages for Slack's incoming webhooks: blocks of plain text. Pure."""

from pydantic_core import PydanticCustomError

from metering.alerts.channels.kind import Kind, endpoint, json_bytes
from metering.alerts.targets import Endpoint
from metering.alerts.wording import Event, worded
from metering.config import Channel, ChannelKeys
from metering.core.addresses import url_parts
from metering.core.errors import CredentialsError

LONGEST_HEADER = 150
LONGEST_TEXT = 3000
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def message(event: Event) -> bytes:
    """A message of plain-text blocks, in which names cannot become mentions, links or emoji."""
    words = worded(event)
    blocks = {
        # Shown by notifications and read by screen readers instead of the blocks.
        "text": _escaped(words.title, LONGEST_TEXT),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "header", "text": _plain_text(words.title, LONGEST_HEADER)},
            {"type": "section", "text": _plain_text(words.lines, LONGEST_TEXT)},
        ],
    }
    return json_bytes(blocks)


def _plain_text(text: str, most: int) -> dict[str, object]:
    return {"type": "plain_text", "text": _escaped(text, most), "emoji": False}


def _escaped(text: str, most: int) -> str:
    """The text escaped for Slack, cut to at most this length, but never inside an entity."""
    whole = "".join(_HTML.get(character, character) for character in text)
    if len(whole) <= most:
        return whole
    kept = ""
    for character in text:
        shown = _HTML.get(character, character)
        if len(kept) + len(shown) >= most:
            break
        kept += shown
    return kept + "…"


def _target(channel: Channel, url: str) -> Endpoint:
    try:
        url_parts(url)
    except PydanticCustomError:
        raise CredentialsError("the secret is no URL", hint="it is the incoming webhook's URL, https://…") from None
    return endpoint(channel, url)


KIND = Kind(
    keys=ChannelKeys(required={"secret"}, instead={"url": "it is a secret: hand it over by secret_env or secret_file"}),
    target=_target,
    message=lambda event, _to, _now, _is_over: message(event),
)
