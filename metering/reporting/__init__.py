"""The month for finance: gathers facts, builds one report, writes it as page, paper, workbook and tables.

Every figure is made once, in the report. Templates hold words and columns, no arithmetic.
"""

__all__ = ["build", "columns", "facts", "gather", "projects", "write"]
