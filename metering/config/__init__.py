"""Reads config.toml, its CSV files and the environment into one frozen value, and reports all faults at once.

Knows what a setting may be. Must not know what is done with it.
"""

__all__ = ["csv_file", "csv_rows", "exports", "faults", "inheritance", "models", "read", "recipients", "starter"]
