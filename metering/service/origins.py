"""Lists every value of the configuration as text, with its source. Pure."""

import re
from datetime import datetime
from decimal import Decimal

from metering.config import Config
from metering.core.period import rfc3339


def origins(config: Config) -> list[tuple[str, str | None, str]]:
    """(key, value as text or None, "file", "default", "command line" or "environment NAME"), sorted by key."""
    found = ((key, _text(_value(config, key)), source) for key, source in config.origins.items())
    return sorted(found, key=lambda row: [part.zfill(6) if part.isdigit() else part for part in _parts(row[0])])


def _parts(key: str) -> list[str]:
    return re.findall(r"[^.\[\]]+", key)


def _value(config: Config, key: str) -> object:
    node: object = config
    for part in _parts(key):
        if isinstance(node, tuple):
            node = node[int(part)]
        else:
            node = node.get(part) if isinstance(node, dict) else getattr(node, part)
    return node


def _text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple | list):
        return ", ".join(_text(item) or "" for item in value)
    return rfc3339(value) if isinstance(value, datetime) else str(value)
