"""Decides which windows to read, asks Neon within the request budget, and records every page in the ledger.

Must not know prices, quotas or invoices.
"""

__all__ = ["cycle", "readings", "recorder", "unit_check", "wanted"]
