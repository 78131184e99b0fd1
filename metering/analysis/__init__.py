"""Answers questions about months: backtests, advice on Neon's plans, reconciliation with Neon's invoices, price files.

Reads, and changes nothing.
"""

__all__ = ["advice", "backtest", "neon_invoice", "plan_file", "price_lines", "reconcile"]
