"""The sandbox: a server that behaves as the Neon API does, traps included, with a fleet whose numbers are known.

`fleet` draws organizations and projects, `consumption` what they use and what of it is visible when, `state` holds
changes and tells the truth, `query`, `history` and `inventory` make the bodies, `gate` and `app` serve them, `faults`
spoils them on request. Imports nothing of the product but the ground: what a client of Neon does is tested against
something that knows nothing of it.
"""

__all__ = ["access", "app", "fleet", "gate", "inventory", "server", "state"]
