"""The language files: no text is missing in one of them, and none is left over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from agent import wire
from agent.common.causes import Cause, LineCause, SpeedFlag, UplinkCause
from agent.common.power import Source
from agent.common.words import catalogue
from agent.config import SpeedSection
from collector.access.accounts.contacts import KINDS, TEXTS
from collector.access.accounts.policy import ROLES
from collector.access.users import Act, Doubt
from collector.acts.adoption import AdoptionState
from collector.common.messages import Finding
from collector.common.scope import PARTS
from collector.desk.alerts.answers.acts import ANSWER_ACTS
from collector.desk.alerts.breaker import BreakerState
from collector.desk.alerts.digest import DigestKind
from collector.desk.alerts.lists import ALERT_STATES
from collector.desk.incident import ALERTS, ROUTED, WAITS
from collector.desk.incident import STATES as STATES_OF_WORK
from collector.desk.incident import Act as IncidentAct
from collector.desk.symptoms import Family, Scope
from collector.desk.view.desk_clock import BYS
from collector.desk.windows import MODES
from collector.judging.flags.cause import GRADES, NAMES
from collector.judging.flags.machine import State
from collector.register.calendar import KINDS as ENTRY_KINDS
from collector.register.calendar import SCOPES
from collector.register.centers import COLUMNS, LIFECYCLE, TIERS
from collector.register.opening_hours import DAYS
from collector.register.providers import ProviderPath
from collector.remote.questions import KINDS as KINDS_OF_QUESTIONS
from collector.reports.daily_samples import Fate
from collector.reports.disputes.dispute import OUTCOMES
from collector.reports.disputes.dispute import State as DisputeState
from collector.reports.exclusions import ExclusionCode
from collector.reports.ledger import Bucket, FormerBucket
from collector.reports.revisions import SHOWN as DIFFERENCES
from collector.standard.check import READINGS, value_type
from collector.standard.criteria import AUDIT, CLOCK, DEAF, DERIVED, YES_NO, Severity
from collector.store.jobs.workers import WORKER_WAITS
from collector.store.queries import STATES
from collector.web import view
from collector.web.desk import windows
from collector.web.fleet import layers, now, setup
from collector.web.incidents import ACTS
from collector.web.interfaces import install
from collector.web.pages import account, approvals, centers, contacts, keys, log_in, people
from tests.helpers.texts import CODES, LANGUAGES, SOURCES, TEMPLATES, places, raw_texts

FORM = re.compile(r"\.(zero|one|two|few|many|other)$")
FREE = ("language.", "province.")  # a province is whatever the register says
COUNTED = {"unit.s", "unit.min", "unit.h", "unit.d", "news", "now.fresh", "map.centers", "map.placed"}
COUNTED |= {"revision.readings", "revision.records", "revision.outages", "revision.facts", "revision.calendar"}
COUNTED |= {"revision.disputes", "revision.inspections"}


# ---------------------------------------------------------------- what is asked for


def literals(hint: object) -> Iterator[str]:
    """The words of a Literal, wherever it stands in a type."""
    if get_origin(hint) is Literal:
        yield from (word for word in get_args(hint) if isinstance(word, str))
    else:
        for part in get_args(hint):
            yield from literals(part)


def rooms() -> Iterator[tuple[str, object]]:
    """(room, its words): keys that are made of the two."""
    yield "cause", get_args(Cause)
    yield "uplink", get_args(UplinkCause)
    yield "word.flags", get_args(SpeedFlag)
    yield "word.causes", get_args(LineCause)
    yield "word.source", get_args(Source)
    yield "word.provider_path", get_args(ProviderPath)
    yield "word", ("true", "false")
    yield from ((f"word.{name}", ("yes", "no")) for _, name in YES_NO)
    yield "kind", wire.KINDS
    yield "seat", literals(get_type_hints(wire.SeatColumns)["state"])
    yield "state", (*STATES, "all")
    yield "why", ("waiting", "meets", "closed", "paused")
    yield "center", [name for name in COLUMNS if name != "center"]
    yield "lifecycle", LIFECYCLE
    yield "tier", TIERS
    yield "flag", get_args(State)
    yield "verdict", (*centers.VERDICTS, "watch")
    yield "theme", view.THEMES
    yield "range", centers.RANGES_S
    yield "asked", ("at_least", "at_most")
    yield "fault", ("lan", "isp", "beyond")
    yield "direction", ("down", "up")
    yield "power_state", ("mains", "battery", "battery_low")
    yield "test", ("desk", "retest", "too_late", "no_result", "server_gone")
    yield from ((f"error{part}", (403, 404, 503, "other")) for part in ("", ".fix"))
    yield "gateways.why", approvals.SAID
    yield "login.why", log_in.SAID
    yield "menu", view.MENU
    yield "nav", view.ROOMS
    yield "part", ("now", "story", "standard", "seats", "months", "gateway")
    yield "now.tab", now.TABS
    yield "setup.step", setup.STEPS
    yield "install.step", install.STEPS
    yield "question.kind", KINDS_OF_QUESTIONS
    yield "layers.standing", layers.STANDINGS
    yield "clock", BYS
    yield "trace.fate", get_args(Fate)
    yield "install", ("expired", "refused", "scan", "stuck", "title")
    yield "setup.funnel", setup.FUNNEL
    yield "setup.ttl", setup.TTLS_S
    yield "setup.why", (*setup.SAID, "no_center")
    yield "setup.check", ("parts", "beat", "queue", "disk", "backup", "certificates", "clock")
    yield "setup.job", setup.JOBS
    yield "setup.worker.waits", WORKER_WAITS
    yield "answer", ANSWER_ACTS
    yield "now.none", ("mine", "free")
    yield "now.key", now.KEYS
    yield "login.why", account.SAID
    yield "people.why", people.SAID
    yield "keys.why", keys.SAID
    yield "contacts.why", contacts.SAID
    yield "contacts", TEXTS
    yield "contacts.kind", KINDS
    yield "account.kind", ("totp", "passkey")
    yield "role", ROLES
    yield "scope", PARTS
    yield "act", get_args(Act)
    yield "gateways", ("approved", "refused")
    yield "adoption.state", get_args(AdoptionState)
    yield "calendar.kind", ENTRY_KINDS
    yield "calendar.scope", SCOPES
    yield "register.state", ("holds", "waiting", "withdrawn")
    yield "disputes.state", get_args(DisputeState)
    yield "disputes.outcome", OUTCOMES
    yield "disputes.test", ("asked", "granted", "done", "expired", "refused")
    yield from (("gateways.doubt", (f"{doubt}{part}" for doubt in get_args(Doubt))) for part in ("", ".head"))
    yield "gap", NAMES
    yield "grade", GRADES
    yield "incident.scope", get_args(Scope)
    yield "incident.family", get_args(Family)
    yield "incident.title", (*ALERTS, *ROUTED)
    yield "incident.act", get_args(IncidentAct)
    yield "incident.state", STATES_OF_WORK
    yield "incidents.act", ACTS
    yield from ((room, ANSWER_ACTS) for room in ("link.act", "link.done"))
    yield "alert.state", [state for state in ALERT_STATES if state != "all"]
    yield "digest.title", get_args(DigestKind)
    yield "party", WAITS
    yield "windows.mode", MODES
    yield "windows", (*windows.AGAIN, windows.BY_RULE)
    yield "channel", get_args(BreakerState)
    yield "finding", get_args(Finding)
    yield "severity", get_args(Severity)
    yield "day", DAYS
    yield "criterion", [f"{item.id}{part}" for item in (DEAF, CLOCK, AUDIT) for part in ("", ".fix")]
    yield from ((room, ("raised", "cleared")) for room in ("alert", "summary"))
    buckets = (*get_args(Bucket), *get_args(FormerBucket), "open")
    yield from (("ledger", dict.fromkeys(f"{name}{part}" for name in buckets)) for part in ("", ".means"))
    yield "exclusion", get_args(ExclusionCode)
    yield "report.what", DIFFERENCES
    yield "gateway.page.uplink", ("connected", "connecting", "off")
    yield "gateway.page.clock", get_args(wire.Clock)
    yield "gateway.page.mode", literals(get_type_hints(SpeedSection)["mode"])


def of_readings() -> set[str]:
    """The fields that a standard may name and a chart may draw, and the words that such a field may hold."""
    keys = {f"field.{name}" for _, name in DERIVED}
    keys |= {f"field.{figure.name}" for kind in wire.KINDS.values() for figure in kind.figures}
    for name, kind in wire.KINDS.items():
        for field, hint in get_type_hints(kind.struct).items():
            is_asked = name in READINGS and value_type(name, field) and not _has_struct(hint)
            keys |= {f"field.{field}"} if is_asked else set()
            if is_asked or field in ("previous_end", "last_gasp"):
                keys |= {f"word.{field}.{word}" for word in literals(hint)}
    return keys


def _has_struct(hint: object) -> bool:
    parts = (hint, *get_args(hint))
    return any(isinstance(part, type) and issubclass(part, msgspec.Struct) for part in parts) or any(
        _has_struct(part) for part in get_args(hint)
    )


def asked_for() -> set[str]:
    """Every key that the code is known to ask for; a counted one without its form."""
    rows = {f"{room}.{word}" for room, words in rooms() for word in words}  # type: ignore[attr-defined]
    return rows | of_readings() | COUNTED | asked_outright() | (CODES.keys() - {"text"})


ASKED = re.compile(r"""\b(?:t|words)(?:\.many|\.first)?\(["']([\w.]+)["'][,)]""")


def asked_outright() -> set[str]:
    """Keys that a module or a template asks for by name."""
    return {key for path in (*SOURCES, *TEMPLATES) for key in ASKED.findall(path.read_text("utf-8"))}


def written() -> set[str]:
    """What stands in quotes in a module or a template and may be a key."""
    text = "\n".join(path.read_text("utf-8") for path in (*SOURCES, *TEMPLATES))
    page = re.findall(r"""say\(words, ["']([\w.]+)["']""", text)
    own = {f"chart.{kind}" for kind in wire.KINDS} | {f"series.{name}" for name in centers.SERIES}
    keys = set(re.findall(r"""["']([a-z][\w.-]*)["']""", text)) | {f"gateway.page.{key}" for key in page}
    return keys | own | {"series.self_down", "series.bound", "series.promised"}


def forms(lang: str, key: str) -> set[str]:
    return {f"{key}.{form}" for form in (*catalogue(lang).plurals, "other")}


# ---------------------------------------------------------------- and what there is


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_is_missing(lang: str) -> None:
    texts = raw_texts(lang)
    codes_asked = asked_for() | (written() & raw_texts("en").keys())
    missing = {key for key in codes_asked if key not in texts and not forms(lang, key) <= texts.keys()}
    assert not missing, f"agent/common/text/{lang}.json has no text for {sorted(missing)}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_no_text_is_left_over(lang: str) -> None:
    known = asked_for() | written()
    counted = {form for key in known for form in forms(lang, key)}
    left = {key for key in raw_texts(lang) if key not in known | counted and not key.startswith(FREE)}
    assert not left, f"agent/common/text/{lang}.json: nobody asks for {sorted(left)}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_every_language_has_the_keys_of_english_and_no_place_that_english_lacks(lang: str) -> None:
    english, texts = raw_texts("en"), raw_texts(lang)
    assert {FORM.sub("", key) for key in texts} == {FORM.sub("", key) for key in english}
    for key in texts.keys() & english.keys():
        assert places(texts[key]) <= places(english[key]) | {"n"}, f"{lang}.json: {key}"
        assert re.fullmatch(r"([^{}]|{\w+})*", texts[key]), f"{lang}.json: {key}: a place is {{name}}"


@pytest.mark.parametrize("lang", LANGUAGES)
def test_a_counted_key_has_no_text_without_its_form(lang: str) -> None:
    """That would be said in its place."""
    texts = raw_texts(lang)
    assert {key for key in texts if f"{key}.other" in texts} == set()


def test_places_are_found() -> None:
    assert places("{a} of {b_s}") == {"a", "b_s"}
    assert forms("ur", "news") == {"news.one", "news.other"}
