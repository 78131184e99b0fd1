"""A real browser at the dashboard of a small hostile platform; skipped without Chromium or Playwright."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from metering.core.secrets import Secret
from metering.web import figures, links
from metering.web.app import application
from metering.web.desk import Desk
from metering.web.guard import Access
from metering.web.server import Listener
from metering.web.views import Views
from tests.support import web_world

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SIGNING = Secret(web_world.LINK_SECRET)
PATIENCE_MS = 60_000


def pytest_configure(config: pytest.Config) -> None:
    """Its marker is of this folder alone."""
    config.addinivalue_line("markers", "browser: drives a real browser; skipped where there is none")


# Not for the session: while Playwright is up, its event loop runs in this thread, and no other test can run one.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Site:
    """Where the dashboard is, one customer's link, and which alerts were sent again."""

    def __init__(self, base: str, sent: list[str]) -> None:
        self.base, self.sent = base, sent
        self.link = base + links.made("cust20", web_world.NOW, 30, SIGNING)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Iterator[Site]:
    world = web_world.lived_in(tmp_path_factory.mktemp("world"))
    sent: list[str] = []

    def resend(alert_id: str, _who: str, _peer: str) -> list[str]:
        sent.append(alert_id)
        return ["https://hooks.example.com/"]

    views = Views(lambda: world, lambda: web_world.NOW)
    figures.prepare(views.current())
    desk = Desk(views, Access(), clock=lambda: web_world.NOW, link_secret=SIGNING, resend=resend)
    with Listener(application(desk), "127.0.0.1:0") as server:
        yield Site(f"http://{server.address}", sent)


Opened = Callable[..., Any]


@pytest.fixture
def opened(chromium, site) -> Iterator[Opened]:
    """Opens an address of the site; at the end of the test no page may have complained, nor asked anybody anything."""
    contexts, said = [], []

    def open_page(address: str, **options: Any) -> Any:
        context = chromium.new_context(**{"viewport": web_world.DESKTOP, **options})
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith((site.base, "data:", "blob:")) else said.append(asked.url),
        )
        page.goto(address if address.startswith("http") else site.base + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert said == []
