"""Neon's answers, parsed: strict about numbers, lenient about the rest."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.core.errors import PageRefusedError
from metering.core.meters import KNOWN_METRICS
from metering.neon import parse_history, parse_projects, wire

EXAMPLES = Path(__file__).parents[3] / "shared" / "neon" / "examples"
HOUR = ("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z")


def metric(value: str, name: str = "compute_unit_seconds") -> str:
    return f'{{"metric_name": "{name}", "value": {value}}}'


def bucket(*metrics: str, start: str = HOUR[0], end: str = HOUR[1]) -> str:
    return f'{{"timeframe_start": "{start}", "timeframe_end": "{end}", "metrics": [{", ".join(metrics)}]}}'


def period(*buckets: str, period_id: str = "period-1", more: str = "") -> str:
    head = f'"period_id": "{period_id}", "period_plan": "launch", "period_start": "2026-11-01T00:00:00Z"'
    return f'{{{head}{more}, "consumption": [{", ".join(buckets)}]}}'


def project(*periods: str, project_id: str = "calm-dawn-1") -> str:
    return f'{{"project_id": "{project_id}", "periods": [{", ".join(periods)}]}}'


def page(*projects: str, more: str = "") -> bytes:
    return f'{{"projects": [{", ".join(projects)}]{more}}}'.encode()


def one(value: str) -> bytes:
    """A page with one value."""
    return page(project(period(bucket(metric(value)))))


def refused(body: bytes) -> str:
    with pytest.raises(PageRefusedError) as error:
        parse_history.history(body)
    return str(error.value)


# -- strict: values


@pytest.mark.parametrize(
    "value",
    ["1.0", "1.5", "1e3", "1E400", '"12"', '" 5 "', "NaN", "Infinity", "-Infinity", "true", "false", "[]", "{}"],
)
def test_a_value_that_is_no_integer_refuses_the_page(value):
    refused(one(value))


@pytest.mark.parametrize("value", ["01", "+1", "0x1", "1_000", ".5", "1.", ""])
def test_a_value_that_is_no_json_refuses_the_page(value):
    refused(one(value))


def test_a_negative_value_refuses_the_page():
    assert refused(one("-1")) == "a value of compute_unit_seconds is negative: -1"


def test_one_faulty_value_refuses_the_sound_ones_beside_it():
    good, bad = metric("1"), metric("2.0", "extra_branches_month")
    refused(page(project(period(bucket(good, bad)))))


@pytest.mark.parametrize("value", [0, 1, 2**53, 2**53 + 1, 2**63 - 1])
def test_a_value_of_63_bits_stands_in_its_metrics_column(value):
    found = parse_history.history(one(str(value))).buckets
    assert (found.values[0], found.others) == ([value], [])


@pytest.mark.parametrize("value", [2**63, 2**64, 2**127 - 1])
def test_a_value_beyond_63_bits_is_kept_exactly_among_the_others(value):
    found = parse_history.history(one(str(value))).buckets
    assert (found.values[0], found.others) == ([None], [(0, "compute_unit_seconds", value)])


@pytest.mark.parametrize("value", [str(2**127), "9" * 400, "9" * 4000, "9" * 5000])
def test_a_value_beyond_127_bits_refuses_the_page(value):
    assert len(refused(one(value))) < 400


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=-(2**130), max_value=2**130))
def test_an_integer_comes_out_exactly_or_not_at_all(value):
    if not 0 <= value < 2**127:
        refused(one(str(value)))
        return
    found = parse_history.history(one(str(value))).buckets
    assert [cell for cell in found.values[0] if cell is not None] + [other for _, _, other in found.others] == [value]


# -- strict: twice


def test_a_metric_that_stands_twice_in_a_bucket_refuses_the_page():
    text = refused(page(project(period(bucket(metric("1"), metric("1"))))))
    assert text == "metric compute_unit_seconds stands twice in one bucket of project calm-dawn-1"


def test_an_unknown_metric_that_stands_twice_refuses_the_page_too():
    refused(page(project(period(bucket(metric("1", "new"), metric("2", "new"))))))


def test_a_bucket_that_stands_twice_in_a_period_refuses_the_page():
    assert "twice in one period" in refused(page(project(period(bucket(metric("1")), bucket(metric("2"))))))


def test_two_starts_in_one_hour_are_the_same_bucket():
    late = bucket(metric("2"), start="2026-11-01T00:30:00Z")
    assert "twice in one period" in refused(page(project(period(bucket(metric("1")), late))))


def test_a_bucket_under_two_periods_counts_in_both():
    periods = period(bucket(metric("1"))), period(bucket(metric("2")), period_id="period-2")
    found = parse_history.history(page(project(*periods)))
    assert (found.buckets.period, found.buckets.values[0]) == ([0, 1], [1, 2])


def test_a_project_that_stands_twice_refuses_the_page():
    assert refused(page(project(), project())) == "project calm-dawn-1 stands twice on one page"


@pytest.mark.parametrize(
    ("whole", "twice"),
    [
        ('"value": 5', '"value": 5, "value": 6'),
        ('"value": 5', '"value": 5, "value": 5'),
        ('"value": 5', '"value": 5, "value": null'),
        ('"value": 5', '"value": 5, "\\u0076alue": 6'),
        ('"metric_name": "compute_unit_seconds"', '"metric_name": "x", "metric_name": "compute_unit_seconds"'),
        ('"timeframe_start"', '"timeframe_start": "2026-11-02T00:00:00Z", "timeframe_start"'),
        ('"timeframe_end"', '"timeframe_end": "2026-11-02T00:00:00Z", "timeframe_end"'),
        ('"metrics": [', '"metrics": [], "metrics": ['),
        ('"consumption": [', '"consumption": [], "consumption": ['),
        ('"period_id"', '"period_id": "x", "period_id"'),
        ('"period_plan"', '"period_plan": "scale", "period_plan"'),
        ('"period_start"', '"period_start": null, "period_start"'),
        ('"periods": [', '"periods": [], "periods": ['),
        ('"project_id"', '"project_id": "x", "project_id"'),
        ('"projects": [', '"projects": [], "projects": ['),
        ('"cursor"', '"cursor": "x", "cursor"'),
        ('"pagination"', '"pagination": null, "pagination"'),
    ],
)
def test_a_key_that_stands_twice_in_one_object_refuses_the_page(whole, twice):
    body = page(project(period(bucket(metric("5")))), more=', "pagination": {"cursor": "calm-dawn-1"}').decode()
    parse_history.history(body.encode())
    assert body.count(whole) == 1
    assert "twice" in refused(body.replace(whole, twice).encode())


def test_a_key_twice_here_and_missing_there_is_still_twice():
    # The number of keys is that of an honest page.
    missing, twice = '{"metric_name": "a"}', '{"metric_name": "b", "value": 5, "value": 6}'
    assert refused(page(project(period(bucket(missing, twice))))) == "the key 'value' stands twice in one object"
    empty = '{"metrics": []}'
    twice = bucket(metric("1")).replace('"timeframe_start"', '"timeframe_start": null, "timeframe_start"')
    assert "timeframe_start" in refused(page(project(period(empty, twice))))


def test_the_word_of_a_key_as_text_is_no_second_key():
    found = parse_history.history(page(project(period(bucket(metric("5", "value"))), project_id="value")))
    assert found.buckets.others == [(0, "value", 5)]


def test_an_object_of_many_keys_is_searched_quickly_for_the_one_that_stands_twice():
    keys = ", ".join(f'"k{number}": 0' for number in range(50_000))
    assert "'twice'" in refused(page(more=f', "z\\u0061": {{{keys}, "twice": 1, "twice": 2}}'))


# -- strict: shape


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<html></html>",
        b'{"projects": null}',
        b'{"projects": {}}',
        b'{"projects": [{}]}',
        b'{"projects": [null]}',
        b'{"projects": []',
        b'{"projects": []} {}',
        b'{"projects": [], "x": NaN}',
        b'\xef\xbb\xbf{"projects": []}',
        b'{"projects": [{"project_id": "\xff"}]}',
        b'{"projects": [{"project_id": "\\ud800"}]}',
        '{"projects": []}'.encode("utf-16"),
    ],
)
def test_a_body_that_is_no_page_is_refused(body):
    refused(body)


def test_deep_nesting_is_refused_and_does_not_crash():
    assert "recursion" in refused(page(more=', "x": ' + "[" * 100_000 + "]" * 100_000))
    with pytest.raises(PageRefusedError):
        wire.envelope(page(more=', "x": ' + '{"a":' * 100_000 + "1" + "}" * 100_000))


def test_what_a_page_says_of_itself_comes_clean_into_a_message():
    name = "\\u001b[31m" + "x" * 1000
    text = refused(page(project(period(bucket(metric("1", name), metric("2", name))))))
    assert text.isprintable()
    assert len(text) < 400


# -- buckets and their grain


@pytest.mark.parametrize(
    ("start", "end", "grain", "aligned"),
    [
        ("2026-11-01T00:00:00Z", "2026-11-01T01:00:00Z", 0, "2026-11-01T00:00"),
        ("2026-11-01T23:00:00Z", "2026-11-02T00:00:00Z", 0, "2026-11-01T23:00"),
        ("2026-11-01T00:20:00Z", "2026-11-01T01:00:00Z", 0, "2026-11-01T00:00"),
        ("2026-11-01T02:00:00+02:00", "2026-11-01T03:00:00+02:00", 0, "2026-11-01T00:00"),
        ("2026-11-01T00:00:00Z", "2026-11-01T01:00:01Z", 1, "2026-11-01T00:00"),
        ("2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", 1, "2026-11-01T00:00"),
        ("2026-11-01T18:04:52Z", "2026-11-02T00:00:00Z", 1, "2026-11-01T00:00"),
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z", 2, "2026-11-01T00:00"),
        ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z", 2, "2026-10-01T00:00"),
        ("2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z", 2, "2028-02-01T00:00"),
        ("2026-11-07T18:04:52Z", "2026-12-01T00:00:00Z", 2, "2026-11-01T00:00"),
    ],
)
def test_a_buckets_own_length_says_what_it_is(start, end, grain, aligned):
    found = parse_history.history(page(project(period(bucket(metric("1"), start=start, end=end))))).buckets
    assert (found.grain, found.start) == ([grain], [datetime.fromisoformat(aligned).replace(tzinfo=UTC)])


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("2026-11-01T01:00:00Z", "2026-11-01T00:00:00Z"),
        ("2026-11-01T00:30:00Z", "2026-11-01T01:30:00Z"),
        ("2026-11-01T12:00:00Z", "2026-11-02T12:00:00Z"),
        ("2026-11-01T00:00:00Z", "2026-12-01T00:00:01Z"),
        ("2026-02-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T01:00:00Z"),
        ("0001-01-01T00:00:00Z", "2026-11-01T01:00:00Z"),
        ("9999-12-31T23:00:00-23:00", "9999-12-31T23:30:00-23:00"),
        ("2026-11-01T00:00:00Z", "2026-11-01T00:59:60Z"),
        ("2026-11-01", "2026-11-02"),
        ("yesterday", "today"),
    ],
)
def test_a_bucket_that_belongs_to_no_one_hour_day_or_month_refuses_the_page(start, end):
    refused(page(project(period(bucket(metric("1"), start=start, end=end)))))


@pytest.mark.parametrize("key", ["timeframe_start", "timeframe_end"])
def test_a_bucket_without_its_time_refuses_the_page_unless_it_is_empty(key):
    refused(page(project(period(bucket(metric("1")).replace(f'"{key}"', '"x"')))))
    parse_history.history(page(project(period('{"metrics": []}', '{"metrics": null}', "{}"))))


# -- lenient


def test_a_bucket_without_an_end_is_as_long_as_was_asked_for():
    endless = f'{{"timeframe_start": "2026-11-02T05:00:00Z", "metrics": [{metric("7")}]}}'
    body = page(project(period(endless)))
    assert parse_history.history(body, 0).buckets.grain == [0]
    assert parse_history.history(body, 1).buckets.start == [datetime(2026, 11, 2, tzinfo=UTC)]
    refused(body)


def test_unknown_fields_are_taken_as_they_come():
    more = ', "new": {"a": [1.5, null, "x"]}, "pagination": {"cursor": "c", "total": 1.0}'
    found = parse_history.history(page(project(period(bucket(metric("1")), more=more)), more=more))
    assert found.buckets.values[0] == [1]


def test_an_unknown_metric_is_kept_beside_the_known_ones():
    found = parse_history.history(page(project(period(bucket(metric("7", "gpu_seconds"), metric("1")))))).buckets
    assert found.others == [(0, "gpu_seconds", 7)]
    assert found.values[0] == [1]
    assert found.metrics == {"gpu_seconds", "compute_unit_seconds"}


def test_an_unknown_plan_and_an_opaque_period_id_are_kept():
    body = page(project(period(bucket(metric("1")), period_id="2026-11?")).replace("launch", "agent_v9"))
    assert [(found.period_id, found.plan) for found in parse_history.history(body).periods] == [
        ("2026-11?", "agent_v9")
    ]


def test_null_means_not_reported():
    found = parse_history.history(page(project(period(bucket(metric("null"), metric("0", "extra_branches_month"))))))
    assert found.buckets.values[0] == [None]
    assert found.buckets.values[KNOWN_METRICS.index("extra_branches_month")] == [0]
    assert found.buckets.others == []


@pytest.mark.parametrize("key", ['"consumption": null', '"period_plan": null', '"period_start": null'])
def test_a_period_may_leave_out_what_it_does_not_know(key):
    body = f'{{"projects": [{{"project_id": "p", "periods": [{{"period_id": "x", {key}}}]}}]}}'
    assert parse_history.history(body.encode()).projects == ("p",)


@pytest.mark.parametrize("periods", ["[]", "null"])
def test_a_project_without_usage_is_seen_without_buckets(periods):
    found = parse_history.history(b'{"projects": [{"project_id": "p", "periods": %s}]}' % periods.encode())
    assert (found.projects, found.buckets.project) == (("p",), [])


def test_the_zero_time_of_a_period_is_no_time():
    body = page(project(period(bucket(metric("1")))).replace("2026-11-01T00:00:00Z", "0001-01-01T00:00:00Z", 1))
    assert parse_history.history(body).periods[0].start is None


# -- envelope


@pytest.mark.parametrize(
    ("body", "items", "cursor"),
    [
        (b'{"projects": [{"project_id": "a"}], "pagination": {"cursor": "a"}}', ("a",), "a"),
        (b'{"projects": [{"id": "a"}, {"id": "b"}], "pagination": {"cursor": "b"}}', ("a", "b"), "b"),
        (b'{"branches": [{"id": "br-1"}], "pagination": {"next": "n"}}', ("br-1",), "n"),
        (b'{"projects": []}', (), None),
        (b'{"projects": [], "pagination": {"cursor": ""}}', (), None),
        (b'{"projects": [], "pagination": {"cursor": null}}', (), None),
        (b'{"projects": [], "pagination": null}', (), None),
        (b'{"project": {"id": "a"}}', (), None),
    ],
)
def test_an_envelope_has_the_ids_and_the_cursor(body, items, cursor):
    assert wire.envelope(body) == wire.Envelope(items=items, cursor=cursor)


# -- inventory and projects


def test_inventory_tells_no_quota_from_not_said():
    quota = b'{"quota": {"active_time_seconds": 0, "logical_size_bytes": 7}}'
    body = b'{"projects": [{"id": "a"}, {"id": "b", "settings": {}}, {"id": "c", "settings": %s}]}' % quota
    found, _ = parse_projects.inventory(body)
    assert [(row.has_settings, row.limits) for row in found] == [
        (False, {}),
        (True, {}),
        (True, {"active_time_seconds": 0, "logical_size_bytes": 7}),
    ]


def test_a_quota_that_nobody_knows_yet_is_no_fault():
    found, _ = parse_projects.inventory(b'{"projects": [{"id": "a", "settings": {"quota": {"gpu": {"a": 1.5}}}}]}')
    assert found[0].limits == {}


def test_projects_that_neon_could_not_show_in_time_are_named():
    _, unavailable = parse_projects.inventory(b'{"projects": [], "unavailable_project_ids": ["calm-dawn-1"]}')
    assert unavailable == ("calm-dawn-1",)


def test_a_project_of_nulls_is_a_project():
    body = b'{"projects": [{"id": "a", "name": null, "region_id": null, "settings": null, "created_at": null}]}'
    found, _ = parse_projects.inventory(body)
    assert (found[0].name, found[0].region, found[0].created_at) == ("", "", None)


@pytest.mark.parametrize("body", [b"{}", b'{"projects": null}', b'{"message": "later"}'])
def test_an_answer_without_a_list_is_no_empty_inventory(body):
    with pytest.raises(PageRefusedError):
        parse_projects.inventory(body)


@pytest.mark.parametrize(
    "more",
    [
        '"compute_time_seconds": 1.0',
        '"compute_time_seconds": "1"',
        '"data_transfer_bytes": -1',
        f'"written_data_bytes": {2**127}',
        '"settings": {"quota": {"active_time_seconds": -1}}',
        '"settings": {"quota": {"active_time_seconds": 1.5}}',
        '"id": "b"',
        '"active_time_seconds": 1, "active_time_seconds": 2',
    ],
)
def test_a_project_with_a_faulty_number_or_a_key_twice_is_refused(more):
    with pytest.raises(PageRefusedError):
        parse_projects.project(b'{"project": {"id": "a", %s}}' % more.encode())
    with pytest.raises(PageRefusedError):
        parse_projects.inventory(b'{"projects": [{"id": "a", %s}]}' % more.encode())


def test_counters_and_period_of_a_project():
    body = b"""{"project": {"id": "a", "compute_time_seconds": 9007199254740993, "active_time_seconds": null,
        "consumption_period_start": "2026-11-01T00:00:00Z", "consumption_period_end": "0001-01-01T00:00:00Z"}}"""
    found = parse_projects.project(body)
    assert found.counters["compute_time_seconds"] == 9007199254740993
    assert found.counters["active_time_seconds"] is None
    assert (found.period_start, found.period_end) == (datetime(2026, 11, 1, tzinfo=UTC), None)


@pytest.mark.parametrize(
    "text",
    [None, "", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "soon", "2026-13-01"],
)
def test_a_time_that_is_none_or_nonsense_is_none(text):
    assert parse_projects.time_of(text) is None


@pytest.mark.parametrize("text", ["2026-11-01T01:00:00+01:00", "2026-11-01T00:00:00", "2026-11-01T00:00:00.000Z"])
def test_a_time_is_in_utc(text):
    assert parse_projects.time_of(text) == datetime(2026, 11, 1, tzinfo=UTC)


def test_a_branch_that_was_not_measured_has_no_size():
    body = b'{"branches": [{"id": "br-1", "logical_size": 31301632}, {"id": "br-2"}]}'
    assert parse_projects.branch_sizes(body) == [31301632, None]


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"branches": [{"id": "b", "logical_size": -1}]}',
        b'{"branches": [{"id": "b", "logical_size": 1.0}]}',
        b'{"branches": [{"id": "b", "logical_size": 9, "logical_size": 1}]}',
    ],
)
def test_branches_with_a_faulty_size_are_refused(body):
    with pytest.raises(PageRefusedError):
        parse_projects.branch_sizes(body)


def test_what_a_key_is_and_what_an_error_says():
    assert wire.auth_method(b'{"account_id": "u", "auth_method": "api_key_user"}') == "api_key_user"
    assert wire.error_message(b'{"code": "", "message": "no"}') == "no"
    for parse in (wire.auth_method, wire.error_message):
        with pytest.raises(PageRefusedError):
            parse(b"<html>")


# -- anything at all


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["projects", "project_id", "periods", "period_id", "consumption", "metrics", "value", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_parsed_or_refused_and_nothing_else(body):
    for parse in (
        parse_history.history,
        parse_projects.inventory,
        parse_projects.project,
        parse_projects.branch_sizes,
        wire.envelope,
    ):
        with contextlib.suppress(PageRefusedError):
            parse(body)


# -- bodies that were captured, where they are at hand


def example(name: str) -> bytes:
    file = EXAMPLES / name
    if not file.is_file():
        pytest.skip("the captured bodies are not part of the project; they are read where they lie beside it")
    return file.read_bytes()


@pytest.mark.parametrize(
    ("name", "projects", "buckets"),
    [
        ("v2_projects.200.launch-daily.json", 24, None),
        ("v2_projects.200.scale-daily.json", 2, None),
        ("v2_projects.200.docs-daily-byte-hours-era.json", 1, None),
        ("v2_projects.200.docs-hourly-transfer.json", 1, None),
        ("v2_projects.200.empty-org.json", 0, 0),
        ("v2_projects.200.no-usage.json", 1, 0),
        ("v2_projects.200.multi-period-plan-change.json", 1, None),
        ("v2_projects.200.unknown-metric.json", 1, None),
    ],
)
def test_a_captured_history_page_loses_no_value(name, projects, buckets):
    body = example(name)
    found = parse_history.history(body)
    values = [
        metric["value"]
        for shown in json.loads(body)["projects"]
        for neon_period in shown["periods"]
        for timeframe in neon_period["consumption"]
        for metric in timeframe["metrics"]
    ]
    kept = [cell for column in found.buckets.values for cell in column if cell is not None]
    assert len(found.projects) == projects
    assert sorted(kept + [value for _, _, value in found.buckets.others]) == sorted(values)
    assert buckets is None or len(found.buckets.project) == buckets


@pytest.mark.parametrize(
    "name",
    [
        "projects_list.200.page1.json",
        "projects_list.200.page2-empty.json",
        "projects_list.200.empty-org.json",
        "projects_list.200.recorded-2025-01.json",
        "projects_list.200.spec-example.json",
    ],
)
def test_a_captured_inventory_page_names_its_projects(name):
    body = example(name)
    ids = [shown["id"] for shown in json.loads(body)["projects"]]
    assert [row.project_id for row in parse_projects.inventory(body)[0]] == ids
    assert wire.envelope(body).items == tuple(ids)


@pytest.mark.parametrize(
    "name",
    [
        "project_get.200.free.json",
        "project_get.200.with-quota.json",
        "project_get.200.recorded-2025-01.json",
        "project_get.200.spec-example.json",
        "project_patch.200.recorded-2025-01.json",
        "project_delete.200.recorded-2025-01.json",
    ],
)
def test_a_captured_project_keeps_its_counters(name):
    body = example(name)
    shown = json.loads(body)["project"]
    assert parse_projects.project(body).counters == {counter: shown.get(counter) for counter in parse_projects.COUNTERS}


@pytest.mark.parametrize("name", ["branches_list.200.fresh-branch.json", "branches_list.200.last-page.json"])
def test_captured_branches_keep_their_sizes(name):
    body = example(name)
    assert parse_projects.branch_sizes(body) == [shown.get("logical_size") for shown in json.loads(body)["branches"]]
