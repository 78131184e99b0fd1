"""The sandbox: a server that behaves as the Neon API does, traps included, with a fleet whose numbers are known.

`fleet` draws organizations and projects, `consumption` what they use and what of it is visible when, `state` holds
changes and tells the truth, `query`, `history` and `inventory` make the bodies, `gate` and `app` serve them, `faults`
spoils them on request. Imports nothing of the product but `core`: a client of Neon is tested against a server that
shares no code with it.
"""

__all__ = ["access", "app", "fleet", "gate", "inventory", "server", "state"]
