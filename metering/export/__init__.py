"""Writes invoices and usage in the formats of other systems: one small module per format, named like it.

`documents` reads what is exported and `shares` splits it to the cent; the formats turn that into text or bytes and open
nothing. Only `sending` writes, to Stripe and to the ledger, and `written`: files.
"""

__all__ = ["rendering", "sending", "stripe_api", "written"]
