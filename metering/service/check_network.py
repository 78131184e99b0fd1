"""Checks certificate files, the configured proxy, and proxies of the environment that are ignored. Sends no request."""

from typing import Any

from metering.config import Config
from metering.core.errors import ConfigError
from metering.service.findings import Checked

Json = dict[str, Any]

_FAULTY = 4


def network(config: Config, out: Checked) -> Json:
    """The part of the document. `usable` is false where nobody can be asked."""
    way = config.reached_by
    section: Json = {
        "ca_file": str(way.ca_file) if way.ca_file else None,
        "authorities_of_environment": str(way.bundle) if way.bundle else None,
        "proxy": _proxy_source(config),
        "no_proxy": list(way.no_proxy),
        "unused_proxies": list(way.unused_proxies),
        "usable": True,
    }
    try:
        way.tls()
        way.proxy_for("")
    except ConfigError as error:
        section["usable"] = False
        for fault in error.faults:
            out.tell("network", fault.where, "fault", str(fault), _FAULTY)
        return section
    if way.bundle:
        out.tell("network", "authorities", "ok", f"environment SSL_CERT_FILE: those of {way.bundle} alone are trusted")
    if way.ca_file:
        out.tell("network", "authorities", "ok", f"the public ones, and those of {way.ca_file}")
    if source := section["proxy"]:
        out.tell("network", "proxy", "ok", f"{source}: all requests go through it, mail does not")
    for name in way.unused_proxies:
        detail = f'environment {name} is set and not used; to use it, write proxy_env = "{name}" under [network]'
        out.tell("network", "proxy", "note", detail)
    return section


def _proxy_source(config: Config) -> str | None:
    """Where the proxy's address comes from; not the address, which may hold a password."""
    given = config.network
    return f"environment {given.proxy_env}" if given.proxy_env else given.proxy
