"""What people do with incidents: each act is a row with its person, in the transaction that makes the change.

Every act raises WorkError, one sentence with the thing, the rule and the fix, when it cannot be.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

import sqlalchemy as sa

from agent.common.center_time import TZ
from agent.common.reasons import Reason
from collector.access.accounts import directory
from collector.access.users import key_of
from collector.desk import causes, files, groups, tables
from collector.desk.incident import ACK_S, MAX_ACK_S, WAITS, Act, Incident, Values, WorkError
from collector.desk.survey import Desk
from collector.register.opening_hours import local
from collector.standard import Standards
from collector.store import attachment_bytes

MAX_TEXT = 500  # characters of a note
MAX_NAME = 64
ADDRESS = re.compile(r"https?://[^\s<>\"'`\\]{3,300}")
SHOWN = 12  # names of a sentence


def acknowledge(conn: sa.Connection, number: int, person: str, note: str, now_ms: int, for_s: int = ACK_S) -> Incident:
    """Somebody looks after it: who, with a note, until when. It re-opens when that time is over or it gets worse."""
    if not 60 <= for_s <= MAX_ACK_S:
        raise WorkError(f"ack: {for_s} s is too short or too long; give one minute to {MAX_ACK_S // 86_400} days")
    incident = _open(conn, number)
    _needs(note, "ack: needs a note; say what is being done")
    values: Values = {"owner": _named(person), "state": "acknowledged", "ack_until_ms": now_ms + for_s * 1000}
    detail = _until(now_ms + for_s * 1000)
    return _act(conn, incident, "acknowledged", values, person, note, now_ms, detail)


def assign(conn: sa.Connection, number: int, owner: str, person: str, note: str, now_ms: int) -> Incident:
    """Gives it to somebody who has an account; `owner` and `person` the same: takes it."""
    incident = _open(conn, number)
    name = _known(conn, _named(owner), _named(person))
    detail = Reason.of("incident.owner", name=name)
    return _act(conn, incident, "assigned", {"owner": name}, person, note, now_ms, detail)


def start(conn: sa.Connection, number: int, person: str, note: str, now_ms: int) -> Incident:
    """It is being worked on."""
    incident = _open(conn, number)
    values: Values = {"state": "in_progress", "waiting_for": "", "ack_until_ms": None}
    values |= {} if incident.owner else {"owner": _named(person)}
    return _act(conn, incident, "started", values, person, note, now_ms)


def wait(conn: sa.Connection, number: int, for_whom: str, person: str, note: str, now_ms: int) -> Incident:
    """Somebody else is to act: the operator, the provider, or whoever gives power."""
    if for_whom not in WAITS:
        raise WorkError(f"wait: {for_whom[:40]!r} is nobody to wait for; use one of {' '.join(WAITS)}")
    incident = _open(conn, number)
    values: Values = {"state": "waiting", "waiting_for": for_whom, "ack_until_ms": None}
    return _act(conn, incident, "waiting", values, person, note, now_ms, Reason.of("incident.waits", party=for_whom))


def note(conn: sa.Connection, number: int, person: str, text: str, now_ms: int) -> Incident:
    """Also of one that is over."""
    _needs(text, "note: is empty; write what the next reader needs to know")
    return _act(conn, _lives(conn, number), "noted", {}, person, text, now_ms)


def link(conn: sa.Connection, number: int, to: str, person: str, note: str, now_ms: int) -> Incident:
    """It has to do with another incident, which says so too, or with a ticket or page elsewhere."""
    incident, target = _lives(conn, number), "".join(to.split()).removeprefix("#")
    if target.isascii() and target.isdigit() and len(target) < 16:
        other = tables.get(conn, int(target))
        if other.id == number:
            raise WorkError(f"link: {number} is this incident; name another")
        _act(conn, other, "linked", {}, person, note, now_ms, Reason.of("incident.linked", to=str(number)))
        target = str(other.id)
    elif not ADDRESS.fullmatch(target):
        raise WorkError(
            f"link: {to[:40]!r}: must be the number of an incident, or an address such as https://example.pk/4711"
        )
    return _act(conn, incident, "linked", {}, person, note, now_ms, Reason.of("incident.linked", to=target))


def attach(conn: sa.Connection, number: int, name: str, body: bytes, person: str, note: str, now_ms: int) -> Incident:
    """A file, also to one that is over. Bytes that an older copy of the database lacked are held again."""
    incident = _lives(conn, number)
    held = {one.sha256: one for one in files.of_incident(conn, number)}
    digest = hashlib.sha256(body).hexdigest()
    if digest in held:
        if attachment_bytes.get(conn, digest) is not None:
            raise WorkError(f"file: incident {number} has it already, as {held[digest].name}")
        attachment_bytes.keep(conn, digest, body)
        return incident
    detail = files.check(name, body, len(held))
    attachment_bytes.keep(conn, digest, body)
    return _act(conn, incident, "attached", {}, person, note, now_ms, detail)


def snooze(conn: sa.Connection, number: int, until_ms: int, person: str, reason: str, now_ms: int) -> Incident:
    """No messages of it until then; if it still lasts, people are told again."""
    _needs(reason, "snooze: needs a reason; say why nobody is to be told")
    if not now_ms < until_ms <= now_ms + 90 * 86_400_000:
        raise WorkError("snooze: its end must lie ahead, at most 90 days; correct it")
    incident = _open(conn, number)
    detail = _until(until_ms)
    values: Values = {"snoozed_until_ms": until_ms}
    done = _act(conn, incident, "snoozed", values, person, reason, now_ms, detail)
    tables.hush(conn, number)
    return done


def resolve(conn: sa.Connection, number: int, person: str, reason: str, now_ms: int) -> Incident:
    """Closed by hand, with a reason. Flags that are still raised stay on their centers' pages; they are told of again
    only after they were cleared."""
    _needs(reason, "resolve: needs a reason; evidence resolves incidents by itself")
    incident = _open(conn, number)
    tables.leave(conn, tables.members(conn, [number]), now_ms)
    values: Values = {"state": "resolved", "resolved_ms": now_ms, "centers": 0, "ack_until_ms": None}
    tables.hush(conn, number)
    return _act(conn, incident, "closed", values | {"unstable_ms": None}, person, reason, now_ms)


def review(conn: sa.Connection, number: int, person: str, text: str, now_ms: int) -> Incident:
    """Looked at once more after it was over."""
    incident = _lives(conn, number)
    if incident.state != "resolved":
        raise WorkError(f"incident {number}: is {incident.state}; only one that is resolved can be reviewed")
    return _act(conn, incident, "reviewed", {"state": "reviewed"}, person, text, now_ms)


def recause(conn: sa.Connection, number: int, name: str, person: str, reason: str, now_ms: int) -> Incident:
    """The cause as a person knows it; it stands from now on."""
    _needs(reason, "cause: needs a reason; say how it is known")
    cause = causes.by_hand(name)
    incident = _lives(conn, number)
    values: Values = {"cause": cause, "cause_by": _named(person)}
    return _act(conn, incident, "recaused", values, person, reason, now_ms, Reason.of("incident.cause", gap=name))


def merge(
    conn: sa.Connection, number: int, into: int, standards: Standards, person: str, reason: str, now_ms: int
) -> Incident:
    """One incident becomes part of another."""
    _needs(reason, "merge: needs a reason; say how the two are known to be one")
    if number == into:
        raise WorkError(f"merge: {number} into itself; name two incidents")
    source, target = _open(conn, number), _open(conn, into)
    desk = Desk(conn, standards, now_ms)
    groups.merge(desk, source, target, _named(person), _text(reason))
    return tables.recount(conn, tables.get(conn, into), now_ms)


def split(
    conn: sa.Connection,
    number: int,
    centers: Sequence[str],
    standards: Standards,
    person: str,
    reason: str,
    now_ms: int,
) -> Incident:
    """Some centers of an incident become one of their own, which is returned."""
    _needs(reason, "split: needs a reason; say how their cause is known to be another")
    incident = _open(conn, number)
    in_it = {one.center for one in tables.members(conn, [number])}
    if strangers := sorted(set(centers) - in_it):
        raise WorkError(f"split: {strangers[0]} is not in incident {number}; name centers that are")
    if not centers or not in_it - set(centers):
        raise WorkError(f"split: takes some of the centers of incident {number}, not none or all; name fewer")
    return groups.split(Desk(conn, standards, now_ms), incident, list(centers), _named(person), _text(reason))


# ---------------------------------------------------------------- what all acts share


def _act(
    conn: sa.Connection,
    incident: Incident,
    act: Act,
    values: Values,
    person: str,
    text: str,
    now_ms: int,
    detail: Reason | None = None,
) -> Incident:
    changed = tables.change(conn, incident, values)
    tables.record(conn, changed, act, now_ms, person=_named(person), text=_text(text), detail=detail)
    return changed


def _lives(conn: sa.Connection, number: int) -> Incident:
    tables.lock(conn)
    incident = tables.get(conn, number)
    if incident.state == "merged":
        raise WorkError(f"incident {number}: was taken into {incident.merged_into}; act on that one")
    return incident


def _open(conn: sa.Connection, number: int) -> Incident:
    incident = _lives(conn, number)
    if not incident.is_open:
        raise WorkError(f"incident {number}: is over; a note or a review is all that it takes now")
    return incident


def _until(at_ms: int) -> Reason:
    return Reason.of("incident.until", time=local(at_ms, TZ))


def _needs(text: str, problem: str) -> None:
    if not _text(text).strip():
        raise WorkError(problem)


def _named(name: str) -> str:
    text = " ".join(_text(name).split())[:MAX_NAME]
    if not text:
        raise WorkError("name: is empty; say who does this")
    return text


def _known(conn: sa.Connection, name: str, person: str) -> str:
    """The name as its account has it: what is given to nobody, nobody works on. Who acts is known already; before there
    are accounts, names are words."""
    if key_of(name) == key_of(person):
        return name
    account = directory.account_of(conn, name)
    if account is not None:
        return account.name
    names = [one.account.name for one in directory.everybody(conn) if one.removed_ms is None]
    if not names:
        return name
    others = f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more" if len(names) > SHOWN else ", ".join(names)
    raise WorkError(f"assign: {name!r}: nobody of that name has an account; name one of {others}")


def _text(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_TEXT]
