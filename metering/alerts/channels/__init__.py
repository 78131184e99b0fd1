"""The kinds of channels: one module per kind, with its configuration keys, address and message format.

A new kind is a module here, named as the kind, and its name in ChannelKind of the configuration.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metering.alerts.channels.kind import Kind
    from metering.config import ChannelKeys


def kind_of(name: str) -> "Kind":
    """The kind with this name. Loads its module on first use."""
    found: Kind = import_module(f"{__name__}.{name}").KIND
    return found


def keys_of(name: str) -> "ChannelKeys":
    """The configuration keys of a kind."""
    return kind_of(name).keys
