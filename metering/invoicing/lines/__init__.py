"""The lines of invoices, their taxes and the drafts that carry them.

Pure: a rated month and prices in, documents out. Must not know a store, nor how a document is numbered or issued.
"""

__all__ = ["adjustment", "assembly", "discount", "fees", "rates", "remainder", "tax", "tax_cuts", "usage"]
