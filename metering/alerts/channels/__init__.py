"""The kinds of channels, one module each, named as the kind: its keys, its address, its messages.

A new kind is a module here and its name in ChannelKind of the configuration.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metering.alerts.channels.kind import Kind
    from metering.config import ChannelKeys


def kind_of(name: str) -> "Kind":
    """The kind of a name. Its module is loaded when a channel of that kind is first met."""
    found: Kind = import_module(f"{__name__}.{name}").KIND
    return found


def keys_of(name: str) -> "ChannelKeys":
    """The keys that the configuration of a kind takes."""
    return kind_of(name).keys
