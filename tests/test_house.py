"""The house inspects itself: floors, faces, doors, purity, sizes, and where floats, clocks and SQL may be.

Each rule is data, and a failure says why the rule is there. A new package needs a floor in
tests/support/architecture.py. Lists of exceptions state a reason and may only become shorter.
"""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.architecture import (
    FLOOR_OF,
    MODULES,
    PACKAGE,
    PAGE,
    PATH_OF,
    TOP,
    drawn,
    imports,
    in_a_circle,
    longest_chain,
    name_of,
    nodes_of,
    own_imports,
    package_of,
    tree_of,
)

# The packages that only some may import, and why.
DOORS = {
    "httpx": ({"neon", "alerts", "export"}, "the network has three doors: Neon, webhooks, Stripe"),
    "smtplib": ({"alerts"}, "mail has one door"),
    "requests": (set(), "httpx is the client here"),
    "duckdb": ({"store"}, "the database has one door"),
    "uvicorn": ({"sandbox", "web"}, "only what serves starts a server"),
    "click": ({"cli"}, "only the command line reads argv"),
    "apscheduler": ({"service"}, "the scheduler only wakes us"),
    "sqlite3": (set(), "DuckDB is the index, the journal the truth"),
}

WALL_CLOCK = {
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
    "time": {"time", "time_ns", "localtime", "gmtime"},
}
READS_THE_CLOCK = {"cli", "sandbox"}

# Where a float is no money, no price and no usage.
HAS_FLOATS = {
    "metering.alerts.address_order": "seconds of a timeout",
    "metering.alerts.mail": "seconds of a timeout",
    "metering.core.deadline": "seconds of a wait",
    "metering.core.http": "seconds of a wait",
    "metering.core.ids": "likeness of two names",
    "metering.core.stop": "seconds of a wait",
    "metering.core.values": "refuses floats, so it names them",
    "metering.neon.budget": "seconds and rates of requests",
    "metering.neon.client": "seconds and rates of requests",
    "metering.sandbox.inventory": "sizes and seconds of the made-up server",
    "metering.sandbox.server": "sizes and seconds of the made-up server",
    "metering.service.notify": "seconds between signs of life",
    "metering.service.run": "seconds until the next slot",
    "metering.service.telling": "seconds of a pause",
    "metering.service.wiring": "names the monotonic clock",
    "metering.store.lock": "seconds of a wait",
    "metering.web.server": "seconds of a wait",
}
# Packages that are typed to the end: what comes in there is ours already.
NO_ANY = {"core", "config"}
NO_ANY_MODULES = {
    "metering.analysis",
    "metering.analysis.causes",
    "metering.analysis.neon_invoice",
    "metering.analysis.plan_file",
    "metering.analysis.price_lines",
    "metering.billing",
    "metering.billing.cost",
    "metering.billing.knowledge",
    "metering.billing.month",
    "metering.billing.projects",
    "metering.billing.unbilled_usage",
    "metering.billing.weeks",
    "metering.invoicing",
    "metering.invoicing.alarms",
    "metering.invoicing.amending.voiding",
    "metering.invoicing.close",
    "metering.invoicing.closing",
    "metering.invoicing.lines.adjustment",
    "metering.invoicing.lines.assembly",
    "metering.invoicing.lines.discount",
    "metering.invoicing.lines.fees",
    "metering.invoicing.lines.rates",
    "metering.invoicing.lines.tax",
    "metering.invoicing.lines.tax_cuts",
    "metering.invoicing.printed.documents",
    "metering.invoicing.printed.printable",
    "metering.invoicing.printed.printing",
    "metering.invoicing.rated_month",
    "metering.invoicing.readiness",
    "metering.invoicing.unbilled_sums",
    "metering.ledger",
    "metering.ledger.alarms",
    "metering.ledger.projections",
    "metering.ledger.projections.alarms",
    "metering.ledger.projections.alerts",
    "metering.ledger.projections.changes",
    "metering.ledger.projections.cycles",
    "metering.ledger.projections.history",
    "metering.ledger.projections.history_pages",
    "metering.ledger.projections.keys",
    "metering.ledger.projections.pages",
    "metering.ledger.projections.quota_changes",
    "metering.ledger.projections.retention",
    "metering.ledger.projections.rollup",
    "metering.ledger.projections.stripe",
    "metering.ledger.projections.walks",
    "metering.neon",
    "metering.neon.budget",
    "metering.neon.client",
    "metering.neon.endpoints",
    "metering.neon.parse_history",
    "metering.neon.parse_projects",
    "metering.neon.readable",
    "metering.neon.refusals",
    "metering.neon.session",
    "metering.neon.walk",
    "metering.neon.wire",
    "metering.operations",
    "metering.operations.metrics",
    "metering.operations.retention",
    "metering.operations.schedule",
    "metering.polling",
    "metering.polling.cycle",
    "metering.polling.shares",
    "metering.polling.sweeps",
    "metering.polling.wanted",
    "metering.quotas",
    "metering.quotas.crossings",
    "metering.quotas.forecasts",
    "metering.quotas.readings",
    "metering.quotas.rows",
    "metering.quotas.status",
    "metering.rating",
    "metering.rating.alone",
    "metering.rating.bounds",
    "metering.rating.card",
    "metering.rating.charges",
    "metering.rating.columns",
    "metering.rating.exact",
    "metering.rating.models",
    "metering.rating.pieces",
    "metering.rating.pools",
    "metering.rating.runs",
    "metering.rating.segments",
    "metering.rating.step",
    "metering.rating.unbilled",
    "metering.rating.validation",
    "metering.rendering",
    "metering.rendering.figures",
    "metering.rendering.localized",
    "metering.rendering.tables",
    "metering.store",
    "metering.store.backup",
    "metering.store.lock",
    "metering.store.migrations",
    "metering.store.snapshots",
    "metering.usage",
    "metering.usage.attribution",
    "metering.usage.certification",
    "metering.usage.coverage",
    "metering.usage.existence",
    "metering.usage.forecast",
    "metering.usage.known",
    "metering.usage.quantities",
    "metering.usage.units",
    "metering.usage.windows",
}
TYPED_PACKAGES = {"rating", "billing", "invoicing", "quotas"}
UNTYPED_SIGNATURES: dict[str, tuple[int, str]] = {}
"""Public functions and methods that take or return plain dictionaries, per module: until documents are typed."""

MOST_LINES_OF_A_FUNCTION = 40
LONG_FUNCTIONS = {}
MOST_LINES_OF_A_FILE = 300
LONG_FILES: dict[str, tuple[int, str]] = {}
MOST_MEMBERS_OF_A_CLASS = 12
WIDE_CLASSES: dict[str, tuple[int, str]] = {}
SQL_IN_PYTHON = {
    "metering.explain.evidence": (2, "temporary tables before two of ours: their names are put together"),
    "metering.operations.rebuild": (1, "a checkpoint of the database, which is no statement about rows"),
}
"""Statements that are run outside the store, per module."""

MOST_NAMES_OF_A_FACE = 15
LONGEST_CHAIN = 18
"""Modules on the longest way down by import statements; it may only become shorter."""

UNCHECKED = {"metering", "metering.__main__"}
"""The version, and what starts the command line: they belong to no floor."""


def place(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(TOP)}:{line}" if line else str(path.relative_to(TOP))


def package(path: Path) -> str:
    return package_of(name_of(path))


def wrong_numbers(found: dict[str, int], allowed: dict[str, tuple[int, str]], most: int = 0) -> list[str]:
    """What is above the limit, or above its exception; and exceptions that are needed no more."""
    above = [f"{name}: {number}" for name, number in found.items() if number > allowed.get(name, (most, ""))[0]]
    idle = [f"{name} needs no exception" for name in allowed if found.get(name, 0) <= most]
    return above + idle


# -- floors and faces


def test_every_module_is_in_a_package_of_the_house():
    homeless = [name for name in PATH_OF if not package_of(name) and name not in UNCHECKED]
    assert homeless == [], "give its package a floor in tests/support/architecture.py"


def test_no_folder_of_the_house_is_missing():
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders == set(FLOOR_OF)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_go_down_a_floor_or_stay_in_the_package(path):
    if name_of(path) in UNCHECKED:
        return
    own = package(path)
    wrong = [
        f"{place(path, line)} imports {module}, which is on floor {FLOOR_OF[package_of(module)]}"
        for line, module, _ in own_imports(path)
        if package_of(module) not in {own, ""} and FLOOR_OF[package_of(module)] >= FLOOR_OF[own]
    ]
    assert wrong == [], f"{own} is on floor {FLOOR_OF[own]}, and packages on a floor do not know each other"


def test_the_sandbox_knows_only_core():
    wrong = [
        f"{place(path, line)} imports {module}"
        for path in MODULES
        if package(path) == "sandbox"
        for line, module, _ in own_imports(path)
        if package_of(module) not in {"sandbox", "core", ""}
    ]
    assert wrong == [], "somebody else's server must not share a mistake with the client that it rehearses"


def test_no_import_leads_back_to_where_it_came_from():
    assert in_a_circle() == {}, "these import each other in a circle: cut it where one knows what it need not"


def test_the_longest_way_down_becomes_no_longer():
    chain = longest_chain()
    print(f"{len(chain)} modules:", *chain, sep="\n  ")
    assert len(chain) <= LONGEST_CHAIN, " -> ".join(chain)


def test_a_month_is_rated_without_the_network_and_without_the_configuration():
    modules = sorted(name for name in PATH_OF if package_of(name) in {"billing", "rating", "usage"})
    unwanted = "name for name in sys.modules if name.startswith(('httpx', 'metering.config'))"
    code = f"import sys, {', '.join(modules)}\nprint(*({unwanted}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TOP).stdout
    assert loaded.split() == [], "who rates a month loads neither the poller nor the files"


def face(name: str) -> list[str]:
    """The names in a package's `__all__`."""
    for node in tree_of(PACKAGE / name / "__init__.py").body:
        if isinstance(node, ast.Assign) and any(_last_name(target) == "__all__" for target in node.targets):
            return list(ast.literal_eval(node.value))
    return []


ROOMS = ("invoicing/amending", "invoicing/lines", "invoicing/printed")
"""Packages inside a package that have a face of their own."""


@pytest.mark.parametrize("name", sorted({*FLOOR_OF, *ROOMS} - {"core"}))
def test_a_package_has_a_face_of_few_sorted_names(name):
    names = face(name)
    assert 0 < len(names) <= MOST_NAMES_OF_A_FACE, "a deep module has a narrow door"
    assert names == sorted(names)


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_packages_use_each_other_through_their_faces(path):
    wrong = []
    for line, _, name in own_imports(path):
        other = package_of(name)
        if other in {package(path), "core", ""}:
            continue
        names = name.split(".")[2:]
        room = "/".join([other, *names[:1]])
        is_open = names[:1] and names[0] in face(other) and (room not in ROOMS or set(names[1:2]) <= set(face(room)))
        if not is_open or any(part.startswith("_") for part in names):
            wrong.append(f"{place(path, line)} imports {name}")
    assert wrong == [], "what others may use is in `__all__` of the package; the rest may change at any time"


def test_the_drawing_of_the_architecture_is_what_the_imports_say():
    page = PAGE.read_text(encoding="utf-8")
    assert drawn(page) == page, "draw it anew: python -m tests.support.architecture"


# -- doors, clocks, floats, types


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_doors_open_the_network_and_the_database(path):
    wrong = [
        f"{place(path, line)} imports {other}: {DOORS[other][1]}"
        for line, other in ((line, name.partition(".")[0]) for line, name in imports(path))
        if other in DOORS and package(path) not in DOORS[other][0]
    ]
    assert wrong == []


IMPURE_IMPORTS = {*DOORS, "os", "socket", "subprocess", "tempfile"}
IMPURE_PACKAGES = {"store", "ledger", "polling", "service"}
IMPURE_CALLS = {"read_text", "read_bytes", "write_text", "write_bytes", "open", "unlink", "mkdir"}
PURE = [path for path in MODULES if re.search(r"\bPure\b(?! but)", ast.get_docstring(tree_of(path)) or "")]


@pytest.mark.parametrize("path", PURE, ids=place)
def test_what_calls_itself_pure_touches_no_world(path):
    wrong = [place(path, line) for line, name in imports(path) if name.partition(".")[0] in IMPURE_IMPORTS]
    wrong += [
        f"{place(path, line)} imports {module}"
        for line, module, _ in own_imports(path)
        if package_of(module) in IMPURE_PACKAGES
    ]
    wrong += [
        place(path, node.lineno)
        for node in nodes_of(path)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute | ast.Name)
        and _last_name(node.func) in IMPURE_CALLS
    ]
    assert wrong == [], "a pure module gets values and returns values: read and write in the verb that calls it"


@pytest.mark.parametrize("path", [path for path in MODULES if package(path) not in READS_THE_CLOCK], ids=place)
def test_time_is_an_argument(path):
    wrong = []
    for node in nodes_of(path):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCK.get(_last_name(node.value), ()):
            wrong.append(place(path, node.lineno))
    wrong += [place(path, line) for line, name in imports(path) if name in {"time.time", "time.time_ns"}]
    assert wrong == [], "only the command line reads the wall clock; take `now` as a parameter"


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) not in HAS_FLOATS], ids=place)
def test_no_float_comes_near_money(path):
    wrong = []
    for node in nodes_of(path):
        is_named = isinstance(node, ast.Name) and node.id == "float"
        is_typed = isinstance(node, ast.Attribute) and node.attr in {"Float32", "Float64", "mean", "median"}
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        if is_named or is_typed or is_literal:
            wrong.append(place(path, node.lineno))
    assert wrong == [], "money and usage are integers, Fraction or Decimal: a float is rounded before anyone decided to"


TYPED = [path for path in MODULES if package(path) in NO_ANY or name_of(path) in NO_ANY_MODULES]


@pytest.mark.parametrize("path", [path for path in TYPED if name_of(path) != "metering.core.rows"], ids=place)
def test_no_any_behind_the_doors(path):
    wrong = [place(path, line) for line, name in imports(path) if name == "typing.Any"]
    assert wrong == [], "what comes in was parsed already; say its type, or `object`"


def untyped_signatures(path: Path) -> int:
    """Public functions and methods whose signature has `Any`, `Json` or `Row`."""
    loose = {"Any", "Json", "Row", "Table"}
    return sum(
        1
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        if any(
            _last_name(part) in loose for hint in _hints(node) for part in ast.walk(hint) if isinstance(part, ast.expr)
        )
    )


def _hints(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.expr]:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [hint for hint in (node.returns, *(one.annotation for one in every)) if hint is not None]


def test_what_is_billed_is_typed():
    found = {name_of(path): untyped_signatures(path) for path in MODULES if package(path) in TYPED_PACKAGES}
    assert wrong_numbers(found, UNTYPED_SIGNATURES) == [], "a document that travels between packages is a struct"


def test_sql_is_in_sql_files():
    found = {
        name_of(path): sum(
            1
            for node in nodes_of(path)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in {"execute", "executemany", "sql"}
        )
        for path in MODULES
        if package(path) != "store"
    }
    assert wrong_numbers(found, SQL_IN_PYTHON) == [], "a statement is a file in sql/, so that it can be run by hand"


TEXT_FILES = {"read_text": 0, "write_text": 1}
"""Call -> the number of arguments before its encoding."""


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_text_file_is_utf_8_whatever_the_locale(path):
    wrong = []
    for node in nodes_of(path):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute | ast.Name):
            continue
        name, given = _last_name(node.func), {keyword.arg for keyword in node.keywords}
        if name in TEXT_FILES and "encoding" not in given and len(node.args) <= TEXT_FILES[name]:
            wrong.append(place(path, node.lineno))
        modes = [str(part.value) for part in node.args if isinstance(part, ast.Constant)]
        is_text = any(re.fullmatch(r"[rwax]\+?t?", mode) for mode in modes)
        if name in {"open", "fdopen", "NamedTemporaryFile"} and is_text and "encoding" not in given:
            wrong.append(place(path, node.lineno))
    assert wrong == [], "say encoding='utf-8': without it the file is in the encoding of the machine's locale"


# -- sizes and words


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_every_module_says_what_it_knows(path):
    assert ast.get_docstring(tree_of(path)), "begin with a docstring: what the file knows, and must not know"


def test_a_function_fits_on_a_screen():
    found = {
        f"{name_of(path)}.{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    wrong = wrong_numbers(found, LONG_FUNCTIONS, MOST_LINES_OF_A_FUNCTION)
    assert wrong == [], f"at most {MOST_LINES_OF_A_FUNCTION} lines: find the second thing that it does"


def test_a_file_is_one_room():
    found = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    wrong = wrong_numbers(found, LONG_FILES, MOST_LINES_OF_A_FILE)
    assert wrong == [], "is there a room in it that wants a door of its own?"


def test_a_class_has_few_public_members():
    found = {
        f"{name_of(path)}.{node.name}": sum(
            1
            for member in node.body
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef) and not member.name.startswith("_")
        )
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef)
    }
    wrong = wrong_numbers(found, WIDE_CLASSES, MOST_MEMBERS_OF_A_CLASS)
    assert wrong == [], "a class with many members is several"


def test_no_file_cites_a_paper_that_is_not_here():
    cites = re.compile(r"\b(contract|facts) (section )?\d")
    wrong = [
        place(path, text[: found.start()].count("\n") + 1)
        for path, text in texts()
        if path.relative_to(TOP).parts[0] in {"metering", "sql", "reports"} and "migrations" not in path.parts
        for found in cites.finditer(text)
    ]
    assert wrong == [], "say the rule itself: its reader has only this repository"


def test_names_say_what_a_thing_is():
    empty = re.compile(r"(Manager|Service|Helper|Utils?|Handler)$")
    wrong = [
        f"{place(path, node.lineno)} {node.name}"
        for path in MODULES
        for node in nodes_of(path)
        if isinstance(node, ast.ClassDef) and empty.search(node.name)
    ]
    wrong += [place(path) for path in MODULES if re.search(r"util|helper|common|misc", path.stem)]
    assert wrong == [], "a name without meaning hides a thing that has one"


SQL_FILES = sorted(
    path for folder in ("queries", "writes", "checks", "views") for path in (TOP / "sql" / folder).rglob("*.sql")
)


@pytest.mark.parametrize("path", SQL_FILES, ids=place)
def test_a_sql_file_holds_one_statement(path):
    assert len(statements(path.read_text(encoding="utf-8"))) == 1, "one statement per file; the file's name is its name"


def statements(sql: str) -> list[str]:
    """The statements of a text, without comments and with quoted text emptied."""
    bare = re.sub(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'", "", sql, flags=re.DOTALL)
    return [statement for statement in bare.split(";") if statement.strip()]


def test_statements_are_counted_without_comments_and_quoted_text():
    assert len(statements("-- one; two\nselect ';' as a /* ; */ ;\n")) == 1
    assert len(statements("select 1; select 2")) == 2


@pytest.mark.parametrize("path", SQL_FILES, ids=place)
def test_a_sql_file_says_why(path):
    assert path.read_text(encoding="utf-8").startswith("--"), "begin with a comment: which rows, and why"


def test_migrations_are_numbered_without_gaps():
    numbers = sorted(int(path.name[:4]) for path in (TOP / "sql" / "migrations").glob("*.sql"))
    assert numbers == list(range(1, len(numbers) + 1)), "a migration follows the one before it"


NOT_OURS = {".git", ".venv", "node_modules", "__pycache__", "var", "metering-demo", "build", "dist"}


def texts() -> Iterator[tuple[Path, str]]:
    """Every text file of the tree that is ours."""
    for path in sorted(TOP.rglob("*")):
        parts = set(path.relative_to(TOP).parts)
        is_cache = any(part.endswith(("_cache", ".egg-info")) or part == ".hypothesis" for part in parts)
        if path.is_file() and not path.is_symlink() and not parts & NOT_OURS and not is_cache:
            try:
                yield path, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_no_file_names_the_host_of_a_package_registry():
    hosts = ("pypi" + ".org", "python" + "hosted.org", "npm" + "js.org", "npm" + "js.com", "deb." + "debian")
    wrong = [f"{place(path)} names {host}" for path, text in texts() for host in hosts if host in text]
    assert wrong == [], "where packages come from is the installer's setting, not the project's"


LOCKS = ("requirements.lock", "requirements-dev.lock")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_has_hashes_and_no_addresses(lock):
    text = (TOP / lock).read_text(encoding="utf-8")
    entries = re.split(r"\n(?=[a-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    unhashed = [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry or "==" not in entry]
    assert unhashed == []
    assert "://" not in text


def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (TOP / lock).read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def test_the_lock_files_hold_what_the_project_names():
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
    names = lambda needs: {re.match(r"[A-Za-z0-9-]+", need)[0] for need in needs if isinstance(need, str)}  # noqa: E731
    needed, groups = project["project"], project["dependency-groups"]
    runs = names(needed["dependencies"]) | names(needed["optional-dependencies"]["einvoice"]) | names(groups["build"])
    assert runs - pins(LOCKS[0]).keys() == set(), "take it into the lock files with: make lock"
    assert (runs | names(groups["dev"])) - pins(LOCKS[1]).keys() == set(), "take it into the lock files with: make lock"


def test_what_is_checked_is_what_runs():
    runs, checks = (pins(lock) for lock in LOCKS)
    assert {name: checks.get(name) for name in runs} == runs, "the two lock files were made apart: make lock"


def test_nothing_is_left_open():
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX|NotImplemented" + r"Error)\b")
    folders = {"metering", "sql", "reports"}
    wrong = [
        place(path, text[: found.start()].count("\n") + 1)
        for path, text in texts()
        if path.relative_to(TOP).parts[0] in folders
        for found in words.finditer(text)
    ]
    assert wrong == [], "finish it, or leave it out"


def test_every_test_runs():
    wrong = [
        place(path, node.lineno)
        for path in sorted((TOP / "tests").rglob("*.py"))
        for node in nodes_of(path)
        if isinstance(node, ast.Attribute) and node.attr in {"skip", "x" + "fail"} and _last_name(node.value) == "mark"
    ]
    assert wrong == [], "a test that does not run promises what nobody checks"
