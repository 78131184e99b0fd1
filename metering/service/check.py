"""Everything that can be known before the first poll: values and their origins, keys, what they see, store, endpoints.

Runs every check in turn; a failed check does not stop the others.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from metering.alerts import check as check_endpoints
from metering.alerts import switch
from metering.config import Config
from metering.core.errors import CredentialsError
from metering.core.secrets import Secret
from metering.service import (
    check_backup,
    check_later,
    check_network,
    check_organizations,
    check_parties,
    check_references,
    check_store,
)
from metering.service.findings import Checked
from metering.service.origins import origins

Json = dict[str, Any]
Clock = Callable[[], datetime]


def check(  # noqa: PLR0913 - what the command line has
    config: Config,
    keys: check_organizations.Keys,
    secrets: Mapping[str, Secret | CredentialsError],
    clock: Clock,
    real_time: Clock,
    *,
    send_test: bool,
    ping: Secret | CredentialsError | None = None,
    later: check_later.Later = MappingProxyType({}),
) -> Checked:
    """Runs all checks. `secrets`: endpoint -> its secret, for the webhooks and channels that have one.

    `ping` is the URL of a dead-man's switch. It is never requested here, because a request reports a complete tick.
    `later`: secrets that only later commands read -> the reason why they cannot be used.
    """
    out = Checked(as_of=clock(), path=config.path, origins=origins(config))
    out.tell("configuration", "faults", "ok", f"{config.path} has none")
    out.sections["network"] = check_network.network(config, out)
    is_usable = bool(out.sections["network"]["usable"])
    out.sections["organizations"] = (
        asyncio.run(check_organizations.organizations(config, keys, clock, out)) if is_usable else []
    )
    out.sections["store"] = check_store.directory_section(config.store.directory, out)
    out.sections["backup"] = check_backup.section(config, out)
    out.sections.update(check_references.sections(config, check_store.listed(config, out), out.as_of, out.tell))
    out.sections["tax_ids"] = check_parties.tax_id_section(config, out.tell)
    out.sections["taxes_ended"] = check_parties.ended_taxes(config, out.as_of, out.tell)
    out.sections["closing"] = check_store.closing(config, out)
    told = check_endpoints.look(config, secrets, clock(), real_time, out.tell, send_test=send_test and is_usable)
    check_store.recipients(config, out)
    out.sections["webhooks"], out.sections["channels"] = told.webhooks, told.channels
    out.sections["service"] = _service(config, ping, out)
    out.sections.update(check_later.sections(config, later, out))
    return out


def _service(config: Config, ping: Secret | CredentialsError | None, out: Checked) -> Json:
    """The address that `run` would listen on and the dead-man's switch; a fault of these does not prevent polling."""
    why = str(ping) if isinstance(ping, CredentialsError) else switch.ping_fault(ping.reveal()) if ping else ""
    if ping is not None:
        source = f"environment {config.service.ping_url_env}"
        out.tell("service", "ping", "note" if why else "ok", f"{source}: {why or 'usable'}")
    return {
        "listen": config.service.listen or None,
        "listen_state": check_later.listen(config.service.listen, out),
        "ping": None if ping is None else why or "ok",
    }
