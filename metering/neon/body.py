"""The body of an answer: read, unpacked within bounds, and looked at once to see whether it is whole. Sends nothing."""

import zlib

import httpx

from metering.core.errors import NeonError, PageRefusedError
from metering.neon import readable
from metering.neon.wire import Envelope

MAX_BODY_BYTES = 64 * 1024 * 1024
"""A page of 100 projects over 168 hours has about 11 MB; a bomb may unpack to no more than this."""
MAX_ERROR_BYTES = 64 * 1024


async def read_body(response: httpx.Response, most: int) -> bytes:
    """Reads and unpacks the whole body; httpx's own decoder accepts a gzip stream that was cut short."""
    encodings = _encodings(response.headers.get("content-encoding", ""))
    if len(encodings) > 1 or not set(encodings) <= {"gzip", "deflate"}:
        raise NeonError(f"the answer is encoded as {', '.join(encodings)[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(wbits=47) if encodings else None
    parts: list[bytes] = []
    size = 0
    async for chunk in response.aiter_raw():
        part = unpacker.decompress(chunk, most - size + 1) if unpacker else chunk
        size += len(part)
        if size > most:
            raise NeonError(f"the answer is larger than {most} bytes")
        parts.append(part)
    if unpacker and not unpacker.eof:
        raise EOFError("the compressed answer was cut short")
    if unpacker and unpacker.unused_data:
        raise EOFError("something stands behind the compressed answer")
    return b"".join(parts)


def page_of(body: bytes) -> tuple[Envelope, str]:
    """(ids and cursor, why the request should be repeated): the body was cut, or a gateway's page came instead.

    An empty reason means that the body is whole; one that is no list page shows neither ids nor a cursor.
    """
    nothing = Envelope(items=(), cursor=None)
    text = body.strip()
    if not text.startswith((b"{", b"[")):
        return nothing, "not JSON"
    if not text.endswith((b"}", b"]")):
        return nothing, "cut short"
    try:
        return readable.envelope(body), ""
    except PageRefusedError as error:
        return nothing, "cut short" if "truncated" in str(error) else ""


def _encodings(header: str) -> list[str]:
    """The content codings of a header in lower case, without `identity`; `x-gzip` is an old name of `gzip`."""
    names = [name.strip().lower().removeprefix("x-") for name in header.split(",")]
    return [name for name in names if name not in {"", "identity"}]
