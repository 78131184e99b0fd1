"""Printed invoices: seller and buyers, the texts of page and PDF, and the background of a month."""

__all__ = ["documents", "paper", "printable", "printing", "sheet", "sheet_usage"]
