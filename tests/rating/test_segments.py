import pytest

from metering.rating.segments import unknown_plans
from tests.support.card import PATTERN, SEPTEMBER, at, existence, organization, plan, segments, subscription

MONTH = SEPTEMBER.seconds
PRO, TEAM = plan("pro"), plan("team")


def rows(frame):
    return frame.select("project_id", "segment_no", "customer", "plan", "start", "end", "share_num").rows()


def test_a_subscription_alone_decides_for_its_project_and_open_time_is_unassigned():
    frame = segments(
        existence(a=(None, None)),
        seen=[("a", "org-1", at(1), "acme-cust7-team-1")],
        subscriptions=[subscription("a", "c1", "pro", at(5), at(10)), subscription("a", "c2", "team", at(20))],
        organizations=[organization(default_plan="pro")],
        plans=[PRO, TEAM],
    )

    assert rows(frame) == [
        ("a", 1, "c1", "pro", at(5), at(10), 9 * 86400),
        ("a", 2, "c2", "team", at(20), at(1, month=10), 11 * 86400),
    ]


def test_a_project_is_mapped_by_its_whole_name_else_by_its_organization_else_not():
    frame = segments(
        existence(a=(None, None), b=(None, None), c=(None, None), d=(None, None), e=(None, None)),
        seen=[
            ("a", "org-1", at(1), "acme-cust7-team-1"),
            ("b", "org-1", at(1), "acme-cust7-team-1-copy"),
            ("c", "org-2", at(1), "something else"),
            ("d", "org-1", at(1), "acme-cust7-gone-1"),
            ("e", "org-1", at(1), None),
        ],
        organizations=[organization(default_plan="pro"), organization("org-2")],
        plans=[PRO, TEAM],
    )

    assert [row[:4] for row in rows(frame)] == [
        ("a", 1, "cust7", "team"),
        ("b", 1, "b", "pro"),
        ("e", 1, "e", "pro"),
    ]


def test_a_rename_is_a_dated_change_and_the_first_name_counts_backwards():
    frame = segments(
        existence(a=(None, None)),
        seen=[
            ("a", "org-1", at(11, 0, 15), "acme-c1-pro-1"),
            ("a", "org-1", at(21), "acme-c2-pro-1"),
        ],
        plans=[PRO],
    )

    assert rows(frame) == [
        ("a", 1, "c1", "pro", at(1), at(21), 20 * 86400),
        ("a", 2, "c2", "pro", at(21), at(1, month=10), 10 * 86400),
    ]


def test_a_move_between_organizations_changes_the_default_plan_when_it_is_seen():
    frame = segments(
        existence(a=(None, None)),
        seen=[("a", "org-1", at(1), "x"), ("a", "org-2", at(16), "x")],
        organizations=[organization(default_plan="pro"), organization("org-2", default_plan="team")],
        plans=[PRO, TEAM],
    )

    assert [(row[3], row[4], row[5]) for row in rows(frame)] == [
        ("pro", at(1), at(16)),
        ("team", at(16), at(1, month=10)),
    ]


def test_adjacent_equal_rows_are_one_segment():
    frame = segments(
        existence(a=(None, None)),
        subscriptions=[
            subscription("a", "c", "pro", None, at(10)),
            subscription("a", "c", "pro", at(10), at(20)),
            subscription("a", "c", "pro", at(21)),
        ],
        plans=[PRO],
    )

    assert [row[4:6] for row in rows(frame)] == [(at(1), at(20)), (at(21), at(1, month=10))]


def test_who_joins_in_mid_month_has_the_full_allowance():
    frame = segments(
        existence(a=(at(16), None), b=(None, at(2)), c=(at(1, month=10), None), d=(None, at(1))),
        subscriptions=[subscription(name, "c", "pro") for name in "abcd"],
        plans=[PRO],
    )

    assert rows(frame) == [
        ("a", 1, "c", "pro", at(16), at(1, month=10), MONTH),
        ("b", 1, "c", "pro", at(1), at(2), MONTH),
    ]


@pytest.mark.parametrize(
    ("prorate", "shares"),
    [
        ("second", [9 * 86400 + 5400, MONTH - 9 * 86400 - 5400]),
        ("day", [9 * 86400, MONTH - 9 * 86400]),
        ("none", [MONTH, MONTH]),
    ],
)
def test_an_allowance_is_shared_by_second_or_day_or_not_at_all(prorate, shares):
    frame = segments(
        existence(a=(None, None)),
        subscriptions=[
            subscription("a", "c", "pro", None, at(10, 1, 30)),
            subscription("a", "c", "team", at(10, 1, 30)),
        ],
        plans=[PRO, TEAM],
        prorate=prorate,
    )

    assert frame["share_num"].to_list() == shares
    assert frame["share_den"].to_list() == [MONTH, MONTH]


def test_a_fraction_of_a_second_does_not_count():
    born = at(16).replace(microsecond=999_999)

    frame = segments(existence(a=(born, None)), subscriptions=[subscription("a", "c", "pro")], plans=[PRO])

    assert frame["start"].to_list() == [at(16)]


def test_check_lists_names_whose_plan_does_not_exist():
    names = ["acme-c1-pro-1", "acme-c1-gone-1", "else", None]

    assert unknown_plans(names, PATTERN, [PRO]) == [("acme-c1-gone-1", "gone")]
