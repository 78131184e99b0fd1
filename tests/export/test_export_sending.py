"""Sending to Stripe: each item once, whatever fails in between, against a server that behaves as documented."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from metering.core.errors import CredentialsError, MeteringError
from metering.core.secrets import Secret
from metering.export import sending
from metering.export.stripe import form as stripe_form
from metering.export.stripe_api import Stripe
from metering.store import snapshots
from tests.support.books import Books
from tests.support.issued import CUSTOMERS, book, document, documents, line
from tests.support.plain_neon import PlainNeon
from tests.support.plain_neon import served as neon_served
from tests.support.plain_stripe import SECRET, PlainStripe, served
from tests.support.platform_desk import Desk
from tests.support.quiet_time import PATIENCE_SECONDS

NOW = datetime(2026, 10, 3, 9, tzinfo=UTC)
STANDING = 13
"""Items of the six documents, less those of the voided invoice and its credit note: eleven lines, two taxes."""


@pytest.fixture
def stripe() -> Iterator[PlainStripe]:
    with served(PlainStripe()) as found:
        yield found


@pytest.fixture
def books(tmp_path: Path) -> Books:
    return Books(tmp_path / "var")


@contextmanager
def connected(stripe: PlainStripe, secret: str = SECRET) -> Iterator[Stripe]:
    with closing(Stripe(stripe.url, Secret(secret), sleep=lambda _: None)) as door:
        yield door


def sent(books: Books, stripe: PlainStripe, found=None, now: datetime = NOW) -> sending.Sent:
    with books.open() as ledger, connected(stripe) as door:
        return sending.send_items(ledger, door, found or book(), now)


def amounts(stripe: PlainStripe) -> dict[str, int]:
    """Document -> the sum of its Stripe items."""
    sums: dict[str, int] = {}
    for item in stripe.items:
        name = item["metadata"]["invoice"]
        sums[name] = sums.get(name, 0) + int(item["amount"])
    return sums


STOOD = {"INV-2026-000002": 5599, "INV-2026-000003": 7700, "INV-2026-000004": 12340, "INV-2026-000005": 999}


def test_every_item_is_sent_once_however_often_it_is_asked_for(books: Books, stripe: PlainStripe) -> None:
    assert sent(books, stripe) == sending.Sent(sent=STANDING)
    assert sent(books, stripe) == sending.Sent(already=STANDING)
    assert len(stripe.posts) == len(stripe.items) == STANDING
    assert amounts(stripe) == STOOD


def test_what_was_sent_is_remembered_by_a_store_made_anew(books: Books, stripe: PlainStripe) -> None:
    sent(books, stripe)
    for path in books.directory.glob("*.duckdb"):
        path.unlink()
    assert sent(books, stripe) == sending.Sent(already=STANDING)


def test_a_voided_invoice_that_was_sent_is_followed_by_its_credit_note(books: Books, stripe: PlainStripe) -> None:
    first = [one for one in documents() if one["number"] == "INV-2026-000001"]
    assert sent(books, stripe, book([{**first[0], "status": "final"}])).sent == 2
    assert sent(books, stripe).sent == STANDING + 2
    assert amounts(stripe)["INV-2026-000001"] == -amounts(stripe)["CN-2026-000001"] == 12100


def test_a_voided_invoice_that_never_left_is_not_sent_alone_either(books: Books, stripe: PlainStripe) -> None:
    for number in ("INV-2026-000001", "CN-2026-000001"):
        alone = book([one for one in documents() if one["number"] == number])
        assert sent(books, stripe, alone) == sending.Sent()
    assert stripe.posts == []


@pytest.mark.parametrize(
    "body", [b"[]", b'"busy"', b'{"error": "no"}', b"<html>"], ids=["list", "text", "error", "page"]
)
def test_an_answer_that_is_not_stripes_is_a_refusal_and_no_crash(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(400, content=body))
    with closing(Stripe("https://api.example", Secret(SECRET), transport=transport)) as door:
        answer = door.create("/v1/invoiceitems", [("amount", "1")], "key")
    assert (answer.state, answer.error) == ("refused", "Stripe answered 400: without a reason")


def test_an_answer_that_was_lost_is_asked_for_again_under_the_same_key(books: Books, stripe: PlainStripe) -> None:
    dropped = iter([False, False])
    stripe.on_post = lambda: next(dropped, True)
    assert sent(books, stripe) == sending.Sent(sent=STANDING)
    assert len(stripe.posts) == STANDING + 2
    assert len(stripe.items) == STANDING


def test_overload_and_server_errors_are_asked_again_and_then_in_doubt(books: Books, stripe: PlainStripe) -> None:
    found = book([one for one in documents() if one["number"] == "INV-2026-000005"], CUSTOMERS)
    stripe.statuses = [429, 500, 409, 200]
    assert sent(books, stripe, found) == sending.Sent(sent=1)
    other = book([one for one in documents() if one["number"] == "INV-2026-000004"], CUSTOMERS)
    stripe.statuses = [503] * 8
    done = sent(books, stripe, other)
    assert [row["error"] for row in done.in_doubt] == ["Stripe answered 503"] * 2
    assert sent(books, stripe, other) == sending.Sent(sent=2)


def test_when_stripe_does_not_answer_at_all_the_rest_is_left(books: Books, stripe: PlainStripe) -> None:
    lines = [line("usage", "1.00", meter="compute", tier=str(tier)) for tier in range(60)]
    long = book([document("INV-1", "zero", "EUR", lines, ("60.00", [], "60.00"))])
    there, stripe.url = stripe.url, "http://127.0.0.1:9"
    done = sent(books, stripe, long)
    assert (done.sent, len(done.in_doubt), done.left) == (0, 50, 10)
    assert done.in_doubt[0]["error"] == "no answer: ConnectError"
    stripe.url = there
    assert sent(books, stripe, long).sent == 60
    assert amounts(stripe) == {"INV-1": 6000}


def test_what_was_tried_long_ago_is_looked_for_before_it_is_sent_again(books: Books, stripe: PlainStripe) -> None:
    stripe.on_post = lambda: False
    assert len(sent(books, stripe).in_doubt) == STANDING
    assert len(stripe.items) == STANDING
    stripe.on_post = lambda: True
    stripe.forget()
    posted = len(stripe.posts)
    assert sent(books, stripe, now=NOW + timedelta(hours=23)) == sending.Sent(sent=STANDING)
    assert (len(stripe.items), len(stripe.posts)) == (STANDING, posted)


def test_what_was_tried_long_ago_and_never_arrived_is_sent(books: Books, stripe: PlainStripe) -> None:
    stripe.statuses = [500] * 4 * STANDING
    assert len(sent(books, stripe).in_doubt) == STANDING
    assert sent(books, stripe, now=NOW + timedelta(days=40)) == sending.Sent(sent=STANDING)
    assert amounts(stripe) == STOOD


def test_within_a_day_the_same_key_is_simply_sent_again(books: Books, stripe: PlainStripe) -> None:
    stripe.on_post = lambda: False
    sent(books, stripe)
    stripe.on_post = lambda: True
    assert sent(books, stripe, now=NOW + timedelta(hours=22, minutes=59)) == sending.Sent(sent=STANDING)
    assert len(stripe.items) == STANDING


def test_a_refusal_is_told_with_stripes_reason_and_tried_anew_once_it_is_mended(
    books: Books, stripe: PlainStripe
) -> None:
    wrong = tuple(
        row.model_copy(update={"stripe_customer": "acct_1"}) if row.id == "zero" else row for row in CUSTOMERS
    )
    done = sent(books, stripe, book(customers=wrong))
    assert done.sent == STANDING - 1
    assert {(row["document"], row["error"]) for row in done.refused} == {
        ("INV-2026-000005", "Stripe answered 400: No such customer")
    }
    assert sent(books, stripe) == sending.Sent(sent=1, already=STANDING - 1)


def test_a_refused_key_ends_the_sending_and_what_was_sent_stays_known(books: Books, stripe: PlainStripe) -> None:
    with books.open() as ledger, connected(stripe, "sk_other") as door, pytest.raises(CredentialsError, match="401"):
        sending.send_items(ledger, door, book(), NOW)
    assert sent(books, stripe) == sending.Sent(sent=STANDING)


def test_a_doubt_that_stripe_does_not_resolve_sends_nothing(books: Books, stripe: PlainStripe) -> None:
    stripe.on_post = lambda: False
    sent(books, stripe)
    stripe.url = "http://127.0.0.1:9"
    with pytest.raises(MeteringError, match="Stripe could not be asked: ConnectError"):
        sent(books, stripe, now=NOW + timedelta(days=2))


def events(count: int, moment: datetime = NOW) -> list[dict]:
    return [
        {
            "event_name": "compute_unit_seconds",
            "payload": {"stripe_customer_id": "cus_acme", "value": str(number)},
            "timestamp": int(moment.timestamp()) - number,
            "identifier": f"id-{number}",
        }
        for number in range(count)
    ]


def test_meter_events_are_sent_once(books: Books, stripe: PlainStripe) -> None:
    with books.open() as ledger, connected(stripe) as door:
        assert sending.send_events(ledger, door, events(3), NOW) == sending.Sent(sent=3)
        assert sending.send_events(ledger, door, events(4), NOW) == sending.Sent(sent=1, already=3)
    assert sorted(event["payload[value]"] for event in stripe.events) == ["0", "1", "2", "3"]


def test_a_meter_event_of_long_ago_whose_outcome_is_unknown_is_left_to_a_person(
    books: Books, stripe: PlainStripe
) -> None:
    stripe.on_post = lambda: False
    with books.open() as ledger, connected(stripe) as door:
        sending.send_events(ledger, door, events(1), NOW)
        stripe.on_post = lambda: True
        done = sending.send_events(ledger, door, events(1), NOW + timedelta(hours=23))
    assert (done.sent, [row["key"] for row in done.in_doubt]) == (0, ["id-0"])
    assert len(stripe.events) == 1


def test_events_older_than_stripe_takes_are_refused_before_any_is_sent(books: Books, stripe: PlainStripe) -> None:
    with books.open() as ledger, connected(stripe) as door:
        sending.send_events(ledger, door, events(1, NOW - timedelta(days=35)), NOW)
        with pytest.raises(MeteringError, match="1 of 2 events are of before 2026-08-29T09:00:00Z"):
            sending.send_events(ledger, door, events(2, NOW - timedelta(days=35)), NOW)
    assert len(stripe.events) == 1


# -- the command


@pytest.fixture
def desk(tmp_path: Path, stripe: PlainStripe) -> Iterator[Desk]:
    """September is closed for two customers."""
    with neon_served(PlainNeon()) as neon:
        for project in ("ant-1", "bee-1"):
            neon.fleet("org-a").project(project)
            neon.fleet("org-a").use(project, "2026-09-10", grain="daily", compute_unit_seconds=101 * 3600)
        found = Desk(directory=tmp_path, neon=neon, now="2026-10-02T12:00:00Z", default_plan="pro")
        found.customers = "customer,stripe_customer\nant-1,cus_ant\nbee-1,cus_bee\n"
        found.more = f'[stripe]\nsecret_env = "STRIPE_SECRET"\nbase_url = "{stripe.url}"\n'
        found.environment["STRIPE_SECRET"] = SECRET
        found.good("backfill")
        found.good("close", "2026-09")
        yield found


def test_the_command_sends_and_says_so(desk: Desk, stripe: PlainStripe) -> None:
    done = {"sent": "4", "already": "0", "left": "0", "refused": [], "in_doubt": []}
    assert desk.good("export", "stripe", "2026-09", "--send") == done
    assert desk.good("export", "stripe", "2026-09", "--send") == {**done, "sent": "0", "already": "4"}
    filed = [json.loads(text) for text in desk.run("export", "stripe", "2026-09").out.splitlines()]
    assert sorted(item["params"]["metadata"]["metering_key"] for item in filed) == sorted(
        item["metadata"]["metering_key"] for item in stripe.items
    )
    with snapshots.open_reader(desk.directory / "var") as found:
        assert found.query("export/stripe_sends")["state"].to_list() == ["sent"] * 4
        kept = found.connection.execute("select sha256 from stripe_send").fetchall()
    assert {digest for (digest,) in kept} == {
        hashlib.sha256(urlencode(stripe_form(item["params"])).encode()).hexdigest() for item in filed
    }


def test_the_process_may_die_between_sending_and_marking(desk: Desk, stripe: PlainStripe) -> None:
    process: list[subprocess.Popen[bytes]] = []

    def die() -> bool:
        process[0].send_signal(signal.SIGKILL)
        process[0].wait()
        return False

    stripe.on_post = die
    process.append(desk.spawn("export", "stripe", "2026-09", "--send", "--config", str(desk.write())))
    process[0].communicate(timeout=PATIENCE_SECONDS)
    assert process[0].returncode == -signal.SIGKILL
    assert len(stripe.items) >= 1
    stripe.on_post = lambda: True
    done = desk.good("export", "stripe", "2026-09", "--send")
    assert (done["sent"], len(stripe.items)) == ("4", 4)
    assert desk.run("verify").code == 0


def test_a_refusal_is_exit_code_three_and_a_refused_key_five(desk: Desk, stripe: PlainStripe) -> None:
    stripe.statuses = [402]
    assert desk.run("export", "stripe", "2026-09", "--send").code == 3
    desk.environment["STRIPE_SECRET"] = "sk_wrong"
    assert desk.run("export", "stripe", "2026-09", "--send").code == 5
    assert SECRET not in desk.run("export", "stripe", "2026-09", "--send").err


def test_without_a_key_nothing_is_begun(desk: Desk) -> None:
    desk.more = ""
    ran = desk.run("export", "stripe", "2026-09", "--send")
    assert (ran.code, "stripe.secret_env: is missing" in ran.err) == (4, True)
    assert desk.run("export", "stripe", "2026-09", "--send", "-o", "file").code == 2
