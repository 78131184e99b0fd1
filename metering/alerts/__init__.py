"""Tells people and their systems: records events, shapes and signs them per channel, delivers and retries.

Has its own doors to the network (webhooks) and to mail. Must not decide when a quota is crossed.
"""

__all__ = ["channels", "check", "delivering", "endpoints", "firing", "invoices", "recording", "stall", "switch"]
