"""Finds settings that contradict each other, which the check of a single value cannot see.

Pure: raw data in, faults out; a fault elsewhere in a table hides no contradiction. Must not know files or layers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import get_args

from pydantic_core import PydanticCustomError

from metering.config.recipients import ChannelKeys, ChannelKind
from metering.core.addresses import is_loopback, listen_parts
from metering.core.errors import Fault
from metering.core.period import rfc3339
from metering.core.values import closest, moment

_NAMED_BY = (("organizations", "id"), ("webhooks", "url"), ("channels", "name"), ("meters", "id"), ("plans", "id"))


KeysOf = Callable[[str], ChannelKeys]
"""Kind of a channel -> the keys that it takes."""


def contradictions(data: Mapping[str, object], plan_ids: set[str], keys_of: KeysOf | None) -> Iterator[Fault]:
    """All contradictions, in the file's order within each kind; without `keys_of` channels are not checked."""
    for name, attribute in _NAMED_BY:
        yield from _twice(_tables(data, name), attribute)
    for where, organization in _tables(data, "organizations"):
        yield from _one_of(organization, where, "api_key_env", "api_key_file")
        plan = organization.get("default_plan")
        if isinstance(plan, str) and plan not in plan_ids:
            yield Fault(where=f"{where}.default_plan", what=f"there is no plan {plan!r}", right=closest(plan, plan_ids))
    for where, webhook in _tables(data, "webhooks"):
        yield from _one_of(webhook, where, "secret_env", "secret_file")
        if str(webhook.get("url")).startswith("http://") and webhook.get("allow_private_network") is not True:
            right = "write https://, or allow_private_network = true for a receiver of your own"
            yield Fault(where=f"{where}.url", what="is not encrypted", right=right)
    for where, channel in _tables(data, "channels"):
        if keys_of and channel.get("kind") in get_args(ChannelKind):
            yield from _channel(channel, str(channel["kind"]), keys_of(str(channel["kind"])), where)
    yield from _open_to_others(data.get("service"))
    yield from _dashboard(data.get("dashboard"))
    yield from _not_both(data.get("network"), "network", "proxy", "proxy_env")
    stripe = data.get("stripe")
    if isinstance(stripe, dict) and "secret_env" in stripe:
        yield from _one_of(stripe, "stripe", "secret_env", "secret_file")
    for where, discount in _tables(data, "discounts"):
        yield from _one_of(discount, where, "percent", "amount")
        yield from _backwards(discount, where)
    for where, meter in _tables(data, "meters"):
        yield from _twice(_tables(meter, "divisors", f"{where}."), "valid_from")
        metrics = meter.get("metrics")
        named = [str(metric) for metric in metrics] if isinstance(metrics, list) else []
        for metric in sorted({metric for metric in named if named.count(metric) > 1}):
            yield Fault(where=f"{where}.metrics", what=f"{metric!r} stands there twice", right="once is right")


def _dashboard(table: object) -> Iterator[Fault]:
    """Tokens of one name or without a secret, and a header for roles that nobody is trusted to set."""
    if not isinstance(table, dict):
        return
    for what in ("token", "link_secret"):
        yield from _not_both(table, "dashboard", f"{what}_env", f"{what}_file")
    tokens = _tables(table, "tokens", "dashboard.")
    yield from _twice(tokens, "name")
    for where, token in tokens:
        yield from _one_of(token, where, "token_env", "token_file")
    if "role_header" in table and not table.get("trusted_proxies"):
        right = "give trusted_proxies, whose role_header is believed, or leave it out"
        yield Fault(where="dashboard.role_header", what="means nothing without trusted_proxies", right=right)
    header = str(table.get("role_header", "")).lower()
    if header and header == str(table.get("user_header", "x-forwarded-user")).lower():
        yield Fault(where="dashboard.role_header", what="is the user_header", right="name the header with the roles")


_CHANNEL_KEYS = ("url", "user", "sender", "to")


def _channel(channel: Mapping[str, object], kind: str, keys: ChannelKeys, where: str) -> Iterator[Fault]:
    """Missing and superfluous keys of a channel, by its kind, and an address that does not fit the kind."""
    for name in _CHANNEL_KEYS:
        if name in keys.required and not channel.get(name):
            yield Fault(where=f"{where}.{name}", what="is missing", right=f"a channel of kind {kind} needs it")
        elif name in channel and name not in keys.required | keys.optional:
            right = keys.instead.get(name, "leave it out")
            yield Fault(where=f"{where}.{name}", what=f"means nothing to kind {kind}", right=right)
    has_secret = "secret_env" in channel or "secret_file" in channel
    if "secret" in keys.required or has_secret:
        yield from _one_of(channel, where, "secret_env", "secret_file")
    if keys.login and (keys.login in channel) != has_secret:
        right = f"give {keys.login} and its password (secret_env or secret_file), or neither"
        yield Fault(where=f"{where}.{keys.login}", what="and a secret belong together", right=right)
    if "url" in channel:
        yield from _channel_url(str(channel["url"]), channel, kind, keys, where)


def _channel_url(url: str, channel: Mapping[str, object], kind: str, keys: ChannelKeys, where: str) -> Iterator[Fault]:
    if not url.startswith(tuple(f"{scheme}://" for scheme in keys.schemes)):
        yield Fault(where=f"{where}.url", what=f"is no address of kind {kind}", right=f"write {keys.address_form}")
    elif "?" in url and not keys.allows_query:
        yield Fault(where=f"{where}.url", what="has a query", right="leave out the ? and what follows")
    elif url.startswith("http://") and channel.get("allow_private_network") is not True:
        right = "write https://, or allow_private_network = true for one of your own"
        yield Fault(where=f"{where}.url", what="is not encrypted", right=right)


def _open_to_others(service: object) -> Iterator[Fault]:
    """An address that other machines can reach needs allow_remote: the pages show organizations and counts."""
    if not isinstance(service, dict) or not service.get("listen") or service.get("allow_remote") is True:
        return
    try:
        host, _ = listen_parts(str(service["listen"]))
    except PydanticCustomError:
        return
    if not is_loopback(host):
        right = "listen on 127.0.0.1, or say allow_remote = true"
        yield Fault(where="service.listen", what="can be reached by other machines", right=right)


def _tables(data: Mapping[str, object], name: str, prefix: str = "") -> list[tuple[str, dict[str, object]]]:
    entries = data.get(name)
    listed = enumerate(entries) if isinstance(entries, list) else []
    return [(f"{prefix}{name}[{index}]", entry) for index, entry in listed if isinstance(entry, dict)]


def _twice(tables: Iterable[tuple[str, dict[str, object]]], attribute: str) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for where, table in tables:
        if attribute in table:
            value = str(table[attribute])
            if first.setdefault(value, where) != where:
                what = f"{value!r} stands at {first[value]} already"
                yield Fault(where=f"{where}.{attribute}", what=what, right="keep one of the two")


def _backwards(table: Mapping[str, object], where: str) -> Iterator[Fault]:
    try:
        start, end = moment(table["valid_from"]), moment(table["valid_to"])
    except (KeyError, PydanticCustomError):
        return
    if end <= start:
        right = f"write a time after valid_from, {rfc3339(start)}"
        yield Fault(where=f"{where}.valid_to", what=f"{rfc3339(end)} is no later than valid_from", right=right)


def _not_both(table: object, where: str, one: str, other: str) -> Iterator[Fault]:
    if isinstance(table, dict) and one in table and other in table:
        yield Fault(where=f"{where}.{one}", what=f"and {other} are both given", right="keep one of the two")


def _one_of(table: Mapping[str, object], where: str, one: str, other: str) -> Iterator[Fault]:
    if (one in table) == (other in table):
        what = f"and {other} are both given" if one in table else "is missing"
        yield Fault(where=f"{where}.{one}", what=what, right=f"give either {one} or {other}")
