"""From a rated month to invoices: lines, discounts, tax, holds, corrections, close, credit notes.

A closed invoice never changes. Must not know how it is exported, sent or shown.
"""

__all__ = [
    "alarms",
    "blockers",
    "close",
    "closed",
    "closing",
    "corrections",
    "discount",
    "documents",
    "drafts",
    "fee_lines",
    "issued",
    "last_draft",
    "lines",
    "outlook",
    "paper",
    "printable",
    "printing",
    "rated_month",
    "readiness",
    "remainder",
    "sheet",
    "sheet_usage",
    "supplement",
    "supplementing",
    "tax",
    "tax_cuts",
    "unbilled",
    "unbilled_sums",
    "voiding",
]
