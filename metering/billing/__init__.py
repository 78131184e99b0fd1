"""A rated month: its usage, its pricing terms, its charges, and what Neon charges us for it.

Reads the store, asks `usage` and `rating`. Must not know invoices.
"""

__all__ = ["cost", "inventory", "month", "neon_cost", "profile", "recorded", "sums", "terms", "usage_document", "weeks"]
