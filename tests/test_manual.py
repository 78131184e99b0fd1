"""Every console block of the manual comes out as it is printed."""

import re
import shutil
from pathlib import Path

import pytest

from tests.manual import ELSEWHERE, PAGES, RUN_BY_OTHERS, TOP, Reader, Step, comes_out_as, neon_is_there, steps

STEPS = [step for page in PAGES for step in steps(page)]
AT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/",
    "METERING_NOW": "2026-10-15T10:05:00Z",
    "METERING_CONFIG": "metering-demo/config.toml",
}


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    """Somebody who has typed `metering demo` and nothing else."""
    directory = tmp_path_factory.mktemp("manual")
    one = Reader(directory=directory, environment={"PATH": AT["PATH"], "HOME": AT["HOME"]})
    (directory / "demo.txt").write_text(one.types("metering demo"))
    return Reader(directory=directory, environment=AT)


@pytest.fixture
def changing(reader, tmp_path):
    """The same with a copy of the demo, which a page may change."""
    shutil.copytree(reader.directory / "metering-demo", tmp_path / "metering-demo")
    return Reader(directory=tmp_path, environment=AT)


def faulty_bounds(directory: Path) -> None:
    text = (directory / "metering-demo" / "config.toml").read_text()
    other = re.sub(r'base_url = ".*"', 'base_url = "http://neon.example.com/"\nmax_retries = 1000', text)
    (directory / "faulty.toml").write_text(other)
    shutil.copy(directory / "metering-demo" / "customers.csv", directory)


def faulty_prices(directory: Path) -> None:
    prices = (
        '[[plans.prices]]\nmeter = "compute"\nvalid_from = 2026-01-01\nmodel = "graduated"\n'
        'tiers = [{ up_to = "100", unit_price = "0.16" }, { up_to = "1000", unit_price = "0.12" }]\n'
        '[[plans.prices]]\nmeter = "storage"\nvalid_from = 2026-01-01\nmodel = "per_unit"\n'
    )
    plans = f'[[plans]]\nid = "pro"\nname = "Pro"\ncurrency = "USD"\n{prices}'
    organization = '[[organizations]]\nid = "org-a"\napi_key_env = "NEON_API_KEY"\n'
    (directory / "faulty.toml").write_text(f'{organization}[seller]\nname = "Acme"\n{plans}')


def faulty_rows(directory: Path) -> None:
    faulty_prices(directory)
    file = directory / "faulty.toml"
    text = file.read_text()
    sound = text.replace('up_to = "1000", ', "").replace('"per_unit"\n', '"per_unit"\nunit_price = "1"\n')
    file.write_text('[customers]\nsubscriptions = "subscriptions.csv"\n' + sound)
    (directory / "subscriptions.csv").write_text(
        "project_id,customer,plan,valid_from,valid_to\n"
        "calm-dawn-12345678,cust1,pro,2026-01-01,\ncalm-sky-12345678,cust2,por,2026-01-01,\n"
        "calm-sea-12345678,cust2,pro,2026-01-01,\ncalm-dawn-12345678,cust1,pro,2026-03-01,\n"
    )


FAULTY = {
    ("configuration.md", 0): faulty_bounds,
    ("configuration.md", 1): faulty_prices,
    ("configuration.md", 2): faulty_rows,
}
"""(page, block) -> what writes the configuration that the text around the block shows."""


def other_plans(directory: Path) -> None:
    """new.toml: the demo's plans, with 6.00 for Starter."""
    text = (directory / "metering-demo" / "config.toml").read_text()
    plans = text[text.index("[[plans]]") :].replace('base_fee = "5.00"', 'base_fee = "6.00"')
    (directory / "new.toml").write_text(plans)


@pytest.mark.parametrize("page", sorted({step.page for step in STEPS if step.is_run}))
def test_every_command_of_a_page_prints_what_stands_under_it(page, reader, changing):
    other_plans(reader.directory)
    wrong: list[str] = []
    with neon_is_there(changing.directory / "metering-demo" / "config.toml"):
        for step in (step for step in STEPS if step.page == page and step.is_run):
            shown = run(step, reader, changing)
            if not comes_out_as(step.printed, shown):
                wrong.append("\n".join([f"$ {step.command}", *shown.splitlines()[:15]]))
    assert not wrong, "\n".join(wrong)


def run(step: Step, reader: Reader, changing: Reader) -> str:
    if write := FAULTY.get((step.page, step.block)):
        write(changing.directory)
        return Reader(directory=changing.directory, environment={**AT, "METERING_CONFIG": "faulty.toml"}).types(
            step.command
        )
    online = step.is_changing or step.program == "metering check"
    return (changing if online else reader).types(step.command)


def test_the_readme_shows_what_the_demo_prints(reader):
    (step,) = (step for step in STEPS if step.page == "README.md" and step.command == "make demo")
    printed = (reader.directory / "demo.txt").read_text()
    assert comes_out_as(step.printed, printed.replace(f"{reader.directory}/", ""))


def test_every_command_that_is_not_run_has_a_reason():
    left = {step.program for step in STEPS if not step.is_run and step.page not in RUN_BY_OTHERS}
    assert left <= ELSEWHERE.keys()
    assert {step.program for step in STEPS if step.program in ELSEWHERE} == ELSEWHERE.keys(), "a reason too many"
    assert RUN_BY_OTHERS.keys() <= {page.name for page in PAGES}
    named = re.findall(r"tests/\w+(?:\.py|/)", " ".join([*ELSEWHERE.values(), *RUN_BY_OTHERS.values()]))
    assert all((TOP / name).exists() for name in named), named


@pytest.mark.parametrize(
    ("printed", "output", "agrees"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n", "a\nb\n", False),
        ("a\n…\n", "a\nb\nc\n", True),
        ("a\n…\nd\n", "a\nd\n", True),
        ("a\n…\nd\n", "a\nb\nc\n", False),
        ("a … c\n", "a 12 c\n", True),
        ("a … c\n", "a 12 d\n", False),
        ("a.c\n", "abc\n", False),
        ("", "", True),
        ("", "a\n", False),
        ("a  \n\n", "a\n", True),
    ],
)
def test_an_ellipsis_stands_for_anything_and_nothing_else_does(printed, output, agrees):
    assert comes_out_as(printed, output) is agrees
