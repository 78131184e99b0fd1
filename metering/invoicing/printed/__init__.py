"""Invoices as people read them: seller and buyers, the sheet for page and PDF, and the background of a month."""

__all__ = ["documents", "paper", "printable", "printing", "sheet", "sheet_usage"]
