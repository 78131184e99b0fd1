"""Every error of the project, as a tree; each has an exit code for the shell and a hint for the reader.

    MeteringError                 1   the root: catch this to catch all of ours
    ├── ConfigError               4   config.toml or a CSV file is faulty; carries every fault at once
    ├── CredentialsError          5   a key was refused, or its file is readable by others
    ├── IncompleteError           3   something that had to be read could not be read, or a close was refused
    ├── BackupError               3   the backup that is kept up to date could not be; the command's own work stands
    ├── StoppedError            130   a signal asked for an end; what was begun is finished
    ├── StoreBusyError           75   another process holds the store
    ├── JournalDamagedError       1   the journal's hash chain does not hold
    ├── StoreDamagedError         1   the store contradicts the journal
    ├── UnpublishedError          1   all is journalled, the readers' copy could not be made
    ├── PageRefusedError          1   an answer of Neon's that may not be counted
    ├── NeonError                 1   Neon could not be asked, or answered no
    │   ├── UnavailableError      3   403, 404: this source shows nothing (which is not zero)
    │   ├── UnreachableError      3   network, deadline, 429 or 5xx beyond all retries
    │   └── ClockError            3   this machine's clock is not Neon's
    ├── ExactnessError            1   a number outgrew what is computed exactly
    └── UsageError                2   a command was called wrongly

This module may be imported by all and imports nothing of the project.
"""

from dataclasses import dataclass
from pathlib import Path

DISK_HINT = "free space or mend the disk, then run it again: what was acknowledged is safe, nothing is half done"
"""What to do where the store's directory cannot be written."""


class MeteringError(Exception):
    """The root. `hint` says what to do about it, in one sentence."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in the user's files: where it stands, what is wrong, what would be right."""

    where: str
    """A key such as `plans[0].prices[2].unit_price`, or `subscriptions.csv row 3 (line 4), plan`."""
    what: str
    right: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f"; {self.right}" if self.right else "")


class ConfigError(MeteringError):
    """The configuration is faulty: all faults at once."""

    exit_code = 4

    def __init__(self, faults: list[Fault], *, hint: str = "") -> None:
        super().__init__("\n".join(str(fault) for fault in faults), hint=hint)
        self.faults = faults


class CredentialsError(MeteringError):
    """A key is missing, refused by Neon, or kept where others can read it."""

    exit_code = 5


class IncompleteError(MeteringError):
    """Everything possible was done, but something required is missing."""

    exit_code = 3


class BackupError(MeteringError):
    """The continuous backup could not be brought up to date; what the command did stands."""

    exit_code = 3


class StoppedError(MeteringError):
    """A signal asked this process to end; what was read is kept."""

    exit_code = 130


class StoreBusyError(MeteringError):
    """Another process writes to the store; `process_id` names it (0 when it could not be read)."""

    exit_code = 75

    def __init__(self, message: str, *, process_id: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.process_id = process_id


class JournalDamagedError(MeteringError):
    """A record of the journal does not match its hash, or records are missing."""


class StoreDamagedError(MeteringError):
    """The store holds something that the journal does not give, or cannot be read.

    `directory` is the store directory whose files have damaged blocks, which can be mended; None where it is not that.
    """

    directory: Path | None = None


class UnpublishedError(MeteringError):
    """What was to be done is journalled; readers do not see it yet."""


class PageRefusedError(MeteringError):
    """A page holds a number that cannot be trusted; the whole page is ignored."""


class NeonError(MeteringError):
    """Neon could not be asked, or answered no. `status` is 0 where no answer came."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class UnavailableError(NeonError):
    """403 or 404: the source shows nothing to this key. That is unknown, never zero."""

    exit_code = 3


class UnreachableError(NeonError):
    """All retries are spent, or the deadline passed."""

    exit_code = 3


class ClockError(NeonError):
    """This machine's clock is too far from Neon's to say which hours are over."""

    exit_code = 3


class ExactnessError(MeteringError):
    """A number is larger than the exact types hold; nothing was rounded."""


class UsageError(MeteringError):
    """Invalid arguments of a command."""

    exit_code = 2
