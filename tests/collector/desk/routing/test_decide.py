"""An event, and who is told of it: every kind of target, every reason why not, and the clock of escalation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from collector.common.scope import Scope
from collector.desk.routing import plans
from collector.desk.routing.decide import (
    PendingStep,
    RoutingBook,
    RoutingDecision,
    decide,
    escalate,
    latecomers,
    rehearse,
)
from collector.desk.routing.facts import IncidentCenter, IncidentFacts, PersonalChannel
from collector.desk.routing.plans import PlanStep, RoutingError, parse_targets
from collector.desk.routing.recipients import Recipient
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import AlertRoute, check
from collector.register.opening_hours import DayRule

MONDAY = 1_769_972_400_000  # 2026-02-02 00:00 in Karachi
MINUTE, HOUR = 60_000, 3_600_000
NOON = MONDAY + 12 * HOUR
SMS, MAIL = PersonalChannel("sms", "telephone"), PersonalChannel("mail", "email")
LAHORE, KARACHI = Scope(district=frozenset({"Lahore"})), Scope(district=frozenset({"Karachi"}))
HOME = IncidentCenter("LHR-001", "Bint-e-Hawa", "PTCL", "Lahore", "Punjab")


def person(key: str, role: str, scope: Scope, **facts: object) -> Recipient:
    usual: dict[str, object] = {"addresses": {"telephone": "+92300", "email": f"{key}@x.pk"}}
    return Recipient(key, key.title(), role, scope, **{**usual, **facts})  # type: ignore[arg-type]


OWNER = person("contact:1", "contact", Scope(), owner="Bint-e-Hawa", lang="ur")
PEOPLE = {
    one.key: one
    for one in (
        OWNER,
        person("contact:2", "contact", Scope(), owner="Others"),
        person("omar", "operator", Scope(owner=frozenset({"Bint-e-Hawa"}))),
        person("ayesha", "desk", LAHORE),
        person("karim", "desk", KARACHI),
        person("lubna", "desk", LAHORE),
        person("root", "admin", Scope()),
    )
}
BOOK = RoutingBook(
    routes=(AlertRoute(1),),
    plans=plans.SHIPPED,
    rotas=(Rota("desk", ("ayesha",), MONDAY, scope=LAHORE), Rota("lead", ("lubna",), MONDAY, scope=LAHORE)),
    people=PEOPLE,
    channels=(SMS, MAIL),
)
INCIDENT = IncidentFacts(7, "serious", "power", centers=(HOME,))


def sent(decision: RoutingDecision) -> list[tuple[str, str, str]]:
    return [(one.person, one.channel, one.reason.code) for one in decision.messages if one.is_sent]


def withheld(decision: RoutingDecision) -> list[tuple[str, str]]:
    return [(one.person, one.reason.code) for one in decision.messages if not one.is_sent]


def test_an_incident_that_opens_calls_its_operator_and_puts_the_desk_on_the_clock() -> None:
    found = decide("opened", INCIDENT, BOOK, NOON)
    assert sent(found) == [("contact:1", "sms", "route.operator"), ("omar", "sms", "route.operator")]
    assert found.pending == (PendingStep(1, 1, NOON + 30 * MINUTE),)
    assert found.begun == (1,)
    assert found.messages[0].lang == "ur"


def test_escalation_reaches_every_level_in_its_time() -> None:
    pending, told = decide("opened", INCIDENT, BOOK, NOON).pending, []
    while pending:
        (one,) = pending
        taken = escalate(pending, NOON, INCIDENT, BOOK, one.due_ms)
        told.append(((one.due_ms - NOON) // HOUR, sent(taken)))
        pending = taken.pending
    assert told == [
        (0, [("ayesha", "sms", "route.duty")]),
        (4, [("lubna", "sms", "route.duty")]),
        (24, [("root", "sms", "route.role")]),
    ]


@pytest.mark.parametrize("state", ["acknowledged", "in_progress", "waiting", "resolved", "merged"])
def test_somebody_who_looks_after_it_stops_the_clock(state: str) -> None:
    looked_after = replace(INCIDENT, state=state)  # type: ignore[arg-type]
    due = [PendingStep(1, 1, NOON)]
    assert escalate(due, NOON, looked_after, BOOK, NOON + HOUR) == RoutingDecision()
    assert escalate(due, NOON, replace(INCIDENT, is_snoozed=True), BOOK, NOON + HOUR) == RoutingDecision()
    assert sent(escalate(due, NOON, INCIDENT, BOOK, NOON + HOUR)) == [("ayesha", "sms", "route.duty")]


def test_what_begins_again_while_somebody_works_on_it_begins_no_plan() -> None:
    worked_on = replace(INCIDENT, state="in_progress", hearers={"omar": "sms"})
    found = decide("reopened", worked_on, BOOK, NOON)
    assert (found.begun, sent(found)) == ((), [("omar", "sms", "route.told_before")])


def test_an_acknowledgement_that_ran_out_begins_again() -> None:
    told = replace(INCIDENT, hearers={"ayesha": "mail"}, routes=frozenset({1}))
    found = decide("ack_expired", told, BOOK, NOON)
    assert ("ayesha", "mail", "route.told_before") in sent(found)
    assert ("omar", "sms", "route.operator") in sent(found)
    assert found.pending == (PendingStep(1, 1, NOON + 30 * MINUTE),)


def test_whoever_was_told_hears_how_it_ends_and_nobody_else() -> None:
    told = replace(INCIDENT, hearers={"omar": "sms", "gone": "sms", "karim": "sms"}, state="resolved")
    assert sent(decide("resolved", told, BOOK, NOON)) == [("omar", "sms", "route.told_before")]
    assert decide("better", replace(told, state="new"), BOOK, NOON).begun == ()


NIGHT = MONDAY + 23 * HOUR
MORNING = MONDAY + 33 * HOUR  # 09:00 of Tuesday
OFFICE = replace(PEOPLE["ayesha"], hours="Mon-Fri 09:00-17:00")


def due(decision: RoutingDecision) -> list[tuple[str, int]]:
    return [(one.person, one.due_ms) for one in decision.messages if one.is_sent]


@pytest.mark.parametrize("act", ["worse", "resolved", "acknowledged"])
def test_whoever_is_off_duty_hears_how_it_goes_on_when_their_hours_begin(act: str) -> None:
    book = replace(BOOK, people=PEOPLE | {"ayesha": OFFICE}, rotas=())
    told = replace(INCIDENT, hearers={"ayesha": "sms", "lubna": "sms"}, state="acknowledged")
    assert due(decide(act, told, book, NOON)) == [("ayesha", 0), ("lubna", 0)]
    assert due(decide(act, told, book, NIGHT)) == [("ayesha", MORNING), ("lubna", 0)]
    never = replace(OFFICE, hours="Mon-Sun closed")
    kept = decide(act, told, replace(book, people=PEOPLE | {"ayesha": never}), NIGHT)
    assert withheld(kept) == [("ayesha", "route.off_duty")]


def test_whoever_is_on_duty_by_a_rota_hears_it_at_any_hour() -> None:
    on_duty = replace(BOOK, people=PEOPLE | {"ayesha": OFFICE})
    told = replace(INCIDENT, hearers={"ayesha": "sms"}, state="acknowledged")
    assert due(decide("resolved", told, on_duty, NIGHT)) == [("ayesha", 0)]
    elsewhere = replace(on_duty, rotas=[replace(one, scope=KARACHI) for one in BOOK.rotas])
    assert due(decide("resolved", told, elsewhere, NIGHT)) == [("ayesha", MORNING)]


def test_whoever_runs_a_center_that_joined_later_is_told_too() -> None:
    begun = replace(INCIDENT, hearers={"omar": "sms"}, routes=frozenset({1}))
    assert sent(latecomers(begun, BOOK, NOON)) == [("contact:1", "sms", "route.operator")]
    assert sent(latecomers(replace(begun, state="acknowledged"), BOOK, NOON)) == [
        ("contact:1", "sms", "route.operator")
    ]
    for over in (replace(begun, state="resolved"), replace(begun, is_snoozed=True), replace(begun, routes=frozenset())):
        assert latecomers(over, BOOK, NOON).messages == ()


def test_an_acknowledgement_is_echoed_to_the_others() -> None:
    told = replace(INCIDENT, hearers={"omar": "sms", "ayesha": "sms"}, state="acknowledged")
    assert sent(decide("acknowledged", told, BOOK, NOON, actor="ayesha")) == [("omar", "sms", "route.told_before")]


def test_worse_begins_the_routes_that_fit_only_now() -> None:
    book = replace(BOOK, routes=(AlertRoute(1), AlertRoute(2, severity="urgent")))
    assert decide("opened", INCIDENT, book, NOON).begun == (1,)
    worse = replace(INCIDENT, severity="urgent", routes=frozenset({1}))
    assert decide("worse", worse, book, NOON).begun == (2,)


def test_a_step_that_reaches_nobody_is_followed_at_once() -> None:
    nobody = replace(BOOK, people={key: one for key, one in PEOPLE.items() if one.role in ("desk", "admin")})
    found = decide("opened", INCIDENT, nobody, NOON)
    assert withheld(found) == [("", "route.nobody")]
    assert sent(found) == [("ayesha", "sms", "route.duty")]
    assert found.pending == (PendingStep(1, 2, NOON + 4 * HOUR),)


def test_an_officer_off_duty_is_not_called_and_the_next_alternative_is() -> None:
    plan = {"p": (PlanStep(0, parse_targets("person ayesha | role admin")),)}
    people = {**PEOPLE, "ayesha": replace(PEOPLE["ayesha"], hours="Mon-Fri 09:00-17:00")}
    book = replace(BOOK, routes=(AlertRoute(1, plan="p"),), plans=plan, people=people)
    assert sent(decide("opened", INCIDENT, book, NOON)) == [("ayesha", "sms", "route.named")]
    late = decide("opened", INCIDENT, book, MONDAY + 20 * HOUR)
    assert (withheld(late), sent(late)) == ([("ayesha", "route.off_duty")], [("root", "sms", "route.role")])
    holiday = replace(book, days=(DayRule(739_649, 739_649),))
    assert withheld(decide("opened", INCIDENT, holiday, NOON)) == [("ayesha", "route.off_duty")]


def test_a_rota_has_hours_of_its_own() -> None:
    people = {**PEOPLE, "ayesha": replace(PEOPLE["ayesha"], hours="Mon-Fri 09:00-17:00")}
    night_ms = MONDAY + 23 * HOUR
    night = escalate([PendingStep(1, 1, night_ms)], night_ms - HOUR, INCIDENT, replace(BOOK, people=people), night_ms)
    assert sent(night) == [("ayesha", "sms", "route.duty")]


def test_nobody_is_told_of_centers_beyond_their_own_or_without_an_address() -> None:
    plan = {"p": (PlanStep(0, parse_targets("person karim")), PlanStep(60, parse_targets("person lubna")))}
    people = {**PEOPLE, "lubna": replace(PEOPLE["lubna"], addresses={})}
    book = replace(BOOK, routes=(AlertRoute(1, plan="p"),), plans=plan, people=people)
    found = decide("opened", INCIDENT, book, NOON)
    assert withheld(found) == [("karim", "route.out_of_scope"), ("lubna", "route.no_address")]


def test_channels_are_taken_in_their_order_or_in_that_of_the_step() -> None:
    plan = {"p": (PlanStep(0, parse_targets("person ayesha"), ("mail", "sms")),)}
    book = replace(BOOK, routes=(AlertRoute(1, plan="p"),), plans=plan)
    assert sent(decide("opened", INCIDENT, book, NOON)) == [("ayesha", "mail", "route.named")]


@pytest.mark.parametrize(
    ("route", "fits"),
    [
        (AlertRoute(1, LAHORE), True),
        (AlertRoute(1, KARACHI), False),
        (AlertRoute(1, Scope(owner=frozenset({"Others"}))), False),
        (AlertRoute(1, Scope(province=frozenset({"Punjab"}))), True),
        (AlertRoute(1, severity="urgent"), False),
        (AlertRoute(1, severity="serious"), True),
        (AlertRoute(1, families=("line",)), False),
        (AlertRoute(1, families=("line", "power")), True),
        (AlertRoute(1, hours="Mon 11:00-13:00"), True),
        (AlertRoute(1, hours="Tue 11:00-13:00"), False),
    ],
)
def test_a_route_fits_by_place_severity_family_and_hours(route: AlertRoute, fits: bool) -> None:
    assert route.fits(INCIDENT, NOON) is fits
    assert bool(decide("opened", INCIDENT, replace(BOOK, routes=(route,)), NOON).begun) is fits


def test_a_route_may_speak_another_language() -> None:
    book = replace(BOOK, routes=(AlertRoute(1, lang="ur"),))
    assert {one.lang for one in decide("opened", INCIDENT, book, NOON).messages} == {"ur"}


def test_one_person_gets_one_message_of_two_routes() -> None:
    book = replace(BOOK, routes=(AlertRoute(1), AlertRoute(2)))
    assert len(sent(decide("opened", INCIDENT, book, NOON))) == 2


def test_a_rehearsal_says_who_would_be_told_when() -> None:
    found = [((at_ms - NOON) // MINUTE, one.person) for at_ms, one in rehearse(INCIDENT, BOOK, NOON)]
    assert found == [(0, "contact:1"), (0, "omar"), (30, "ayesha"), (240, "lubna"), (1440, "root")]


@pytest.mark.parametrize("text", ["", "everybody", "role king", "rota", "person", "operator x", "rota a b", "|"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(RoutingError, match="target"):
        parse_targets(text)


def test_plans_and_routes_are_checked() -> None:
    with pytest.raises(RoutingError, match=r"routing\.steps"):
        plans.check([])
    with pytest.raises(RoutingError, match="after"):
        plans.check([PlanStep(-1, parse_targets("operator"))])
    with pytest.raises(RoutingError, match="family"):
        check(AlertRoute(), plans.SHIPPED, families=["weather"])
    with pytest.raises(RoutingError, match="hours"):
        check(AlertRoute(hours="never"), plans.SHIPPED)
    with pytest.raises(RoutingError, match="plan"):
        check(AlertRoute(plan="none"), plans.SHIPPED)
