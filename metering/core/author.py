"""Who caused a record, and from where. Data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """`who`: a person's name, or `scheduler`; `origin`: the command line or the dashboard, and which machine."""

    who: str
    origin: str

    def document(self) -> dict[str, str]:
        """The member `by` of a record's data."""
        return {"who": self.who, "from": self.origin}
