"""From a rated month to invoices: lines, discounts, tax, holds, close, and what is amended after it.

`lines` makes the lines, `printed` shows documents, `amending` corrects, supplements and voids what was closed. A closed
invoice never changes. Must not know how it is exported, sent or shown.
"""

__all__ = [
    "alarms",
    "amending",
    "blockers",
    "close",
    "closing",
    "drafts",
    "issued",
    "last_draft",
    "lines",
    "outlook",
    "printed",
    "rated_month",
    "readiness",
    "unbilled",
    "unbilled_sums",
]
