"""The findings of `check`: collected, judged by exit code, and written as JSON or rows. Pure."""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.core.period import rfc3339

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One result of a check. `state` is ok, note or fault; `exit_code` is that of a fault."""

    subject: str
    check: str
    state: str
    detail: str
    exit_code: int = 0


@dataclass(slots=True, kw_only=True)
class Checked:
    """All results of `check`. `sections`: the JSON document without the findings. `origins`: (key, value, source)."""

    as_of: datetime
    path: Path
    origins: list[tuple[str, str | None, str]] = field(default_factory=list)
    sections: Json = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        """A sentence for each fault that prevents a poll or a delivery."""
        return [f"{found.subject}: {found.detail}" for found in self.findings if found.state == "fault"]

    @property
    def exit_code(self) -> int:
        """5 where a key or secret is missing or refused, else 4 (configuration), else 1 (no store), else 3, else 0."""
        codes = {found.exit_code for found in self.findings if found.state == "fault"}
        return next((code for code in (5, 4, 1, 3) if code in codes), 0)

    @property
    def verdict(self) -> str:
        """The last line: `ready`, or `not ready` and what to do first."""
        worst = [found for found in self.findings if found.state == "fault" and found.exit_code == self.exit_code]
        return f"not ready: first {worst[0].subject}: {worst[0].detail}" if self.exit_code else "ready"

    def document(self) -> Json:
        """The JSON document; counts are decimal strings."""
        return {
            "as_of": rfc3339(self.as_of),
            "is_ready": self.exit_code == 0,
            "verdict": self.verdict,
            "configuration": {
                "path": str(self.path),
                "values": [{"key": key, "value": value, "source": source} for key, value, source in self.origins],
            },
            **self.sections,
            "faults": self.faults,
            "notes": [f"{found.subject}: {found.detail}" for found in self.findings if found.state == "note"],
        }

    def rows(self) -> list[Json]:
        """The findings, then every value with its source, for a table or CSV."""
        found = [
            {"subject": row.subject, "check": row.check, "state": row.state, "detail": row.detail}
            for row in self.findings
        ]
        return found + [
            {"subject": "configuration", "check": key, "state": source, "detail": "" if value is None else value}
            for key, value, source in self.origins
        ]

    def tell(self, subject: str, check: str, state: str, detail: str, exit_code: int = 0) -> None:
        """Adds a finding."""
        self.findings.append(Finding(subject=subject, check=check, state=state, detail=detail, exit_code=exit_code))
