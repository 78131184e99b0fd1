"""Figures, charts, tables, workbooks, templates and typesetting.

Turns texts and numbers into HTML, CSV, Parquet, XLSX and PDF. Must not know what a month or an invoice is.
"""

__all__ = ["charts", "columns", "figures", "localized", "tables", "templates", "typeset", "workbook"]
