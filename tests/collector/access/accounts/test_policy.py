"""The table of who may do what: pure, denied by default, and the same in Python and in SQL."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.access.accounts.policy import POLICY, ROLES, Account, Rule, allowed, match
from collector.common.scope import EVERYWHERE, PARTS, Scope, decode
from collector.store import queries, schema

LAHORE = SimpleNamespace(owner="Trust", district="Lahore", province="Punjab")
QUETTA = SimpleNamespace(owner="Trust", district="Quetta", province="Balochistan")
PUNJAB = Scope(province=frozenset({"Punjab"}))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", POLICY)
def test_every_action_is_within_the_scope_of_every_role(role: str, action: str) -> None:
    rule = POLICY[action]
    everywhere, punjab = Account("A", role, EVERYWHERE, "a"), Account("A", role, PUNJAB, "a")  # type: ignore[arg-type]
    if rule.about in ("anybody", "half"):
        assert allowed(everywhere, action)
        return
    is_mine = role in rule.roles
    about_one = rule.about in ("center", "centers")
    assert allowed(punjab, action, LAHORE) == (is_mine and about_one) or rule.about == "own"
    assert not (allowed(punjab, action, QUETTA) and about_one)
    nationwide = is_mine and not (role == "operator" and rule.about != "own")
    assert allowed(everywhere, action, LAHORE if rule.about == "center" else None) == nationwide
    assert not allowed(None, action, LAHORE)
    program = Account("key", role, PUNJAB)  # type: ignore[arg-type]
    assert allowed(program, action, LAHORE) <= rule.by_key


def test_what_no_row_names_is_denied_to_all() -> None:
    for role in ROLES:
        assert not allowed(Account("A", role, EVERYWHERE, "a"), "center.explode", LAHORE)
    assert match("GET", "/there/is/none") is None
    assert match("DELETE", "/people") is None
    assert match("POST", "/") is None


def test_no_route_stands_in_two_rows() -> None:
    routes = [route for rule in POLICY.values() for route in rule.routes]
    assert len(routes) == len(set(routes))


@pytest.mark.parametrize(
    ("method", "path", "action", "parts"),
    [
        ("GET", "/", "centers.list", {}),
        ("HEAD", "/static/vendor/htmx.js", "open", {"path": "vendor/htmx.js"}),
        ("GET", "/api/v1/centers/KHI-1/series", "center.read", {"code": "KHI-1"}),
        ("POST", "/centers/a b/test", "center.test", {"code": "a b"}),
        ("GET", "/centers/KHI-1/", "", {}),
        ("GET", "/centers//test", "", {}),
        ("GET", "/activityxcsv", "", {}),
        ("GET", "/login\n", "", {}),
    ],
)
def test_a_request_is_the_action_whose_route_fits(method: str, path: str, action: str, parts: dict[str, str]) -> None:
    found = match(method, path)
    assert (found.action, found.parts) == (action, parts) if action else found is None


def test_a_rule_without_roles_admits_nobody() -> None:
    assert Rule((), "programme").roles == ()


# ---------------------------------------------------------------- scopes

values = st.frozensets(st.sampled_from(["Punjab", "Sindh", "punjab", "", "Lahore"]), max_size=2)
scopes = st.builds(Scope, owner=values, district=values, province=values)
names = st.sampled_from(["Punjab", "Sindh", "punjab", "", "Lahore", "Quetta"])
places = st.builds(SimpleNamespace, owner=names, district=names, province=names)


@given(scopes)
def test_a_scope_is_read_back_as_it_was_written(scope: Scope) -> None:
    assert decode(scope.encode()) == scope
    assert scope.is_all == (scope == EVERYWHERE)


@given(scopes, scopes, places)
def test_a_scope_that_covers_another_includes_its_centers(one: Scope, other: Scope, center: SimpleNamespace) -> None:
    assert EVERYWHERE.covers(one)
    assert one.covers(one)
    if one.covers(other) and other.includes(center):
        assert one.includes(center)


@pytest.mark.parametrize("text", ["", "null", "[]", '{"owner": "Trust"}', '{"planet": ["Mars"]}', '{"owner": [1]}'])
def test_a_scope_that_cannot_be_read_is_not_everything(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(text)


@settings(max_examples=60, deadline=None)
@given(scopes, st.lists(places, max_size=6))
def test_the_filter_of_queries_is_the_same_question(scope: Scope, centers: list[SimpleNamespace]) -> None:
    engine = sa.create_engine("sqlite://")
    rows = [
        {"center": f"C{number}", "name": "", "tier": "one", "seats_promised": 1, "opening": "", "lifecycle": "",
         "since_ms": 0, "changed_ms": 0, **{name: getattr(center, name) for name in PARTS}}
        for number, center in enumerate(centers)
    ]  # fmt: skip
    with engine.begin() as conn:
        schema.centers.create(conn)
        if rows:
            conn.execute(sa.insert(schema.centers), rows)
        query = sa.select(schema.centers.c.center).where(*queries.within(schema.centers, scope))
        found = set(conn.scalars(query))
    engine.dispose()
    assert found == {f"C{number}" for number, center in enumerate(centers) if scope.includes(center)}
