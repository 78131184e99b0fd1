"""Access and rate limits: API keys of the three kinds, and token buckets in integer nanoseconds.

Pure: the monotonic time is a parameter.
"""

from dataclasses import dataclass

from starlette.exceptions import HTTPException

from metering.sandbox.fleet import PAID_ORGANIZATION, SPONSORED_ORGANIZATION, Fleet

PERSONAL_KEY = "sandbox-key"
PAID_ORGANIZATION_KEY = "sandbox-paid-key"
SPONSORED_ORGANIZATION_KEY = "sandbox-free-key"
PROJECT_KEY = "sandbox-project-key"

_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key: personal (sees every organization), of one organization, or of one project."""

    token: str
    organization: str | None = None
    project: str | None = None

    @property
    def auth_method(self) -> str:
        """The `auth_method` that `GET /auth` answers for this key."""
        return "api_key_user" if self.organization is None and self.project is None else "api_key_org"

    def check_organization(self, organization_id: str) -> None:
        """404 where the key may not see the organization."""
        if self.project is not None:
            raise HTTPException(404, "not allowed to perform actions outside the project this key is scoped to")
        if self.organization not in (None, organization_id):
            raise HTTPException(404, "the account is not a member of the organization in `org_id`")

    def check_project(self, project_id: str, organization_id: str) -> None:
        """404 where the key may not see the project."""
        if self.project not in (None, project_id):
            raise HTTPException(404, "not allowed to perform actions outside the project this key is scoped to")
        if self.project is None and self.organization not in (None, organization_id):
            raise HTTPException(404, "project not found")


def keys_for(fleet: Fleet) -> dict[str, Key]:
    """The default keys: one for everything, one for each organization, and one for the fleet's first project alone."""
    first = next(iter(fleet.projects), "no-project-0")
    keys = (
        Key(token=PERSONAL_KEY),
        Key(token=PAID_ORGANIZATION_KEY, organization=PAID_ORGANIZATION),
        Key(token=SPONSORED_ORGANIZATION_KEY, organization=SPONSORED_ORGANIZATION),
        Key(token=PROJECT_KEY, project=first),
    )
    return {key.token: key for key in keys}


class Budget:
    """A token bucket: `per_minute` requests, `burst` of them at once; None is no limit."""

    def __init__(self, per_minute: int | None, burst: int | None = None) -> None:
        self._per_minute = per_minute or 0
        self._full = (burst or per_minute or 0) * _MINUTE_NS
        self._filled = self._full
        self._asked_at: int | None = None
        self._is_limited = per_minute is not None

    def takes(self, monotonic_ns: int) -> bool:
        """Whether one more request is allowed at the moment; if so, takes a token."""
        if not self._is_limited:
            return True
        elapsed = 0 if self._asked_at is None else monotonic_ns - self._asked_at
        self._asked_at = monotonic_ns
        self._filled = min(self._full, self._filled + elapsed * self._per_minute)
        if self._filled < _MINUTE_NS:
            return False
        self._filled -= _MINUTE_NS
        return True
