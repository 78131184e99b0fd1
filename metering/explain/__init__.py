"""Explains a line of an invoice down to the API answers that it came from.

Recomputes with the modules that made the line. Must not add a figure of its own.
"""

__all__ = ["explain", "text"]
