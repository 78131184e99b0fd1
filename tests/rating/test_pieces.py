from decimal import Decimal

import polars as pl

from metering.core import meters
from metering.rating.pieces import PIECES, priced_pieces
from tests.support.card import at, existence, plan, price, segments, subscription


def test_a_price_version_counts_until_the_next_one_begins():
    pro = plan(
        "pro",
        price(unit_price="3", valid_from="2026-09-21"),
        price(unit_price="1", valid_from="2026-09-05"),
        price(unit_price="2", valid_from="2026-09-11"),
    )
    owned = segments(existence(a=(at(8), None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, prices = priced_pieces(owned, [pro], meters.catalogue())

    found = [(prices[row[0]].unit_price, *row[1:]) for row in pieces.select("price_no", "start", "end").rows()]
    assert found == [
        (Decimal(1), at(8), at(11)),
        (Decimal(2), at(11), at(21)),
        (Decimal(3), at(21), at(1, month=10)),
    ]


def test_time_before_the_first_version_has_no_piece():
    pro = plan(
        "pro", price(unit_price="1", valid_from="2026-09-30"), price("storage", unit_price="1", valid_from="2026-10-01")
    )
    owned = segments(existence(a=(None, None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, _ = priced_pieces(owned, [pro], meters.catalogue())

    assert pieces.select("meter", "start", "end").rows() == [("compute", at(30), at(1, month=10))]


def test_an_hourly_allowance_comes_as_whole_numbers_with_its_denominator():
    pro = plan("pro", price("extra_branches", unit_price="1.50", included_per_hour="9.5"))
    owned = segments(existence(a=(None, None)), subscriptions=[subscription("a", "c", "pro")], plans=[pro])

    pieces, _ = priced_pieces(owned, [pro], meters.catalogue())

    assert pieces.select("denominator", "hourly_num", "hourly_den").rows() == [(1488, 19, 2)]
    assert pieces.schema == pl.Schema(PIECES)
