"""Roles: a viewer sees no cost and no margin in any page, file, search, API answer or error; finance sees all."""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import httpx
import pytest

from metering.config import read
from metering.config.dashboard import DashboardConfig
from metering.core.errors import ConfigError, MeteringError
from metering.core.roles import RIGHTS, ROLES, Person
from metering.core.secrets import Secret
from metering.invoicing.blockers import Reason
from metering.ledger.ledger import open_ledger
from metering.rendering.columns import is_cost
from metering.service.tick import announce_blocked
from metering.web import api, openapi, withheld
from metering.web.app import application, every_page
from metering.web.desk import Desk, Page
from metering.web.guard import Access
from metering.web.persons import Token
from metering.web.problems import told_to
from metering.web.server import Listener
from metering.web.views import Views
from tests.support import web_world

VIEWER, FINANCE, OPERATOR, BOTH = ROLES[0], ROLES[1], ROLES[2], "finance and operator"
TOKENS = {name: f"a-token-of-{name}-0123456789" for name in (VIEWER, FINANCE, OPERATOR)}
MARKUP = """
[[plans.prices]]
meter = "private_transfer"
valid_from = 2026-01-01
model = "cost_plus"
markup_percent = "37.125"
"""
PAYER, PROJECT = web_world.customer(20), web_world.PROJECTS[20]
TELLS = re.compile(r"(?<![a-z])(costs?|margins?|markups?)(?![a-z])|neon charges", re.IGNORECASE)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """With a price that follows Neon's cost, and an alert that tells what a month that does not close costs."""
    found = web_world.lived_in(tmp_path_factory.mktemp("world"), MARKUP, transfer=987_654_321_987)
    with open_ledger(found.store.directory, lambda: web_world.NOW) as ledger:
        reason = Reason(kind="gaps", what="hours are not known", way_out="poll", projects=("a",), neon_cost="77.31")
        announce_blocked(ledger, found, web_world.SEPTEMBER, [reason], web_world.NOW)
    return found


@dataclass
class Site:
    """One server, asked by persons of several roles."""

    address: str
    by: dict[str, httpx.Client] = field(default_factory=dict)

    def get(self, role: str, address: str) -> httpx.Response:
        return self.by[role].get(address)


@pytest.fixture(scope="module")
def site(world) -> Iterator[Site]:
    tokens = [
        Token(secret=Secret(text), person=Person(name=name, roles=frozenset({name}))) for name, text in TOKENS.items()
    ]
    views = Views(lambda: world, lambda: web_world.NOW)
    desk = Desk(views, Access(tokens=tuple(tokens)), clock=lambda: web_world.NOW)
    with Listener(application(desk), "127.0.0.1:0") as server:
        found = Site(server.address)
        for name, text in TOKENS.items():
            login = {"authorization": f"Bearer {text}"}
            found.by[name] = httpx.Client(base_url=f"http://{server.address}", timeout=60, headers=login)
        yield found
        for client in found.by.values():
            client.close()


def links(text: str) -> set[str]:
    return {html.unescape(found) for found in re.findall(r'(?:href|action|hx-get)="(/[^"]*)"', text)}


@pytest.fixture(scope="module")
def addresses(site) -> list[str]:
    """Every shape of address that finance can reach, two of each, and each list as files."""
    seen: dict[str, int] = {}
    shapes: dict[str, int] = {}
    api_paths = [f"/api{path}" for path in api.ANSWERS]
    waiting = [f"/explain?customer={PAYER}&month=2026-10&line={line}" for line in range(1, 5)]
    waiting += ["/?month=2026-09", *(page.path for page in every_page() if not page.is_by_link), *api_paths]
    waiting += [f"/api/explain?number={PAYER}&month=2026-10&line={line}" for line in range(1, 5)]
    waiting += ["/api/invoice?number=INV-2026-000001", f"/invoice?customer={PAYER}&month=2026-10"]
    waiting += [f"/customer?id={PAYER}", f"/project?id={PROJECT}"]
    while waiting:
        address = waiting.pop(0)
        shape = re.sub(r"=[^&]*", "=", address)
        if address in seen or shapes.get(shape, 0) >= 4 or address.startswith(("/alerts/resend", "/static")):
            continue
        shapes[shape] = shapes.get(shape, 0) + 1
        answer = site.get(FINANCE, address)
        seen[address] = answer.status_code
        if "html" in answer.headers["content-type"]:
            waiting += sorted(links(answer.text))
    return sorted(seen)


def figures_of(node: object, *, is_told: bool = False) -> Iterator[tuple[bool, str]]:
    """Every text of a document, and whether it is cost or margin by a name above it."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from figures_of(value, is_told=is_told or is_cost(name))
    elif isinstance(node, list):
        for value in node:
            yield from figures_of(value, is_told=is_told)
    elif isinstance(node, str):
        yield is_told, node


def names_of(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from node
        for value in node.values():
            yield from names_of(value)
    elif isinstance(node, list):
        for value in node:
            yield from names_of(value)


@pytest.fixture(scope="module")
def secret_figures(site) -> set[str]:
    """What only finance may see: figures that stand nowhere else."""
    asked = [
        "overview",
        "customers",
        "projects",
        "invoices",
        "status",
        "plans",
        f"explain?number={PAYER}&month=2026-10",
    ]
    asked += [f"explain?number={PAYER}&month=2026-10&line={line}" for line in range(1, 5)]
    told = [pair for path in asked for pair in figures_of(site.get(FINANCE, f"/api/{path}").json())]
    open_ones = {text for is_secret, text in told if not is_secret}
    found = {text for is_secret, text in told if is_secret and re.fullmatch(r"-?[0-9.]{6,}", text)} - open_ones
    assert {"9.87654321987"} < found and len(found) > 4
    return found


def words(answer: httpx.Response) -> str:
    """What an answer says, without style sheets' names and markup."""
    if "html" in answer.headers["content-type"]:
        return html.unescape(re.sub(r"<[^>]*>", " ", answer.text))
    return answer.text if "sheet" not in answer.headers["content-type"] else ""


def test_a_viewer_sees_no_cost_and_no_margin_anywhere(site, addresses, secret_figures):
    assert len(addresses) > 100
    shown = 0
    for address in addresses:
        answer = site.get(VIEWER, address)
        told = words(answer)
        assert TELLS.search(told) is None, (address, TELLS.search(told))
        assert secret_figures.isdisjoint(re.findall(r"-?[0-9][0-9.]*", told.replace(",", ""))), address
        assert "37.125" not in told, address
        if "json" in answer.headers["content-type"]:
            assert [name for name in names_of(answer.json()) if is_cost(name)] == [], address
        same = site.get(FINANCE, address).status_code
        is_refused = answer.status_code == 403
        assert answer.status_code == same or is_refused or address.startswith("/page"), address
        shown += answer.status_code == 200
    assert shown > 90


def test_finance_and_only_finance_sees_them(site, secret_figures):
    for address in ("/", "/customers", "/api/overview", "/customers?format=csv", "/api/openapi.json"):
        assert TELLS.search(words(site.get(FINANCE, address))) is not None, address
        assert TELLS.search(words(site.get(OPERATOR, address))) is None, address
    found = words(site.get(FINANCE, "/api/overview"))
    assert not secret_figures.isdisjoint(re.findall(r"-?[0-9][0-9.]*", found))


def test_a_viewer_cannot_order_search_or_download_by_what_is_not_shown(site, secret_figures):
    plain = site.get(VIEWER, "/customers?format=json").json()["rows"]
    for asked in ("sort=neon_cost", "sort=-margin", "neon_cost=1"):
        assert site.get(VIEWER, f"/customers?format=json&{asked}").json()["rows"] == plain
    for figure in sorted(secret_figures)[:20]:
        assert site.get(VIEWER, f"/customers?format=json&q={figure}").json()["rows"] == []
    alerts = site.get(VIEWER, "/alerts?format=json&q=77.31").json()["rows"]
    assert alerts == [] and len(site.get(FINANCE, "/alerts?format=json&q=77.31").json()["rows"]) == 1
    assert b"argin" not in site.get(VIEWER, "/customers?format=xlsx").content


def test_a_viewer_is_told_what_stops_a_month_without_what_it_costs(site):
    blocked = next(row for row in site.get(VIEWER, "/api/alerts").json()["alerts"] if row["type"] == "close.blocked")
    assert blocked["summary"] == withheld.WITHHELD


def test_other_plans_are_tried_only_by_whoever_sees_cost(site):
    tried = "/plans?plans=" + "id"
    assert (site.get(VIEWER, tried).status_code, site.get(FINANCE, tried).status_code) == (403, 400)
    assert "What if the prices were others" not in site.get(VIEWER, "/plans").text
    assert "Pro" in site.get(VIEWER, "/plans").text


def test_a_page_that_does_not_say_what_it_needs_is_not_shown_to_a_viewer():
    assert Page(path="/new", answer=lambda _desk, _request: None).needs == "cost"
    assert "cost" not in RIGHTS["viewer"] | RIGHTS["operator"]
    assert api.needs("/new") == "cost"
    assert {f"/api{path}" for path in api.SEEN_BY_ALL} <= openapi.PATHS.keys()


def test_only_an_operator_sends_an_alert_again(site):
    for role, code in ((VIEWER, 403), (FINANCE, 403), (OPERATOR, 400)):
        assert site.by[role].post("/alerts/resend", data={"id": "x"}).status_code == code
    # An operator's request bears the token; that this desk cannot send is another fault.


def test_what_a_role_does_not_include_is_told_as_such(site):
    page = site.get(VIEWER, "/plans?plans=x")
    assert (page.status_code, "Your role (viewer) does not include this." in words(page)) == (403, True)


@pytest.mark.parametrize("name", ["cost", "neon_cost", "margin_percent", "previous_margin", "costs", "markup_percent"])
def test_a_new_figure_is_withheld_by_its_name(name):
    told = {"project_id": "p", name: "1.25", "deep": [{f"new_{name}": {"a": "1"}, "b": "2"}]}
    assert withheld.without_cost(told) == {"project_id": "p", "deep": [{"b": "2"}]}


def test_a_name_that_somebody_gave_is_shown_whatever_it_says():
    told = {"customer": "Low Cost Ltd", "customer_name": "Margin & Sons", "error": "Neon cost 5 USD"}
    assert withheld.without_cost(told) == {**told, "error": withheld.WITHHELD}


def test_an_error_that_tells_of_cost_does_not_reach_a_viewer():
    viewer, finance = (Person(name="x", roles=frozenset({role})) for role in (VIEWER, FINANCE))
    error = MeteringError("the cost of 5.31 USD is not known", hint="look at 5.31")
    assert "5.31" not in " ".join(told_to(viewer, error))
    assert told_to(finance, error) == (str(error), error.hint)


# -- proxies


PROXY = DashboardConfig(trusted_proxies=("127.0.0.1",))


@pytest.fixture(scope="module")
def proxied(world) -> Iterator[partial]:
    access = Access(proxies=PROXY.networks(), user_header="x-user", role_header="x-roles")
    desk = Desk(Views(lambda: world, lambda: web_world.NOW), access, clock=lambda: web_world.NOW)
    with Listener(application(desk), "127.0.0.1:0") as server:
        yield partial(httpx.get, f"http://{server.address}/api/customers", timeout=60)


@pytest.mark.parametrize(
    ("roles", "code", "has_cost"),
    [
        (["viewer"], 200, False),
        (["operator"], 200, False),
        (["finance"], 200, True),
        (["staff, Finance ,operator"], 200, True),
        (["viewer;finance"], 200, True),
        (["staff"], 403, False),
        ([""], 403, False),
        ([], 403, False),
        (["viewer", "finance"], 403, False),  # one of the two headers is the client's
    ],
)
def test_the_proxy_says_the_roles_and_a_user_without_one_is_refused(proxied, roles, code, has_cost):
    answer = proxied(headers=[("x-user", "alice"), *(("x-roles", role) for role in roles)])
    assert (answer.status_code, "neon_cost" in answer.text) == (code, has_cost)
    assert code == 200 or "x-roles names neither viewer, finance nor operator" in answer.text


def test_without_a_header_for_roles_the_users_of_a_proxy_have_all_of_them(world):
    access = Access(proxies=PROXY.networks(), user_header="x-user")
    desk = Desk(Views(lambda: world, lambda: web_world.NOW), access, clock=lambda: web_world.NOW)
    with Listener(application(desk), "127.0.0.1:0") as server:
        answer = httpx.get(f"http://{server.address}/api/customers", headers={"x-user": "alice"}, timeout=60)
    assert "neon_cost" in answer.text


# -- configuration


def faults_of(directory, section: str) -> list[str]:
    path = directory / "config.toml"
    path.write_text(section)
    with pytest.raises(ConfigError) as refused:
        read(path, environ={})
    return [str(fault) for fault in refused.value.faults]


def test_every_fault_of_the_tokens_is_told_at_once(tmp_path):
    found = faults_of(
        tmp_path,
        """
[dashboard]
role_header = "X-Roles"
[[dashboard.tokens]]
name = "support"
token_env = "A"
roles = []
[[dashboard.tokens]]
name = "support"
token_env = "B"
token_file = "b"
roles = ["admin"]
[[dashboard.tokens]]
name = "books"
roles = ["finance"]
[[dashboard.tokens]]
name = "none"
token_env = "C"
""",
    )
    told = "\n".join(found)
    for said in (
        "dashboard.tokens[0].roles: is empty; name at least one of viewer, finance, operator",
        "dashboard.tokens[1].roles[0]: is 'admin'",
        "dashboard.tokens[1].name: 'support' stands at dashboard.tokens[0] already",
        "dashboard.tokens[1].token_env: and token_file are both given",
        "dashboard.tokens[2].token_env: is missing",
        "dashboard.tokens[3].roles: is missing",
        "dashboard.role_header: means nothing without trusted_proxies",
    ):
        assert said in told, (said, told)
    assert len(found) == 7


def test_the_header_for_roles_is_another_than_that_for_users(tmp_path):
    section = '[dashboard]\ntrusted_proxies = ["10.0.0.5"]\nrole_header = "X-Forwarded-User"\n'
    assert faults_of(tmp_path, section) == ["dashboard.role_header: is the user_header; name the header with the roles"]
