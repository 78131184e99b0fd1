"""Who may do what: roles, the rights of each role, and a person who has some of them.

Data. Must not know how a person proves who they are, nor what a page shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Role = Literal["viewer", "finance", "operator"]
Right = Literal["see", "cost", "resend"]
"""`see`: pages without cost and margin; `cost`: these figures too; `resend`: sends an alert again."""

RIGHTS: Mapping[Role, frozenset[Right]] = {
    "viewer": frozenset({"see"}),
    "finance": frozenset({"see", "cost"}),
    "operator": frozenset({"see", "resend"}),
}
"""Role -> its rights. A person with several roles has the rights of all of them."""
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is known: the token's name, the user that a proxy names, or the user of this machine."""

    name: str
    roles: frozenset[Role] = frozenset(ROLES)

    def may(self, right: Right) -> bool:
        """Whether one of the roles has this right."""
        return any(right in RIGHTS[role] for role in self.roles)


NOBODY = Person(name="", roles=frozenset())
"""Somebody who is not known: without any right."""
