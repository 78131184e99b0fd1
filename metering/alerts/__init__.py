"""Notifies people and systems: records events, formats and signs them per channel, delivers and retries.

Opens its own connections to webhooks and mail servers. Must not decide when a quota is crossed.
"""

__all__ = [
    "channels",
    "check",
    "delivering",
    "endpoints",
    "firing",
    "invoices",
    "recording",
    "stall",
    "switch",
]
