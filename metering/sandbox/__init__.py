"""The sandbox: a server that behaves as the Neon API does, traps included, with a fleet whose numbers are known.

`fleet` draws organizations and projects, `consumption` what they use and what of it is visible when, `state` holds
changes and tells the truth, `query`, `history` and `inventory` make the bodies, `gate` and `app` serve them, `faults`
spoils them on request. Imports nothing of the product but the ground: what a client of Neon does is tested against
something that knows nothing of it.
"""

from metering.sandbox.access import PAID_ORGANIZATION_KEY, PERSONAL_KEY, PROJECT_KEY, SPONSORED_ORGANIZATION_KEY
from metering.sandbox.app import create_app
from metering.sandbox.fleet import PAID_ORGANIZATION, PLANS, SPONSORED_ORGANIZATION, Extras, Fleet
from metering.sandbox.gate import UNLIMITED, Clock, Limits
from metering.sandbox.inventory import RECOVERABLE
from metering.sandbox.server import RunningServer, main, serve
from metering.sandbox.state import State, truth, truth_table

__all__ = [
    "PAID_ORGANIZATION",
    "PAID_ORGANIZATION_KEY",
    "PERSONAL_KEY",
    "PLANS",
    "PROJECT_KEY",
    "RECOVERABLE",
    "SPONSORED_ORGANIZATION",
    "SPONSORED_ORGANIZATION_KEY",
    "UNLIMITED",
    "Clock",
    "Extras",
    "Fleet",
    "Limits",
    "RunningServer",
    "State",
    "create_app",
    "main",
    "serve",
    "truth",
    "truth_table",
]
