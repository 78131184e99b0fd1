"""The HTTP status of each kind of error, for pages and the JSON API."""

from metering.core.errors import MeteringError, StoreBusyError, StoreDamagedError, UsageError
from metering.web.view import NotFoundError

RETRY_SECONDS = 20
HEADINGS = {
    400: "This cannot be asked so",
    404: "Not found",
    500: "This could not be computed",
    503: "Not readable at the moment",
}


def status_of(error: MeteringError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, StoreDamagedError | StoreBusyError):
        return 503
    if isinstance(error, NotFoundError):
        return 404
    return 400 if isinstance(error, UsageError) else 500
