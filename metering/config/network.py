"""How Neon and all receivers are reached: the settings of `[network]`, and what the environment adds to them.

Must not know who is reached. A proxy's address may hold a password, so it may stand in the environment instead.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, PlainValidator

from metering.core.errors import Fault
from metering.core.network import Network, is_network, proxy_url
from metering.core.secrets import Secret
from metering.core.values import EnvironmentName, FilePath, one_line, refuse

_PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")
_RIGHT = "write http://host:port"


def _proxy(value: object) -> str:
    try:
        url = proxy_url(one_line(value))
    except ValueError as error:
        refuse(str(error), _RIGHT)
    if "@" in url:
        refuse("holds a user or a password", "put the address into an environment variable and name it in proxy_env")
    return url


def _direct(value: object) -> str:
    text = one_line(value).lower().removeprefix("*").removeprefix(".")
    if is_network(text):
        return text
    if not text.isascii() or not all(part.replace("-", "a").replace("_", "a").isalnum() for part in text.split(".")):
        refuse(f"{text!r} is no name and no network", 'write "example.internal", "10.0.0.5" or "10.0.0.0/8"')
    return text


class NetworkConfig(BaseModel, frozen=True, extra="forbid"):
    """Authorities beside the public ones, and the proxy that all requests take but those to `no_proxy`."""

    ca_file: FilePath | None = None
    proxy: Annotated[str, PlainValidator(_proxy)] | None = None
    proxy_env: EnvironmentName | None = None
    no_proxy: tuple[Annotated[str, PlainValidator(_direct)], ...] = ()

    def network(self, environ: Mapping[str, str]) -> Network:
        """The network by these settings and the environment, where something may be wrong: told when it is used."""
        bundle = environ.get("SSL_CERT_FILE") if self.ca_file is None else None
        proxy, fault = self._proxy(environ)
        unused = () if self.proxy or self.proxy_env else tuple(name for name in _PROXIES if environ.get(name))
        return Network(
            ca_file=self.ca_file,
            bundle=Path(bundle) if bundle else None,
            proxy=proxy,
            no_proxy=self.no_proxy,
            unused_proxies=unused,
            fault=fault,
        )

    def _proxy(self, environ: Mapping[str, str]) -> tuple[Secret | None, Fault | None]:
        if self.proxy_env is None:
            return (Secret(self.proxy) if self.proxy else None), None
        where = "network.proxy_env"
        text = environ.get(self.proxy_env, "")
        if not text.strip():
            what = f"the environment variable {self.proxy_env} is not set"
            return None, Fault(where=where, what=what, right="export it, or take the line out")
        try:
            return Secret(proxy_url(text)), None
        except ValueError as error:
            what = f"the environment variable {self.proxy_env} {error}"
            return None, Fault(where=where, what=what, right=_RIGHT)
