"""Access to the dashboard: by address, host name and login; and the headers that restrict the browser."""

import asyncio
import base64
import os
import re
import socket
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from metering.config.dashboard import DashboardConfig
from metering.core.errors import CredentialsError, UsageError
from metering.core.secrets import Secret
from metering.web import figures, links, peers, persons
from metering.web.app import application
from metering.web.desk import Desk
from metering.web.guard import POLICY, Access
from metering.web.guesses import Guesses
from metering.web.probes import routes
from metering.web.views import Views
from metering.web.watch import Watch
from tests.support import web_world

TOKEN = "a-token-of-more-than-twenty-characters"
HERE, THERE, PROXY = "127.0.0.1", "203.0.113.9", "10.0.0.5"
WHOLE = (persons.of_all_roles(Secret(TOKEN)),)
SIGNING = Secret(web_world.LINK_SECRET)
OURS = Access(is_own=lambda _: True)
"""Nothing is configured, and every process of this machine is our own user's: these requests come by no socket."""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return web_world.lived_in(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def views(world):
    return Views(lambda: world, lambda: web_world.NOW)


class Sent(list):
    """The alerts that were sent again."""

    def __call__(self, alert_id: str, _who: str, _peer: str) -> list[str]:
        self.append(alert_id)
        return ["http://127.0.0.1:9/"]


def ask(views, path, *, peer=HERE, method="GET", access=None, now=web_world.NOW, sent=None, data=None, **headers):
    """One request as it comes from `peer`; keywords are headers."""
    desk = Desk(views, access or OURS, clock=lambda: now, link_secret=SIGNING, resend=sent)
    state = routes(lambda: views.current().config, lambda: now)
    transport = httpx.ASGITransport(application(desk, state), client=(peer, 50_000))
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:9187") as client:
            return await client.request(method, path, headers=named, data=data)

    return asyncio.run(answer())


# -- from where


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_with_nothing_configured_our_own_user_on_this_machine_is_let_in(views, peer):
    assert ask(views, "/operations", peer=peer).status_code == 200


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "", "unix"])
def test_with_nothing_configured_nobody_else_is(views, peer):
    for path in ("/", "/api/status", "/operations?format=csv"):
        answer = ask(views, path, peer=peer)
        assert (answer.status_code, "trusted proxy" in answer.text) == (403, True)
        assert web_world.PROJECTS[0] not in answer.text


@pytest.mark.parametrize(
    "header",
    [
        *("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "x-client-ip"),
        *("cf-connecting-ip", "cf-ray", "cdn-loop", "true-client-ip", "x-envoy-external-address", "x-amzn-trace-id"),
        *("fly-client-ip", "x-scheme", "tailscale-user-login", "x-cloud-trace-context", "wl-proxy-client-ip"),
    ],
)
def test_with_nothing_configured_what_a_proxy_on_this_machine_forwards_is_refused(views, header):
    assert ask(views, "/", **{header: "203.0.113.9"}).status_code == 403


@pytest.mark.parametrize("access", [OURS, Access(tokens=WHOLE)])
def test_probes_ask_for_nothing_and_metrics_for_a_name_that_is_ours(views, access):
    for path in ("/livez", "/readyz", "/healthz"):
        assert ask(views, path, peer=THERE, access=access, host="metering:9187").status_code == 200
    refused = ask(views, "/metrics", peer=THERE, access=access, host="evil.example")
    assert (refused.status_code, "dashboard.hosts" in refused.text, "metering_" in refused.text) == (421, True, False)
    assert ask(views, "/metrics", peer=THERE, access=access, host="10.0.0.7:9187").status_code == 200


def test_metrics_are_given_under_a_name_that_is_allowed(views):
    access = Access(hosts=frozenset({"metering"}))
    assert ask(views, "/metrics", peer=THERE, access=access, host="metering:9187").status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/status", "/customers?format=csv"])
def test_with_nothing_configured_another_user_of_this_machine_is_refused(views, path):
    answer = ask(views, path, access=Access(is_own=lambda _: False))
    assert (answer.status_code, "Users of this machine but our own need a token" in answer.text) == (403, True)


def test_where_a_name_is_configured_somebody_else_comes_so_this_machine_needs_a_token_too(views):
    access = Access(hosts=frozenset({"billing.example.com"}), is_own=lambda _: True)
    answer = ask(views, "/", access=access)
    assert (answer.status_code, "a token or a trusted proxy is needed" in answer.text) == (403, True)


def test_the_user_at_the_other_end_of_a_connection_is_found_for_both_families():
    for family, host, dialled in (
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
    ):
        with socket.create_server((host, 0), family=family) as listening:
            port = listening.getsockname()[1]
            with socket.socket(socket.AF_INET6 if ":" in dialled else socket.AF_INET) as client:
                client.connect((dialled, port))
                end, _ = listening.accept()
                with end:
                    peer = end.getpeername()[:2]
                    assert peers.user_of(peer, (host, port)) == os.geteuid()
                    assert peers.is_own({"client": peer, "server": (host, port)})
                    assert peers.user_of((host, port), (host, 1)) is None
    assert not peers.is_own({"client": None, "server": None})


# -- the token


def test_wrong_tokens_of_an_address_are_answered_later_and_later_and_forgotten():
    now = [0]
    guesses = Guesses(clock=lambda: now[0] * 1_000_000_000)
    assert [guesses.count(THERE) for _ in range(12)] == [0, 0, 0, 0, 0, 1, 2, 4, 4, 4, 4, 4]
    assert guesses.count("203.0.113.10") == 0
    now[0] = 899
    assert guesses.count(THERE) == 4
    now[0] = 899 + 900
    assert guesses.count(THERE) == 0


def test_the_addresses_of_one_ipv6_network_are_one_guesser():
    guesses = Guesses()
    assert [guesses.count(f"2001:db8::{number:x}") for number in range(1, 8)] == [0, 0, 0, 0, 0, 1, 2]
    assert guesses.count("2001:db8:1::1") == 0


def test_however_many_addresses_guess_the_memory_of_them_is_bounded():
    guesses = Guesses()
    for number in range(3000):
        guesses.count(f"10.0.{number // 256}.{number % 256}")
    assert guesses.count("10.0.0.0") == 0


def test_the_right_token_is_let_in_at_once_beside_guesses_of_the_same_address_which_are_told(world):
    lines = []
    views = Views(lambda: world, lambda: web_world.NOW, Watch(lambda *line, **told: lines.append(told)))
    desk = Desk(views, Access(tokens=WHOLE, guesses=Guesses(clock=lambda: 0)), clock=lambda: web_world.NOW)
    transport = httpx.ASGITransport(application(desk), client=(THERE, 50_000))

    async def guessed() -> int:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=None) as client:
            wrong = {"authorization": "Bearer wrong-but-of-some-length"}
            tries = [asyncio.create_task(client.get("/operations", headers=wrong)) for _ in range(40)]
            right = await client.get("/alerts", headers={"authorization": f"Bearer {TOKEN}"})
            assert {one.result().status_code for one in tries if one.done()} <= {401, 429}
            for one in tries:
                one.cancel()
            return right.status_code

    assert asyncio.run(guessed()) == 200
    assert lines[0] == {"reason": "wrong token", "peer": THERE}


def test_a_guess_beyond_the_answers_that_may_wait_is_refused_at_once_and_the_right_token_is_not(views):
    access = Access(tokens=WHOLE, guesses=Guesses(most_waiting=0))
    guesses = [ask(views, "/", access=access, authorization="Bearer wrong-but-of-some-length") for _ in range(7)]
    assert [answer.status_code for answer in guesses] == [401, 401, 401, 401, 401, 429, 429]
    assert [answer.headers.get("retry-after") for answer in guesses][5:] == ["1", "2"]
    assert ask(views, "/alerts", access=access, authorization=f"Bearer {TOKEN}").status_code == 200


def test_asking_without_a_token_is_no_guess(views):
    for _ in range(20):
        assert ask(views, "/", access=Access(tokens=WHOLE)).status_code == 401


def test_a_token_is_asked_of_everybody_and_taken_as_a_bearers_or_as_a_password(views):
    access = Access(tokens=WHOLE)
    for peer in (HERE, THERE):
        refused = ask(views, "/", peer=peer, access=access)
        assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        assert ask(views, "/", peer=peer, access=access, authorization=f"Bearer {TOKEN}").status_code == 200
        password = base64.b64encode(f"anna:{TOKEN}".encode()).decode()
        assert ask(views, "/", peer=peer, access=access, authorization=f"Basic {password}").status_code == 200


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Digest {TOKEN}",
        "Basic not-base64!",
        f"Basic {base64.b64encode(TOKEN.encode()).decode()}",
        f"Basic {base64.b64encode(f'{TOKEN}:'.encode()).decode()}",
        "Basic /////w==",
    ],
)
def test_a_wrong_token_is_refused_whatever_it_looks_like(views, given):
    answer = ask(views, "/", access=Access(tokens=WHOLE), authorization=given)
    assert (answer.status_code, TOKEN in answer.text) == (401, False)


def test_a_token_that_could_be_guessed_is_no_token():
    with pytest.raises(CredentialsError, match="shorter than 20 characters"):
        links.refuse_weak(Secret("x" * 19), "the dashboard's token")
    assert links.refuse_weak(Secret("x" * 20), "the dashboard's token").reveal() == "x" * 20


# -- a proxy that says who asks


def test_only_a_trusted_proxy_is_believed_who_asks(views):
    settings = DashboardConfig.model_validate({"trusted_proxies": [PROXY, "192.0.2.0/24"], "user_header": "X-User"})
    access = Access(proxies=settings.networks(), user_header=settings.user_header)
    assert ask(views, "/", peer=PROXY, access=access, x_user="anna", x_forwarded_for=THERE).status_code == 200
    assert ask(views, "/", peer="192.0.2.77", access=access, x_user="anna").status_code == 200
    for peer, named in ((PROXY, {}), (PROXY, {"x_user": " "}), (THERE, {"x_user": "anna"}), (HERE, {"x_user": "anna"})):
        assert ask(views, "/", peer=peer, access=access, **named).status_code == 403


def test_a_proxy_that_adds_its_header_to_the_clients_own_is_not_believed(views):
    access = Access(proxies=DashboardConfig(trusted_proxies=(PROXY,)).networks(), user_header="x-user")
    desk = Desk(views, access, clock=lambda: web_world.NOW)
    transport = httpx.ASGITransport(application(desk), client=(PROXY, 50_000))

    async def answer() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/", headers=[("x-user", "admin"), ("x-user", "anna")])

    assert asyncio.run(answer()).status_code == 403


# -- the name, the method, what a browser is told


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1:9187", "[::1]:9187", "10.1.2.3", "billing.example.com"]
)
def test_a_name_that_is_ours_is_answered(views, host):
    access = Access(tokens=WHOLE, hosts=frozenset({"billing.example.com"}))
    assert ask(views, "/quotas", access=access, host=host, authorization=f"Bearer {TOKEN}").status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "billing.example.com.evil.example",
        "localhost.evil.example",
        "",
        "[::1",
        "a@localhost:x",
        "127.0.0.1.evil.example",
    ],
)
def test_a_name_that_is_not_ours_is_refused_since_it_may_be_a_rebound_one(views, host):
    access = Access(hosts=frozenset({"billing.example.com"}))
    for path in ("/quotas", "/static/web.css", "/usage/x", "/api/status"):
        answer = ask(views, path, access=access, host=host)
        assert (answer.status_code, web_world.PROJECTS[0] in answer.text) == (421, False)


@pytest.mark.parametrize(
    "path", ["/", "/nothing", "/api/status", "/static/htmx.min.js", "/customers?format=csv", "/usage/x"]
)
def test_every_answer_tells_the_browser_to_run_nothing_but_ours(views, path):
    answer = ask(views, path)
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY and "'none'" in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"].startswith("public" if path.startswith("/static") else "no-store")


def test_no_page_holds_a_script_or_a_style_of_its_own(views):
    for path in ("/", "/customers", "/customer?id=cust20", "/invoices?month=2026-09", "/plans", "/operations"):
        text = ask(views, path).text
        assert re.findall(r"<script(?![^>]*src=)[^>]*>|<style| style=| on[a-z]+=", text) == []
        assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_not_known(views, method):
    assert ask(views, "/", method=method).status_code == 405


# -- the one form


def form_of(views, sent, alert_id, **given):
    desk_access = Access(form_key=b"key", is_own=lambda _: True)
    page = ask(views, f"/alert?id={alert_id}", access=desk_access, sent=sent).text
    token = re.search(r'name="token" value="([0-9a-f]+)"', page)[1]
    headers = {"origin": "http://localhost:9187", **given}
    return desk_access, {"id": alert_id, "token": token}, headers


def an_alert(views) -> str:
    return next(row["alert_id"] for row in views.current().get(figures.alerts) if row["status"] == "send")


def test_an_alert_is_sent_again_by_the_form_of_its_page(views):
    sent, alert_id = Sent(), an_alert(views)
    access, data, headers = form_of(views, sent, alert_id)
    answer = ask(views, "/alerts/resend", method="POST", access=access, sent=sent, data=data, **headers)
    assert (answer.status_code, sent) == (303, [alert_id])
    assert "Due again at" in ask(views, answer.headers["location"], sent=sent).text


@pytest.mark.parametrize(
    "origin",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {},
        {"sec_fetch_site": "cross-site"},
        {"origin": "http://localhost:1"},
    ],
)
def test_a_form_that_another_site_sends_does_nothing(views, origin):
    sent, alert_id = Sent(), an_alert(views)
    access, data, _ = form_of(views, sent, alert_id)
    answer = ask(views, "/alerts/resend", method="POST", access=access, sent=sent, data=data, **origin)
    assert (answer.status_code, sent) == (403, [])


def test_a_form_without_our_token_does_nothing_and_neither_does_a_get(views):
    sent, alert_id = Sent(), an_alert(views)
    access, data, headers = form_of(views, sent, alert_id)
    other = next(row["alert_id"] for row in views.current().get(figures.alerts) if row["alert_id"] != alert_id)
    for wrong in ({"token": ""}, {"token": "0" * 64}, {"id": other}, {"token": "é"}):
        answer = ask(
            views, "/alerts/resend", method="POST", access=access, sent=sent, data={**data, **wrong}, **headers
        )
        assert answer.status_code == 400
    assert ask(views, f"/alerts/resend?id={alert_id}", sent=sent).status_code == 405
    assert sent == []


def test_a_bearer_needs_no_form_of_ours_and_a_password_does(views):
    sent, alert_id = Sent(), an_alert(views)
    access, data = Access(tokens=WHOLE), {"id": alert_id}
    password = base64.b64encode(f"anna:{TOKEN}".encode()).decode()
    post = partial(ask, views, "/alerts/resend", method="POST", access=access, sent=sent, data=data)
    assert post(authorization="Bearer wrong-but-of-some-length").status_code == 401
    assert post(authorization=f"Basic {password}").status_code == 403
    assert post(authorization=f"Basic {password}", origin="http://localhost:9187").status_code == 400
    assert sent == []
    assert post(authorization=f"Bearer {TOKEN}").status_code == 303
    assert sent == [alert_id]


# -- a customer's own link


def test_a_link_shows_its_customer_and_nothing_of_anybody_else(views):
    path = links.made("cust20", web_world.NOW, 30, SIGNING)
    page = ask(views, path, peer=THERE, access=Access(tokens=WHOLE))
    assert page.status_code == 200
    assert "Customer 20" in page.text and web_world.PROJECTS[20] in page.text
    others = {"Customer 21", web_world.PROJECTS[21], "Neon cost", "Margin", "/customers", "/api", "/explain"}
    assert {word for word in others if word in page.text} == set()
    leads = {urlsplit(found).path for found in re.findall(r'(?:href|action|hx-get)="(/[^"]*)"', page.text)}
    assert {found for found in leads if not found.startswith("/static/")} <= {path}
    before = ask(views, f"{path}?month=2026-09", peer=THERE)
    assert "INV-2026-" in before.text
    # What the address asks for beside it changes nothing.
    assert "Customer 21" not in ask(views, f"{path}?id=cust21&customer=cust21", peer=THERE).text


def test_a_link_opens_no_other_page(views):
    path = links.made("cust20", web_world.NOW, 30, SIGNING)
    for other in ("/", "/customer?id=cust20", "/api/usage", f"{path}/../../customers"):
        assert ask(views, other, peer=THERE).status_code in {403, 404}
    assert ask(views, "/outlook", peer=THERE, referer=f"http://localhost{path}").status_code == 403


def test_a_link_is_over_at_its_moment_and_a_changed_one_never_was(views):
    path = links.made("cust20", web_world.NOW, 2, SIGNING)
    end = web_world.NOW + timedelta(days=2)
    assert ask(views, path, now=end - timedelta(seconds=1)).status_code == 200
    assert ask(views, path, now=end).status_code == 404
    token = path.removeprefix("/usage/")
    foreign = links.made("cust20", web_world.NOW, 2, Secret("another secret of twenty"))
    wrong = [f"/usage/{token[:-1]}", f"/usage/x{token}", "/usage/x", "/usage/a.b", "/usage/%00", foreign]
    payload = links.serializer(SIGNING)
    wrong += [f"/usage/{payload.dumps(what)}" for what in ("cust20", ["cust20"], ["cust20", 5], {"a": 1}, None)]
    counted = b'metering_port_refusals_total{reason="link not valid"} %d.0'
    before = next(number for number in range(100) if counted % number in views.watch.exposition())
    for other in wrong:
        answer = ask(views, other)
        assert (answer.status_code, "Customer 20" in answer.text) == (404, False), other
    assert counted % (before + len(wrong)) in views.watch.exposition()


@pytest.mark.parametrize(("days", "is_fine"), [(0, False), (1, True), (400, True), (401, False), (-5, False)])
def test_a_link_lasts_from_a_day_to_four_hundred(days, is_fine):
    if is_fine:
        assert links.made("cust1", web_world.NOW, days, SIGNING).startswith("/usage/")
    else:
        with pytest.raises(UsageError):
            links.made("cust1", web_world.NOW, days, SIGNING)


def test_a_hostile_customer_has_a_link_too(views):
    for number in range(len(web_world.NAMES)):
        path = links.made(web_world.customer(number), web_world.NOW, 5, SIGNING)
        answer = ask(views, path, peer=THERE)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text and "\u202e" not in answer.text


# -- configuration


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('trusted_proxies = ["proxy"]', "'proxy' is no address and no network"),
        ('trusted_proxies = ["10.0.0.5/24"]', "is no address and no network"),
        ('hosts = ["https://billing.example.com"]', "is no name of a machine"),
        ('hosts = ["billing.example.com:443"]', "is no name of a machine"),
        ('user_header = "X User"', "is no name of a header"),
        ('public_url = "billing.example.com"', "is no https address"),
        ('token_env = "A"\ntoken_file = "b"', "token_file are both given"),
        ("tokens = 1", "is 1, not a list"),
    ],
)
def test_a_faulty_section_names_its_key(tmp_path: Path, section, said):
    from metering.config import read
    from metering.core.errors import ConfigError

    path = tmp_path / "config.toml"
    path.write_text(f"[dashboard]\n{section}\n")
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        read(path, environ={})
    assert str(refused.value).startswith("dashboard.")
