"""The API of Neon: client, request budgets, sessions with keys, and strict parsers of what it answers.

No other package knows Neon's words for fields and endpoints. Must not know the store, prices or the configuration.
"""

__all__ = [
    "budget",
    "client",
    "endpoints",
    "legacy",
    "parse_history",
    "parse_projects",
    "readable",
    "session",
    "walk",
    "wire",
]
