"""The house inspects itself: who may import whom, where floats, clocks and doors are, and how long things get.

Each rule stands here as data, and a failure says why the rule is there. To add a module, give it a layer.
"""

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
PACKAGE = TOP / "metering"

# From the ground up. A layer: what it is, its modules (the first part of their name), the layers it may import.
# Modules of one layer may import each other unless the layer says otherwise.
LAYERS: dict[str, tuple[str, set[str], set[str]]] = {
    "ground": (
        "words that all share; knows nothing of Neon, prices or stores",
        {
            "__init__",
            "errors",
            "period",
            "stop",
            "money",
            "legible",
            "files",
            "formulas",
            "ids",
            "localized",
            "config",
            "config_checks",
            "config_csv",
            "config_dashboard",
            "config_exports",
            "config_faults",
            "config_layers",
            "config_models",
            "config_patterns",
            "config_plans",
            "config_rows",
            "config_secret",
            "config_values",
        },
        set(),
    ),
    "nouns": (
        "pure: frames in, frames out; no file, no socket, no clock",
        {
            "meters",
            "legacy",
            "activity",
            "changes",
            "coverage",
            "counters",
            "known",
            "pages",
            "readable",
            "units",
            "usage",
            "ratecard",
            "rating",
            "rates",
            "bounds",
            "alone",
            "step",
            "usage_lines",
            "fee_lines",
            "price_lines",
            "quota",
            "quota_readings",
            "forecast",
            "quota_drift",
            "subscription_lines",
            "terms",
            "invoice",
            "invoice_sheet",
            "neon_invoice",
            "cost",
            "figures",
            "charts",
            "channels",
            "wording",
            "adjustment",
            "remainder",
            "discount",
            "tax",
            "tax_cuts",
            "tax_ids",
            "split",
            "parking",
            "causes",
            "explain_steps",
            "explain_bounds",
            "explain_cost",
            "explain_text",
            "report_data",
            "report_facts",
            "report_money",
            "report_tables",
            "report_changes",
            "report_watch",
            "report_paper",
            "blockers",
            "worth",
            "workbook",
        },
        {"ground"},
    ),
    "doors": (
        "the only ones that touch the network or the database; they know no arithmetic",
        {
            "neon",
            "caller",
            "budgets",
            "journal",
            "lock",
            "store",
            "mail",
            "notify",
            "stripe",
            "stripe_rows",
            "alarm_rows",
            "alert_rows",
            "change_rows",
            "invoice_rows",
            "retention_rows",
        },
        {"ground"},
    ),
    "ledger": (
        "journal and store kept equal: one code path for a live poll, a restart and a rebuild",
        {
            "checkpoint",
            "landing",
            "ledger",
            "history_rows",
            "inventory_rows",
            "page_rows",
            "rollup_rows",
            "row_keys",
            "sweep_rows",
            "uncounted_rows",
            "unread_rows",
        },
        {"ground", "nouns", "doors"},
    ),
    "verbs": (
        "read the doors, call the nouns, write the doors",
        {
            "account",
            "advice",
            "alarms",
            "alert",
            "firing",
            "recipients",
            "audit",
            "backtest",
            "backup",
            "check",
            "check_endpoints",
            "check_parties",
            "check_references",
            "close",
            "closed",
            "supplement",
            "readiness",
            "month_states",
            "schedule",
            "unbilled",
            "last_draft",
            "corrections",
            "explain",
            "explain_evidence",
            "explain_time",
            "paper",
            "plan_file",
            "export",
            "init",
            "month",
            "usage_document",
            "month_outlook",
            "month_profile",
            "month_usage",
            "month_report",
            "month_inventory",
            "neon_cost",
            "history",
            "intake",
            "poll",
            "project_list",
            "quota_forecast",
            "quota_status",
            "quotas",
            "rated_month",
            "reconcile",
            "report",
            "documents",
            "templates",
            "typeset",
            "retention",
            "thrift",
            "unit_check",
            "upgrade",
        },
        {"ground", "nouns", "doors", "ledger"},
    ),
    "sandbox": (
        "somebody else's server: it must not share a mistake with the client that it rehearses",
        {"sandbox", "receiver"},
        {"ground"},
    ),
    "schedule": (
        "what is due at a moment: verbs put together into jobs, their service and their rehearsal",
        {
            "cycle",
            "listener",
            "logs",
            "metrics",
            "rehearse",
            "rehearse_customers",
            "rehearse_files",
            "service",
            "stall",
            "status",
            "web",
        },
        {"ground", "nouns", "doors", "ledger", "verbs", "sandbox"},
    ),
    "command": (
        "argv, the real clock, exit codes",
        {"cli", "__main__"},
        {"ground", "nouns", "doors", "ledger", "verbs", "sandbox", "schedule"},
    ),
}

# One import against the layers, with the reason why it is none in spirit.
EXCEPTIONS = {
    ("neon", "pages"): "parse is the pure half of this door",
    ("neon", "readable"): "parse is the pure half of this door",
}

# The packages that only some may import, and why.
GUARDED = {
    "httpx": ({"neon", "notify", "stripe"}, "the network has three doors"),
    "smtplib": ({"mail"}, "mail has one door"),
    "requests": (set(), "httpx is the client here"),
    "duckdb": (
        {"store", "alarm_rows", "alert_rows", "change_rows", "invoice_rows", "retention_rows", "stripe_rows"},
        "the database has one door; projections run behind it",
    ),
    "uvicorn": ({"sandbox", "web", "rehearse", "listener"}, "only what serves starts a server"),
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

# Money, prices and usage: exact or not at all.
EXACT = {
    "money",
    "meters",
    "usage",
    "ratecard",
    "rating",
    "rates",
    "bounds",
    "alone",
    "step",
    "usage_lines",
    "fee_lines",
    "price_lines",
    "quota",
    "quota_readings",
    "quota_drift",
    "quota_forecast",
    "forecast",
    "month",
    "month_profile",
    "month_usage",
    "close",
    "adjustment",
    "discount",
    "corrections",
    "parking",
    "invoice",
    "invoice_sheet",
    "cost",
    "neon_cost",
    "advice",
    "units",
    "unit_check",
    "backtest",
    "causes",
    "explain",
    "explain_evidence",
    "explain_time",
    "explain_steps",
    "explain_bounds",
    "export",
    "figures",
    "neon_invoice",
    "reconcile",
    "report_facts",
    "report_money",
    "report_tables",
}
# Typed to the end: what comes in here is ours already.
NO_ANY = LAYERS["ground"][1] | {
    "meters",
    "ratecard",
    "rating",
    "rates",
    "bounds",
    "alone",
    "step",
    "fee_lines",
    "price_lines",
    "invoice",
    "tax",
    "split",
    "cost",
}

MOST_LINES_OF_A_FUNCTION = 50
MOST_LINES_OF_A_FILE = 500

MODULES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the house that a file belongs to: `sandbox` for metering/sandbox/fleet.py."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


PARTS = {part_of(module) for module in MODULES}


def layer_of(part: str) -> str | None:
    return next((name for name, (_, modules, _) in LAYERS.items() if part in modules), None)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a file, which is read, parsed and walked once for all tests."""
    return tuple(ast.walk(tree_of(path)))


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and full name of everything imported, also inside functions."""
    found: list[tuple[int, str]] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute, so that they can be read anywhere"
            found += ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    return tuple(found)


def imported_parts(path: Path) -> Iterator[tuple[int, str]]:
    """Line and part of the house of every import of our own."""
    for line, name in imports(path):
        package, _, rest = name.partition(".")
        if package == "metering":
            part = rest.partition(".")[0]
            yield line, part if part in PARTS else "__init__"


def place(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(TOP)}:{line}" if line else str(path.relative_to(TOP))


def test_every_module_has_a_layer():
    homeless = [place(path) for path in MODULES if layer_of(part_of(path)) is None]
    assert homeless == [], "give it a layer in LAYERS of tests/test_house.py"


def test_no_module_has_two_layers():
    modules = [module for _, names, _ in LAYERS.values() for module in names]
    assert sorted(modules) == sorted(set(modules))


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_imports_point_down_only(path):
    part = part_of(path)
    own = layer_of(part)
    if own is None:
        return
    what, _, below = LAYERS[own]
    wrong = [
        f"{place(path, line)} imports {imported} ({layer_of(imported)}), but {part} is of the {own}: {what}"
        for line, imported in imported_parts(path)
        if imported != part and layer_of(imported) not in {own, *below} and (part, imported) not in EXCEPTIONS
    ]
    assert wrong == []


def test_no_import_leads_back_to_where_it_came_from():
    arrows = {part_of(path): set() for path in MODULES}
    for path in MODULES:
        arrows[part_of(path)] |= {part for _, part in imported_parts(path) if part != part_of(path)}
    while leaves := {part for part, below in arrows.items() if not below & arrows.keys()}:
        arrows = {part: below for part, below in arrows.items() if part not in leaves}
    assert arrows == {}, "these import each other in a circle: cut it where one knows what it need not"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_only_doors_open_the_network_and_the_database(path):
    wrong = [
        f"{place(path, line)} imports {package}: {GUARDED[package][1]}"
        for line, package in ((line, name.partition(".")[0]) for line, name in imports(path))
        if package in GUARDED and part_of(path) not in GUARDED[package][0]
    ]
    assert wrong == []


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) not in READS_THE_CLOCK], ids=place)
def test_time_is_an_argument(path):
    wrong = []
    for node in nodes_of(path):
        if isinstance(node, ast.Attribute) and node.attr in WALL_CLOCK.get(_last_name(node.value), ()):
            wrong.append(place(path, node.lineno))
    wrong += [place(path, line) for line, name in imports(path) if name in {"time.time", "time.time_ns"}]
    assert wrong == [], "only the command line reads the wall clock; take `now` as a parameter"


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) in EXACT], ids=place)
def test_no_float_comes_near_money(path):
    wrong = []
    for node in nodes_of(path):
        is_named = isinstance(node, ast.Name) and node.id == "float"
        is_typed = isinstance(node, ast.Attribute) and node.attr in {"Float32", "Float64", "mean", "median"}
        is_literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
        if is_named or is_typed or is_literal:
            wrong.append(place(path, node.lineno))
    assert wrong == [], "money and usage are integers, Fraction or Decimal: a float is rounded before anyone decided to"


@pytest.mark.parametrize("path", [path for path in MODULES if part_of(path) in NO_ANY], ids=place)
def test_no_any_behind_the_doors(path):
    wrong = [place(path, line) for line, name in imports(path) if name == "typing.Any"]
    assert wrong == [], "what comes in was parsed already; say its type, or `object`"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_every_module_says_what_it_knows(path):
    assert ast.get_docstring(tree_of(path)), "begin with a docstring: what the file knows, and must not know"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_function_fits_on_a_screen(path):
    wrong = []
    for node in nodes_of(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MOST_LINES_OF_A_FUNCTION:
                wrong.append(f"{place(path, node.lineno)} {node.name}: {lines} lines")
    assert wrong == [], f"at most {MOST_LINES_OF_A_FUNCTION} lines: find the second thing that it does"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_file_is_one_room(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MOST_LINES_OF_A_FILE, "is there a room in it that wants a door of its own?"


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


SQL_FILES = sorted(path for folder in ("queries", "checks", "views") for path in (TOP / "sql" / folder).glob("*.sql"))


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
