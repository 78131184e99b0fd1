from metering.core import meters
from metering.rating.card import Card, canonical, from_canonical
from tests.support.card import plan, price

TIERS = [{"up_to": "10", "unit_price": "1"}, {"unit_price": "2"}]
TEAM = plan("team")


def test_the_canonical_card_is_read_back_and_does_not_depend_on_order_or_quotas():
    one = price(unit_price="0.10", valid_from="2026-02-01")
    two = price(model="graduated", tiers=TIERS)
    card = Card(plans=(plan("pro", one, two), TEAM), meters=meters.catalogue())
    same = Card(plans=(TEAM, plan("pro", two, one, quota={"compute_time_seconds": 5})), meters=meters.catalogue())

    data = canonical(card)

    assert data == canonical(same) == canonical(from_canonical(data))
    assert b'"unit_price":"0.10"' in data


def test_the_canonical_card_tells_rounding_and_every_price_apart():
    first = Card(plans=(plan("pro", price(unit_price="1")),), meters=meters.catalogue())
    others = [
        Card(plans=first.plans, meters=first.meters, rounding="half_even"),
        Card(plans=first.plans, meters=first.meters, prorate="day"),
        Card(plans=(plan("pro", price(unit_price="2")),), meters=first.meters),
    ]

    assert len({canonical(card) for card in [first, *others]}) == 4
