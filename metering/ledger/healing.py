"""What to do where a database file turns out to be damaged: mend it, tell, and do the work once more.

The journal is whole and work can be done twice: what it journalled is there already. Must not know what the work is.
"""

from collections.abc import Callable
from typing import TypeVar

from metering.core.errors import StoreDamagedError

Result = TypeVar("Result")


def healed(work: Callable[[], Result], tell: Callable[[str], object]) -> Result:
    """What the work gives; where it met damage that could be set aside, `tell` hears of it and the work runs again."""
    try:
        return work()
    except StoreDamagedError as error:
        if error.directory is None:
            raise
        from metering.ledger.ledger import mend  # noqa: PLC0415 - all projections: only where something is damaged

        done = mend(error.directory)
        if not done:
            raise
        tell(done)
    return work()
