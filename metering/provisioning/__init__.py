"""Changes at Neon: quotas of projects, upgrades to another plan, and the differences between plan and Neon.

Computes the changes first, then applies them; each is recorded in the ledger. Must not know invoices.
"""

__all__ = ["quotas", "upgrade"]
