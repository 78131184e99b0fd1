"""The floors of the house, what imports what, and the drawing of both in docs/architecture.md.

    python -m tests.support.architecture

writes the drawing anew. Each file is parsed once.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

TOP = Path(__file__).parents[2]
PACKAGE = TOP / "metering"
PAGE = TOP / "docs" / "architecture.md"
BEGIN, END = "<!-- drawn by tests/support/architecture.py -->", "<!-- end of the drawing -->"

FLOORS = (
    ("core",),
    ("config", "neon", "rating", "rendering", "sandbox", "store", "usage"),
    ("billing", "ledger"),
    ("invoicing", "polling", "quotas"),
    ("alerts", "analysis", "explain", "export", "operations", "provisioning", "reporting"),
    ("service", "web"),
    ("cli",),
)
FLOOR_OF = {package: number for number, packages in enumerate(FLOORS, start=1) for package in packages}
MODULES = sorted(PACKAGE.rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


def name_of(path: Path) -> str:
    """The dotted name of a module: `metering.core.money`."""
    return ".".join(path.relative_to(TOP).with_suffix("").parts).removesuffix(".__init__")


PATH_OF = {name_of(path): path for path in MODULES}


def package_of(module: str) -> str:
    """The package under `metering` that a dotted name is in; empty for `metering` itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else ""


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and full name of everything imported, also inside functions."""
    found: list[tuple[int, str]] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute, so that they can be read anywhere"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return tuple(found)


def own_imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line, module and full name of every import of ours; the module is the file that is imported."""
    for line, name in imports(path):
        if name.partition(".")[0] == "metering":
            yield line, name if name in PATH_OF else name.rpartition(".")[0], name


def typed_only(path: Path) -> set[int]:
    """The lines of imports that only type checkers follow."""
    return {
        inner.lineno
        for node in nodes_of(path)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in node.body
    }


@cache
def arrows() -> dict[str, frozenset[str]]:
    """Module -> the modules that it loads, also inside functions."""
    return {
        name: frozenset(
            module
            for line, module, _ in own_imports(path)
            if module in PATH_OF and module != name and line not in typed_only(path)
        )
        for name, path in PATH_OF.items()
    }


def in_a_circle() -> dict[str, frozenset[str]]:
    """The modules that are left when those without an import of the others are taken away, again and again."""
    left = dict(arrows())
    while leaves := {name for name, below in left.items() if not below & left.keys()}:
        left = {name: below for name, below in left.items() if name not in leaves}
    return left


@cache
def longest_chain(module: str = "") -> tuple[str, ...]:
    """The longest way down by import statements, from a module or from any. Raises ValueError at a circle."""
    if not module and (circle := in_a_circle()):
        raise ValueError(f"these import each other in a circle: {', '.join(sorted(circle))}")
    below = arrows()[module] if module else arrows().keys()
    rest = max((longest_chain(other) for other in sorted(below)), key=len, default=())
    return (module, *rest) if module else rest


def packages_below(package: str) -> list[str]:
    """The packages that a package imports from, the highest floor first."""
    found = {
        package_of(module)
        for path in MODULES
        if package_of(name_of(path)) == package
        for _, module, _ in own_imports(path)
    }
    return sorted(found - {package, ""}, key=lambda name: (-FLOOR_OF[name], name))


def drawing() -> str:
    """The floors from the top down, and under them what each package imports from."""
    lines = [f"floor {number}   {'   '.join(f'{name}/' for name in FLOORS[number - 1])}" for number in range(7, 0, -1)]
    lines.append("")
    for floor in reversed(FLOORS):
        lines += [f"{name:13} -> {', '.join(packages_below(name)) or 'nothing of ours'}" for name in floor]
    return "\n".join(line.rstrip() for line in lines)


def drawn(page: str) -> str:
    """The page with the drawing as it is now."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n```text\n{drawing()}\n```\n{END}{after}"


def main() -> int:
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
