"""The API of Neon: client, request budgets, credentials, and strict parsers of what it answers.

No other package knows Neon's words for fields and endpoints. Must not know the store, prices or the configuration.
"""

__all__ = ["client", "credentials", "endpoints", "legacy", "parse_history", "readable", "saved_budgets"]
