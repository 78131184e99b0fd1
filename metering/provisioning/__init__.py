"""What is changed at Neon: quotas of projects, upgrades of customers, and drift from what was set.

Plans first, then applies; each change is in the ledger. Must not know invoices.
"""

__all__ = ["quotas", "upgrade"]
