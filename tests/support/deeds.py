"""Every command that writes, each with a platform that it is typed at; copied for every life, and struck there once.

What a life says at its end, and what receivers, Stripe and Neon got of it, must equal the life that nothing struck.
"""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.card import plan, price, toml
from tests.support.inbox import Inbox, receiving
from tests.support.plain_neon import Fleet, PlainNeon, served
from tests.support.plain_stripe import SECRET as STRIPE_SECRET
from tests.support.plain_stripe import PlainStripe
from tests.support.plain_stripe import served as stripe_served
from tests.support.platform_desk import Desk, Ran

SOURCE = Path(__file__).parents[1] / "faults" / "strike.c"
SECRET = "whsec_" + "c2VjcmV0LW9mLXR3ZW50eS1mb3VyLWJ5dGVz"
PERIOD = {"consumption_period_start": "2026-10-01T00:00:00Z", "consumption_period_end": "2026-11-01T00:00:00Z"}
BEFORE, NOW, LATER, LAST = (f"2026-10-{at}:00Z" for at in ("04T12:00", "05T12:00", "05T12:07", "05T13:00"))
PLANS = toml(
    plan("pro", price(unit_price="0.16"), base_fee="20.00", quota={"data_transfer_bytes": 1_000_000}),
    plan("team", price(unit_price="0.12"), base_fee="50.00", quota={"data_transfer_bytes": 9_000_000}),
)
_CRASHED = '  File "<frozen runpy>"'
"""In the traceback of a command that ended by an error that nobody foresaw, and in none that is logged."""
SAID = (
    ("usage", "2026-09"),
    ("usage", "2026-10", "--by", "hour"),
    ("quota",),
    ("invoices", "2026-09"),
    ("invoices", "2026-10"),
    ("alerts", "list"),
)


@dataclass(frozen=True, kw_only=True)
class Deed:
    """A command as it is typed; `DIR` in it is the directory of the life. `given` is the state that it begins with."""

    words: tuple[str, ...]
    given: str = "read"


DEEDS: dict[str, Deed] = {
    "poll": Deed(words=("poll",)),
    "tick": Deed(words=("tick",)),
    "backfill": Deed(words=("backfill",), given="empty"),
    "close": Deed(words=("close", "2026-09"), given="polled"),
    "void": Deed(words=("void", "INV-2026-000008", "--reason", "wrong street"), given="closed"),
    "close anew": Deed(words=("close", "2026-09"), given="voided"),
    "report": Deed(words=("report", "2026-09", "--format", "csv,html,xlsx,parquet"), given="polled"),
    "export": Deed(words=("export", "focus", "2026-09", "-o", "DIR/focus.csv"), given="closed"),
    "send": Deed(words=("export", "stripe", "2026-09", "--send"), given="closed"),
    "acknowledge": Deed(words=("acknowledge", "ALARM", "--reason", "priced soon"), given="closed"),
    "resend": Deed(words=("alerts", "resend", "ALERT"), given="closed"),
    "enable": Deed(words=("alerts", "enable", "HOOK"), given="off"),
    "drop": Deed(words=("alerts", "drop", "HOOK"), given="waiting"),
    "quotas": Deed(words=("quotas", "apply"), given="closed"),
    "upgrade": Deed(words=("upgrade", "org-a-calm-2", "--plan", "team"), given="closed"),
    "backup": Deed(words=("backup", "DIR/backups"), given="closed"),
    "restore": Deed(words=("restore", "DIR/backup"), given="backed up"),
    "adopt": Deed(words=("store", "adopt", "--i-compared"), given="restored"),
    "rebuild": Deed(words=("rebuild",), given="closed"),
}
"""Every command that writes."""


@dataclass(frozen=True, kw_only=True)
class Strike:
    """`how` as in strike.c, at the n-th call; or `how` "instant", `seconds` after the start."""

    deed: str = "tick"
    how: str = ""
    at: int = 0
    seconds: float = 0

    @property
    def is_kill(self) -> bool:
        return self.how in ("half", "after", "before", "instant")


@dataclass(kw_only=True)
class Striker:
    """A platform in every state that a deed begins with, as directories that are copied for every life."""

    desk: Desk
    inbox: Inbox
    stripe: PlainStripe
    directory: Path
    library: Path
    fleets: dict[str, Fleet]
    subscriptions: str
    lives: int = 0
    last: Ran = field(default_factory=lambda: Ran(code=0, out="", err=""))
    """How the last struck command ended."""
    untouched: dict[str, dict[str, object]] = field(default_factory=dict)

    def begin(self, state: str = "read") -> Desk:
        """A new life in this state."""
        kept = self.kept(state)
        if self.lives:
            shutil.rmtree(self.desk.directory)
        self.lives += 1
        self.desk.directory, self.desk.now = self.directory / f"life-{self.lives}", NOW
        shutil.copytree(kept, self.desk.directory)
        self.desk.subscriptions = self.subscriptions
        self.desk.neon.fleets = deepcopy(self.fleets)
        self.desk.write()
        for got in (self.inbox.posts, self.stripe.items, self.stripe.posts):
            got.clear()
        self.stripe.forget()
        return self.desk

    def kept(self, state: str) -> Path:
        """The directory of a state; made where nobody asked for it before."""
        kept = self.directory / state
        if not kept.exists():
            before, happens = STATES[state]
            happens(self, self.begin(before))
            shutil.copytree(self.desk.directory, kept)
        return kept

    def words(self, name: str) -> list[str]:
        """What is typed."""
        named = {
            "DIR": lambda: str(self.desk.directory),
            "HOOK": lambda: self.inbox.url,
            "ALERT": lambda: str(self.desk.good("alerts", "list")["alerts"][0]["alert_id"]),
            "ALARM": lambda: str(self.desk.good("status")["alarms"][0]["alarm_id"]),
        }
        return [re.sub("|".join(named), lambda found: named[found[0]](), word) for word in DEEDS[name].words]

    def struck(self, strike: Strike) -> Ran:
        """The command with the strike; its end."""
        orders = {
            "LD_PRELOAD": str(self.library),
            "STRIKE_UNDER": f"{self.desk.directory.resolve()}/",
            "STRIKE_FROM": "config.toml",
            "STRIKE_BYTES": str(64 * 1024),
            "STRIKE_AT": str(strike.at),
            "STRIKE_HOW": strike.how or "after",
            "STRIKE_COUNT": str(self.directory / "calls"),
        }
        words = [*self.words(strike.deed), "--config", str(self.desk.directory / "config.toml")]
        process = self.desk.spawn(*words, env=orders if strike.how != "instant" else {})
        if strike.how == "instant":
            time.sleep(strike.seconds)
            process.kill()
        out, err = process.communicate(timeout=120)
        self._keep_subscriptions()
        self.last = Ran(code=process.returncode, out=out.decode(), err=err.decode())
        return self.last

    def calls(self, deed: str = "tick", how: str = "") -> int:
        """How many calls of a life there are that a strike of this kind counts."""
        self.begin(DEEDS[deed].given)
        ran = self.struck(Strike(deed=deed, how=how))
        assert ran.code == 0, ran
        return int((self.directory / "calls").read_text())

    def typed_again(self, deed: str) -> Ran:
        """The same command without a strike; a backup has its moment for a name, so it is made a little later."""
        self.desk.now = LATER if deed == "backup" else NOW
        ran = self.desk.run(*self.words(deed))
        self._keep_subscriptions()
        return ran

    def ends(self, *, is_verified: bool) -> dict[str, object]:
        """Ticks once more, and gives what the life says at its end, and what was told of it elsewhere (each once)."""
        self.desk.now = LAST
        ran = self.desk.run("tick")
        assert ran.code in (0, 3), ran
        found: dict[str, object] = {"tick": (ran.code, ran.err)}
        found |= {" ".join(words): self.desk.good(*words) for words in SAID}
        found["told"] = sorted({(headers["webhook-id"], body) for headers, body in self.inbox.posts})
        found["sent"] = sorted(tuple(sorted(item["metadata"].items())) for item in self.stripe.items)
        found["at Neon"] = [(one["id"], one["settings"]) for name in self.fleets for one in self._projects(name)]
        found["subscriptions"] = self.desk.subscriptions
        found["files"] = self._files()
        if is_verified:
            ran = self.desk.run("verify")
            found["verify"] = (ran.code, ran.out.rpartition("checked")[2])
        return found

    def survives(self, strike: Strike, *, is_verified: bool = True) -> str:
        """Lives with this strike; what differs from the life without one, empty where nothing does."""
        untouched = self.without_a_strike(strike.deed)
        self.begin(DEEDS[strike.deed].given)
        ran = self.struck(strike)
        if why := _pretends(strike, ran):
            return f"{strike}: {why}: ended with {ran.code}: {ran.out}{ran.err}\n"
        if ran.code != 0:
            ran = self.typed_again(strike.deed)
            if ran.code != 0:
                return f"{strike}: typed again it ends with {ran.code}: {ran.err}\n"
        found = self.ends(is_verified=is_verified)
        return "".join(f"{strike}: {name} differs\n" for name in found if found[name] != untouched[name])

    def without_a_strike(self, deed: str) -> dict[str, object]:
        """What the life says at its end that nothing strikes."""
        if deed not in self.untouched:
            self.begin(DEEDS[deed].given)
            ran = self.desk.run(*self.words(deed))
            assert ran.code == 0, (deed, ran)
            self._keep_subscriptions()
            self.untouched[deed] = self.ends(is_verified=True)
            assert self.untouched[deed]["verify"] == (0, "\neverything agrees\n") or deed == "restore", (
                deed,
                self.untouched[deed]["verify"],
            )
        return self.untouched[deed]

    def _keep_subscriptions(self) -> None:
        self.desk.subscriptions = (self.desk.directory / "subscriptions.csv").read_text()

    def _projects(self, organization: str) -> list[dict[str, object]]:
        return self.desk.neon.fleet(organization).projects

    def _files(self) -> list[tuple[str, str]]:
        """What is written for people, with its hash; workbooks and pages tell the moment that they were made at."""
        home = self.desk.directory
        found = [*(home / "var" / "reports").rglob("*.csv"), *home.glob("*.csv")]
        return sorted((str(path.relative_to(home)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in found)


def _pretends(strike: Strike, ran: Ran) -> str:
    """Why the end of a struck command is none that it may have; empty where it may."""
    if strike.is_kill:
        is_over = strike.how == "instant" and ran.code == 0
        return "" if ran.code == -signal.SIGKILL or is_over else "was not killed"
    if ran.code == 0:
        return "" if strike.how.startswith("once") else "pretends"
    if ran.code == -signal.SIGABRT and strike.how.endswith(("FILE", "ENOMEM")):
        return ""  # the engine and polars end the process where they get no memory: as a kill would
    if ran.code not in (1, 3):
        return "no exit code of ours"
    if _CRASHED in ran.err or "metering: " not in ran.err:
        return "no sentence"
    return ""


def _polled(life: Striker, desk: Desk) -> None:
    desk.good("poll")


def _ticked(life: Striker, desk: Desk) -> None:
    ran = desk.run("tick")
    assert ran.code == 0, ran


def _answering(status: int) -> Callable[[Striker, Desk], None]:
    def ticked(life: Striker, desk: Desk) -> None:
        life.inbox.status = status
        try:
            _ticked(life, desk)
        finally:
            life.inbox.status = 200

    return ticked


def _voided(life: Striker, desk: Desk) -> None:
    desk.good("void", "INV-2026-000008", "--reason", "wrong street")


def _backed_up(life: Striker, desk: Desk) -> None:
    desk.run("backup", str(desk.directory / "made"))
    [made] = (desk.directory / "made").iterdir()
    made.rename(desk.directory / "backup")
    shutil.rmtree(desk.directory / "var")


def _restored(life: Striker, desk: Desk) -> None:
    assert desk.run("restore", str(desk.directory / "backup")).code == 0


STATES: dict[str, tuple[str, Callable[[Striker, Desk], None]]] = {
    "polled": ("read", _polled),
    "closed": ("read", _ticked),
    "voided": ("closed", _voided),
    "off": ("read", _answering(410)),
    "waiting": ("read", _answering(500)),
    "backed up": ("closed", _backed_up),
    "restored": ("backed up", _restored),
}
"""State -> the one before, and what happens then."""


@contextmanager
def platform(directory: Path) -> Iterator[Striker]:
    """Two organizations, three pages of projects, two quotas that are crossed, two endpoints; September is read."""
    with served(PlainNeon()) as neon, receiving() as inbox, stripe_served(PlainStripe()) as stripe:
        for organization in ("org-a", "org-b"):
            _peopled(neon.fleet(organization), organization)
            neon.counters[f"{organization}-calm-0"] = {**PERIOD, "written_data_bytes": 10}
        desk = Desk(
            directory=directory / "empty",
            neon=neon,
            now=BEFORE,
            organizations=("org-a", "org-b"),
            default_plan="pro",
            plans=PLANS,
            customers="customer,stripe_customer\n"
            + "".join(f"org-{name}-calm-{number},cus_{name}{number}\n" for name in "ab" for number in range(3)),
            subscriptions="project_id,customer,plan,valid_from,valid_to\norg-a-calm-2,org-a-calm-2,pro,2026-01-01,\n",
            more="".join(
                f'[[webhooks]]\nurl = "{inbox.url}{name}"\nsecret_env = "HOOK_SECRET"\nallow_private_network = true\n'
                for name in ("", "/second")
            )
            + '[schedule]\nfirst_month = "2026-09"\n'
            + f'[stripe]\nbase_url = "{stripe.url}"\nsecret_env = "STRIPE_SECRET"\n',
        )
        desk.environment |= {"HOOK_SECRET": SECRET, "STRIPE_SECRET": STRIPE_SECRET}
        desk.directory.mkdir(parents=True)
        desk.write()
        shutil.copytree(desk.directory, directory / "read")
        desk.directory = directory / "read"
        desk.good("backfill")
        desk.good("close", "2026-08")  # the first close is a person's; the tick closes September
        for name in ("org-a", "org-b"):
            neon.counters[f"{name}-calm-0"]["written_data_bytes"] = 99
        assert desk.subscriptions is not None
        yield Striker(
            desk=desk,
            inbox=inbox,
            stripe=stripe,
            directory=directory,
            library=built(directory),
            fleets=deepcopy(neon.fleets),
            subscriptions=desk.subscriptions,
        )


def _peopled(fleet: Fleet, organization: str) -> None:
    fleet.page_size = 2
    for number in range(3):
        project = f"{organization}-calm-{number}"
        fleet.project(project, settings={"quota": {"written_data_bytes": 100}} if number == 0 else {})
        fleet.use(project, "2026-09-10", grain="daily", compute_unit_seconds=360_000 + number)
        for hour in (3, 4, 9):
            fleet.use(project, f"2026-10-05T{hour:02d}:00", compute_unit_seconds=3600 * hour + number)
    fleet.use(f"{organization}-calm-1", "2026-10-05T10:00", new_metric=1)


def memory() -> str | None:
    """A file system in memory where there is one: a killed process leaves to it just what it would leave to a disk."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def built(directory: Path) -> Path:
    """strike.c as a library."""
    library = directory / "strike.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library
