"""The sandbox: a server that behaves as the Neon API does, traps included, with a fleet whose numbers are known.

`fleet` generates organizations and projects, `consumption` their usage and when it becomes visible, `state` holds
changes and the true totals, `query`, `history` and `inventory` make the bodies, `gate` and `app` serve them, `faults`
damages them on request. Imports nothing of the product but `core`: a client of Neon is tested against a server that
shares no code with it.
"""

__all__ = ["access", "app", "fleet", "gate", "inventory", "server", "state"]
