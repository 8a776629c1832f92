"""The decision: an event of an incident, and routes, plans, rotas and people as they are now, make messages, each with
the reason why this person gets it or does not. Pure; `now_ms` is an argument.

1. Whoever was told that it began is told how it goes on and that it is over; off duty, once they are on duty again.
2. An event that calls for help begins the escalation of every route that fits: the steps of its plan that are due are
   taken, the next one is put on the clock. It is left alone once somebody acknowledges the incident or it is over.
3. A step that reaches nobody is followed by the next one at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from agent.common.reasons import Reason
from collector.desk.routing import rota as rotas
from collector.desk.routing.facts import IncidentFacts, PersonalChannel
from collector.desk.routing.plans import Plan, PlanStep, RoutingTarget
from collector.desk.routing.recipients import AddressKind, Recipient
from collector.desk.routing.rota import Rota
from collector.desk.routing.routes import AlertRoute
from collector.register.opening_hours import DayRule

ARMING = frozenset({"opened", "reopened", "ack_expired", "snooze_ended"})  # from these on, escalation's time runs
ECHOED = frozenset(
    {"acknowledged", "assigned", "closed", "noted"}
)  # what one person does and the others who were told learn


@dataclass(frozen=True)
class RoutingBook:
    """What is chosen from: routes in the order of their numbers, channels in that of the settings; `days` are the
    holidays."""

    routes: Sequence[AlertRoute] = ()
    plans: Mapping[str, Plan] = field(default_factory=dict)
    rotas: Sequence[Rota] = ()
    people: Mapping[str, Recipient] = field(default_factory=dict)
    channels: Sequence[PersonalChannel] = ()
    days: tuple[DayRule, ...] = ()


@dataclass(frozen=True)
class RoutedMessage:
    """One message to one person, to be sent at `due_ms` or, without one, at once; without a channel it is not sent, and
    the reason says why not."""

    person: str
    name: str
    channel: str
    address: str
    lang: str
    reason: Reason
    route: int = 0
    step: int = 0
    due_ms: int = 0

    @property
    def is_sent(self) -> bool:
        return bool(self.channel)


@dataclass(frozen=True)
class PendingStep:
    """A step of a route's plan that is to be taken at a time, unless somebody acknowledges the incident."""

    route: int
    step: int
    due_ms: int


@dataclass(frozen=True)
class RoutingDecision:
    """`begun`: the routes whose plans have been begun."""

    messages: tuple[RoutedMessage, ...] = ()
    pending: tuple[PendingStep, ...] = ()
    begun: tuple[int, ...] = ()


def decide(act: str, incident: IncidentFacts, book: RoutingBook, now_ms: int, actor: str = "") -> RoutingDecision:
    """What becomes of an event; `actor` is the key of the person who did it, who is not told of it."""
    hearers = [one for one in _told_before(incident, book, now_ms) if one.person != actor]
    if act in ECHOED or not incident.is_escalated:
        return RoutingDecision(_one_each(hearers))
    starting = act in ARMING
    begun = [
        route
        for route in (book.routes if starting or act == "worse" else ())
        if (starting or route.id not in incident.routes) and route.fits(incident, now_ms, book.days)
    ]
    taken = _joined(hearers, [_take(route, 0, incident, book, now_ms, now_ms) for route in begun])
    return replace(taken, begun=tuple(route.id for route in begun))


def escalate(
    pending: Iterable[PendingStep], armed_ms: int, incident: IncidentFacts, book: RoutingBook, now_ms: int
) -> RoutingDecision:
    """The steps whose time has come; nothing once somebody looks after the incident."""
    if not incident.is_escalated:
        return RoutingDecision()
    routes = {route.id: route for route in book.routes}
    taken = [
        _take(routes[one.route], one.step, incident, book, armed_ms, now_ms) for one in pending if one.route in routes
    ]
    return _joined([], taken)


def latecomers(incident: IncidentFacts, book: RoutingBook, now_ms: int) -> RoutingDecision:
    """Whoever is told at once by a route that has begun, and was not yet: their center joined the incident since."""
    if not incident.is_open or incident.is_snoozed:
        return RoutingDecision()
    messages = [
        message
        for route in book.routes
        if route.id in incident.routes
        for number, step in enumerate(book.plans.get(route.plan, ()))
        if step.after_s == 0
        for message in step_messages(route, number, step, incident, book, now_ms)
        if message.is_sent and message.person not in incident.hearers
    ]
    return RoutingDecision(_one_each(messages))


def _joined(hearers: Sequence[RoutedMessage], decisions: Sequence[RoutingDecision]) -> RoutingDecision:
    messages = [*hearers, *(message for one in decisions for message in one.messages)]
    return RoutingDecision(_one_each(messages), tuple(step for one in decisions for step in one.pending))


def _take(
    route: AlertRoute, first: int, incident: IncidentFacts, book: RoutingBook, armed_ms: int, now_ms: int
) -> RoutingDecision:
    """The route's steps from `first` on that are due, or whose predecessor reached nobody."""
    plan, messages, reached = book.plans.get(route.plan, ()), list[RoutedMessage](), True
    for number, step in enumerate(plan[first:], first):
        due_ms = armed_ms + step.after_s * 1000
        if due_ms > now_ms and reached:
            return RoutingDecision(tuple(messages), (PendingStep(route.id, number, due_ms),))
        batch = list(step_messages(route, number, step, incident, book, now_ms))
        messages += batch
        reached = any(one.is_sent for one in batch)
    return RoutingDecision(tuple(messages))


# ---------------------------------------------------------------- who


def step_messages(
    route: AlertRoute, number: int, step: PlanStep, incident: IncidentFacts, book: RoutingBook, now_ms: int
) -> Iterator[RoutedMessage]:
    """Of the first target that reaches anybody; those of targets before it say why they do not."""
    for target in step.targets:
        messages = [
            _message(person, why, route, number, step, incident, book, now_ms)
            for person, why in _people(target, incident, book, now_ms)
        ]
        if not messages:
            nobody = Reason.of("route.nobody", target=str(target))
            messages = [RoutedMessage("", "", "", "", "", nobody, route.id, number)]
        yield from messages
        if any(one.is_sent for one in messages):
            return


def _people(
    target: RoutingTarget, incident: IncidentFacts, book: RoutingBook, now_ms: int
) -> list[tuple[Recipient, Reason]]:
    """Each with the reason for which the target means this person."""
    if target.kind == "rota":
        return _on_duty(target.name, incident, book, now_ms)
    if target.kind == "person":
        person = next(
            (one for one in book.people.values() if target.name.casefold() in (one.key, one.name.casefold())), None
        )
        return [(person, Reason.of("route.named"))] if person else []
    if target.kind == "role":
        some = [one for one in book.people.values() if one.role == target.name and one.sees_any(incident.centers)]
        return [(one, Reason.of("route.role", role=target.name)) for one in some]
    return [
        (one, Reason.of("route.operator"))
        for one in book.people.values()
        if one.role in ("operator", "contact") and incident.centers and one.sees_any(incident.centers)
    ]


def _on_duty(name: str, incident: IncidentFacts, book: RoutingBook, now_ms: int) -> list[tuple[Recipient, Reason]]:
    some = [one for one in _rotas_about(incident, book) if one.name == name]
    on_duty = [(book.people.get(rotas.on_duty(one, now_ms, book.days) or ""), one.name) for one in some]
    return [(person, Reason.of("route.duty", rota=rota)) for person, rota in on_duty if person is not None]


def _rotas_about(incident: IncidentFacts, book: RoutingBook) -> list[Rota]:
    return [
        one for one in book.rotas if one.scope.is_all or any(one.scope.includes(center) for center in incident.centers)
    ]


def _message(
    person: Recipient, why: Reason, route: AlertRoute, number: int, step: PlanStep, incident: IncidentFacts,
    book: RoutingBook, now_ms: int,
) -> RoutedMessage:  # fmt: skip
    lang = route.lang or person.lang
    channel = channel_for(person, book.channels, step.via)
    refusal = None
    if not person.sees_any(incident.centers):
        refusal = Reason.of("route.out_of_scope")
    elif why.code != "route.duty" and not person.is_on(now_ms, book.days):  # a rota has hours of its own
        refusal = Reason.of("route.off_duty", hours=person.hours)
    elif channel is None:
        refusal = Reason.of("route.no_address")
    if refusal is not None or channel is None:
        return RoutedMessage(person.key, person.name, "", "", lang, refusal or why, route.id, number)
    address = person.addresses[channel.address]
    return RoutedMessage(person.key, person.name, channel.name, address, lang, why, route.id, number)


def channel_for(
    person: Recipient, channels: Sequence[PersonalChannel], via: Sequence[str] = ()
) -> PersonalChannel | None:
    """The first channel for which the person has an address; `via` names some, in their order."""
    known = {one.name: one for one in channels}
    wanted = [known[name] for name in via if name in known] if via else channels
    return next((one for one in wanted if person.addresses.get(one.address)), None)


def _told_before(incident: IncidentFacts, book: RoutingBook, now_ms: int) -> list[RoutedMessage]:
    """Whoever got a message of this incident, by the same channel if it still reaches them. Whoever is off duty is not
    woken: a plan calls those who are on duty, and the others hear of it when their hours begin (so do Opsgenie, which
    calls whoever is on duty when a snooze ends, and PagerDuty, which tells of an end only on request)."""
    on_duty = {rotas.on_duty(one, now_ms, book.days) for one in _rotas_about(incident, book)}
    batch = []
    for key, name in incident.hearers.items():
        person = book.people.get(key)
        if person is None or not person.sees_any(incident.centers):
            continue
        channel = channel_for(person, book.channels, (name,)) or channel_for(person, book.channels)
        if channel is None:
            continue
        address: AddressKind = channel.address
        is_on = key in on_duty or person.is_on(now_ms, book.days)
        due_ms = 0 if is_on else person.on_from_ms(now_ms, book.days)
        if due_ms is None:
            off = Reason.of("route.off_duty", hours=person.hours)
            batch.append(RoutedMessage(person.key, person.name, "", "", person.lang, off))
            continue
        why, to = Reason.of("route.told_before"), person.addresses[address]
        batch.append(RoutedMessage(person.key, person.name, channel.name, to, person.lang, why, due_ms=due_ms))
    return batch


def _one_each(messages: Iterable[RoutedMessage]) -> tuple[RoutedMessage, ...]:
    """One message a person: the first of several reasons counts. Those not sent are kept, as they say why."""
    selection: list[RoutedMessage] = []
    sent: set[str] = set()
    for one in messages:
        if one.is_sent and one.person in sent:
            continue
        selection.append(one)
        if one.is_sent:
            sent.add(one.person)
    return tuple(selection)


# ---------------------------------------------------------------- without sending


def rehearse(incident: IncidentFacts, book: RoutingBook, armed_ms: int) -> list[tuple[int, RoutedMessage]]:
    """(when, message) of all steps of all routes that fit, if nobody acknowledged: what `route test` prints."""
    schedule: list[tuple[int, RoutedMessage]] = []
    for route in book.routes:
        if not route.fits(incident, armed_ms, book.days):
            continue
        reached, at_ms = True, armed_ms
        for number, step in enumerate(book.plans.get(route.plan, ())):
            at_ms = armed_ms + step.after_s * 1000 if reached else at_ms
            messages = list(step_messages(route, number, step, incident, book, at_ms))
            schedule += [(at_ms, one) for one in messages]
            reached = any(one.is_sent for one in messages)
    return schedule
