"""The HTTP status of each kind of error, for pages and the JSON API, and what of it a person is told."""

from metering.core.errors import MeteringError, StoreBusyError, StoreDamagedError, UsageError
from metering.core.roles import Person, Right
from metering.web.view import NotFoundError
from metering.web.withheld import sentence

RETRY_SECONDS = 20
HEADINGS = {
    400: "This cannot be asked so",
    403: "Not for your role",
    404: "Not found",
    500: "This could not be computed",
    503: "Not readable at the moment",
}
_LOG_SAYS = "The log of the service says why; docs/operations.md says where it is."


class ForbiddenError(MeteringError):
    """Somebody who is known asks for what none of their roles allows: a 403."""


def refuse_without(person: Person, right: Right) -> None:
    """Raises ForbiddenError where the person does not have the right."""
    if not person.may(right):
        roles = " and ".join(sorted(person.roles)) or "none"
        raise ForbiddenError(f"Your role ({roles}) does not include this.", hint="Who set up your access can add one.")


def status_of(error: MeteringError) -> int:
    """The HTTP status of an error."""
    if isinstance(error, StoreDamagedError | StoreBusyError):
        return 503
    if isinstance(error, NotFoundError):
        return 404
    if isinstance(error, ForbiddenError):
        return 403
    return 400 if isinstance(error, UsageError) else 500


def told_to(person: Person, error: MeteringError) -> tuple[str, str]:
    """(what is wrong, what to do): to whoever may not see cost without a reason that may tell of it."""
    if person.may("cost"):
        return str(error), error.hint
    if status_of(error) >= 500:
        return f"{HEADINGS[status_of(error)]}.", _LOG_SAYS
    return sentence(str(error)), sentence(error.hint)
