"""The local page for people: one document, no script, reloads itself, light and dark, in every language of the
catalogue. Pure.

Its words are `gateway.page.…` of the language files, besides those that all pages share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from agent.common.bufferbloat import bloat
from agent.common.causes import REFUSALS
from agent.common.reading_codes import corrections_of, evidence_of, faults_of
from agent.common.reasons import Reason
from agent.local.board import StatusView, key_of
from agent.local.page_words import Html, PageWords, html, page_words
from agent.wire import (
    KINDS,
    BootReading,
    GatewayReading,
    LinkReading,
    Reading,
    SeatsReading,
    SpeedReading,
    UpsReading,
    kind_of,
)

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--dim:#5b6675;--paper:#f6f7f9;--card:#fff;--line:#dde2e8;--good:#1a7f4b;
--bad:#b3261e;--warn:#8a5a00;--accent:#1f6feb}
@media(prefers-color-scheme:dark){:root{--ink:#e7ebf0;--dim:#9aa7b5;--paper:#12161c;--card:#1b2129;--line:#2c3540;
--good:#56c98a;--bad:#ff8a80;--warn:#f0b849;--accent:#79b0ff}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
[lang=ur]{font-family:"Noto Nastaliq Urdu","Jameel Noori Nastaleeq",system-ui,sans-serif;line-height:2}
main{max-width:66rem;margin:0 auto;padding:1rem}header{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1rem;margin:0 0 .5rem}header a{margin-inline-start:auto}
a{color:var(--accent)}
.grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(17rem,1fr));margin:1rem 0}
section{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:1rem;min-width:0}
dl{display:grid;grid-template-columns:1fr fit-content(65%);gap:.15rem 1rem;margin:0}dt,small{color:var(--dim)}
dd{margin:0;text-align:end;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
svg{display:block;width:100%;height:2.5rem;margin-top:.75rem}polyline{fill:none;stroke:var(--accent);stroke-width:1.5;
vector-effect:non-scaling-stroke}.good{color:var(--good)}.bad{color:var(--bad)}.warn{color:var(--warn)}
ul{margin:.5rem 0 0;padding-inline-start:1.2rem}
"""

Row = tuple[Html, Html]  # (label, value)
NOTHING = Html("")


def page(view: StatusView, language: str, languages: Mapping[str, str]) -> str:
    """The whole document in one of the languages ({code: its own name})."""
    words = page_words(language)
    named = [words.name(part) for part in (view.center_name, view.center) if part]
    name = words.joined(Html(" · "), named) if named else say(words, "not_enrolled")
    cards = joined(card(key, reading, view, words) for key, reading in sorted(view.last.items(), key=_in_order))
    empty = NOTHING if cards else Html(f"<p>{say(words, 'nothing')}</p>")
    title = say(words, "title")
    return (
        f'<!doctype html><html lang="{words.lang}" dir="{words.dir}"><head>'
        '<meta charset="utf-8"><meta http-equiv="refresh" content="15">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title} · Nabz</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{title}</h1><span>{name}</span>{links(language, languages)}</header>"
        f'<div class="grid">{standing_card(view, words)}{uplink_card(view, words)}{cards}</div>'
        f"{empty}{failures(view, words)}"
        f"<p><small>Nabz {html(view.version)} · {words.ltr(view.device)} · "
        f'<a href="/status.json">{say(words, "as_data")}</a></small></p></main></body></html>'
    )


def say(words: PageWords, key: str, **values: object) -> Html:
    """One of the page's own texts."""
    return words(f"gateway.page.{key}", **values)


def joined(parts: Iterable[Html]) -> Html:
    return Html("".join(parts))


def links(language: str, languages: Mapping[str, str]) -> Html:
    """To the same page in the other languages."""
    others = ((code, name) for code, name in languages.items() if code != language)
    return joined(Html(f'<a href="/?lang={html(code)}" lang="{html(code)}">{html(name)}</a>') for code, name in others)


def _in_order(item: tuple[str, Reading]) -> tuple[int, str]:
    """As the kinds stand in their table."""
    return list(KINDS).index(kind_of(item[1]).name), item[0]


def toned(tone: str, value: Html) -> Html:
    return Html(f'<b class="{tone}">{value}</b>')


# ---------------------------------------------------------------- the cards


TONES = {"meets": "good", "closed": "good", "watch": "warn", "below": "bad"}
FAMILIES = {"internet": "line", "power": "power", "seats": "seats", "presence": "dark", "gateway": "gateway"}


def standing_card(view: StatusView, words: PageWords) -> Html:
    """Is the center up to the standard, as the collector last said; nothing before it has."""
    if view.standing is None:
        return NOTHING
    heard_ms, standing = view.standing
    tone = TONES.get(standing.state)
    state = words.word("state", standing.state)
    rows = [(say(words, "standing"), toned(tone, state) if tone else state)]
    if standing.criterion:
        family = FAMILIES.get(standing.criterion.partition(".")[0], "other")
        rows.append((words(f"incident.family.{family}"), words.ltr(standing.criterion)))
    if standing.since_ms:
        rows.append((words("since"), words.age(max(0, view.now_ms - standing.since_ms) / 1000)))
    rows.append((say(words, "month"), words.many("gateway.page.missed", standing.missed)))
    about = f"<small>{age(heard_ms, view.now_ms, words)}</small>"
    return Html(f"<section><h2>{say(words, 'verdict')} {about}</h2>{table(rows)}</section>")


def uplink_card(view: StatusView, words: PageWords) -> Html:
    tone = {"connected": "good", "connecting": "warn", "off": "bad"}[view.uplink]
    megabytes = view.spool_bytes / 1e6 if view.spool_bytes is not None else None
    rows = [
        (say(words, "collector"), toned(tone, say(words, f"uplink.{view.uplink}"))),
        *([(NOTHING, words.word("uplink", view.uplink_cause))] if view.uplink_cause else []),
        *((NOTHING, trouble) for trouble in refusals(view, words)),
        (say(words, "waiting"), words.many("gateway.page.readings", view.spool_readings or 0)),
        (NOTHING, words.figure(megabytes, "MB")),
        (say(words, "receipt"), age(view.last_receipt_ms, view.now_ms, words)),
        (say(words, "budget"), budget(view, words)),
        *([(NOTHING, budget_plan(view, words))] if view.speed_mode else []),
        (say(words, "clock"), say(words, f"clock.{view.clock}")),
    ]
    detail = Html(f"<small>{words.raw(view.uplink_detail)}</small>") if view.uplink_detail else NOTHING
    return Html(f"<section><h2>{say(words, 'sending')}</h2>{table(rows)}{detail}</section>")


def refusals(view: StatusView, words: PageWords) -> Iterable[Html]:
    """What of the exchange with the collector is not believed, on either side."""
    if view.messages_refused:
        yield toned("bad", words.many("uplink.receipts_refused", view.messages_refused))
    if view.batches_disputed:
        yield toned("bad", words.many("uplink.batches_disputed", view.batches_disputed))
    known = REFUSALS.get(view.collector_refusal)
    if known is not None and known != view.uplink_cause:
        yield toned("bad", words.word("uplink", known))


def budget(view: StatusView, words: PageWords) -> Html:
    used, whole = words.figure(view.speed_used_mb, "MB"), words.figure(view.speed_budget_mb, "MB")
    return say(words, "budget.used", used=used, whole=whole)


def budget_plan(view: StatusView, words: PageWords) -> Html:
    """How tests are shortened so that the month's bytes last."""
    mode = say(words, f"mode.{view.speed_mode}")
    share = words.figure(round(100 * view.speed_share), "%")
    return mode if view.speed_share >= 1 else say(words, "mode.share", mode=mode, share=share)


def card(key: str, reading: Reading, view: StatusView, words: PageWords) -> Html:
    """One kind's newest reading."""
    kind, _, subject = key.partition(" ")
    rows, tail = ROWS.get(type(reading), figure_rows)(reading, view, words)
    about = f"{words.name(subject) if subject else NOTHING} {taken(reading, view, words)}"
    return Html(f"<section><h2>{words(f'kind.{kind}')} <small>{about}</small></h2>{table(rows)}{tail}</section>")


def taken(reading: Reading, view: StatusView, words: PageWords) -> Html:
    """How long ago it was taken."""
    return age(reading.at.wall_ms if reading.at else None, view.now_ms, words)


def link_rows(reading: Reading, view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, LinkReading)
    place = reading.fault_place
    fault = words.word("word.fault_place", place) if place else words("none")
    rows = [
        (say(words, "latency"), words.figure(reading.rtt_median_ms, "ms")),
        (say(words, "jitter"), words.figure(reading.jitter_ms, "ms")),
        (say(words, "loss"), words.figure(reading.loss_pct, "%")),
        (say(words, "fault"), toned("good" if place == "none" else "bad", fault) if place else fault),
        *((NOTHING, toned("warn", words.word("word.causes", cause))) for cause in reading.causes),
    ]
    return rows, sparkline(series(view, reading, "rtt_median_ms"), say(words, "latency"))


def speed_rows(reading: Reading, view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, SpeedReading)
    engine = words.ltr(reading.engine) if reading.engine else words("none")
    rows = [
        (say(words, "download"), words.figure(reading.download_mbps, "Mbit/s")),
        (say(words, "upload"), words.figure(reading.upload_mbps, "Mbit/s")),
        (say(words, "engine"), words.listed([engine, words.word("word.purpose", reading.purpose)])),
    ]
    if (bufferbloat := bloat(reading)) is not None:
        rows.append((say(words, "bloat"), words.ltr(bufferbloat.grade)))
    if reading.failover:
        rows.append((NOTHING, toned("warn", say(words, "failover"))))
    rows += [(NOTHING, words.word("word.flags", flag)) for flag in reading.flags]
    return rows, sparkline(series(view, reading, "download_mbps"), say(words, "download"))


def ups_rows(reading: Reading, view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, UpsReading)
    state, status = reading.output_state, reading.battery_status
    output = words.word("word.output_state", state) if state else words("none")
    rows = [
        (say(words, "output"), toned("good" if state == "online" else "warn", output)),
        *([(words("field.source"), words.word("word.source", reading.source))] if reading.source else []),
        (say(words, "charge"), words.figure(reading.battery_charge_pct, "%")),
        *([(NOTHING, words.word("word.battery_status", status))] if status else []),
        (say(words, "runtime"), words.figure(reading.runtime_s, "s")),
        (say(words, "load"), words.figure(reading.load_pct, "%")),
    ]
    curve = sparkline(series(view, reading, "battery_charge_pct"), say(words, "charge"))
    return rows, Html(f"{curve}{listing(corrections_of(reading.corrected), words)}")


def seats_rows(reading: Reading, _view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, SeatsReading)
    rows = [(say(words, "known"), words.figure(reading.known))]
    rows += [
        (words.word("seat", state), words.figure(getattr(reading, state)))
        for state in ("healthy", "unhealthy", "missing", "off")
    ]
    seats = reading.seats
    if seats is None:
        return rows, NOTHING
    rows += [(say(words, "new"), words.figure(len(seats.waiting)))] if seats.waiting else []
    faults = faults_of(seats)
    lines = [
        Html(f"<li><b>{words.ltr(name)}</b> {words.word('seat', state)} <small>{words.reasons(why)}</small></li>")
        for name, state in zip(seats.id, seats.state, strict=True)
        if (why := faults.get(name, ())) or state in ("unhealthy", "missing")
        if state != "off"
    ]
    return rows, Html(f"<ul>{joined(lines)}</ul>") if lines else NOTHING


def gateway_rows(reading: Reading, _view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, GatewayReading)
    cost = [words.figure(reading.agent_rss_mb, "MB"), words.figure(reading.agent_cpu_s, "s")]
    rows = [
        (say(words, "cpu"), words.figure(reading.cpu_pct, "%")),
        (say(words, "memory"), words.figure(reading.memory_pct, "%")),
        (say(words, "disk_free"), words.figure(reading.disk_free_pct, "%")),
        (say(words, "agent_cost"), words.listed(cost)),
    ]
    return rows, NOTHING


def boot_rows(reading: Reading, _view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    assert isinstance(reading, BootReading)
    rows = [
        (say(words, "ended"), words.word("word.previous_end", reading.previous_end)),
        (say(words, "dark"), words.figure(reading.dark_s, "s")),
    ]
    return rows, listing(evidence_of(reading.evidence), words)


def figure_rows(reading: Reading, view: StatusView, words: PageWords) -> tuple[list[Row], Html]:
    """The figures of any kind, one a row, and the curve of the first that is drawn."""
    kind = kind_of(reading)
    rows = [
        (figure_label(figure.name, words), words.figure(getattr(reading, figure.field), figure.unit))
        for figure in kind.figures
        if figure.is_number
    ]
    curves = (
        sparkline(series(view, reading, it.name), figure_label(it.name, words)) for it in kind.drawn if it.is_number
    )
    return rows, next(curves, NOTHING)


def figure_label(name: str, words: PageWords) -> Html:
    label = words(f"field.{name}")
    return Html(label[:1].upper() + label[1:])


ROWS: dict[type[Reading], Callable[[Reading, StatusView, PageWords], tuple[list[Row], Html]]] = {
    LinkReading: link_rows,
    SpeedReading: speed_rows,
    UpsReading: ups_rows,
    SeatsReading: seats_rows,
    GatewayReading: gateway_rows,
    BootReading: boot_rows,
}


def failures(view: StatusView, words: PageWords) -> Html:
    items = []
    for key, reading in sorted(view.failures.items(), key=_in_order):
        if reading.failure is not None:
            kind, _, subject = key.partition(" ")
            what = f"{words(f'kind.{kind}')} {words.name(subject) if subject else NOTHING}".strip()
            cause = words.word("cause", reading.failure.cause)
            items.append(
                f'<li><b>{what}</b> <span class="bad">{cause}</span> '
                f"<small>{taken(reading, view, words)} {words.raw(reading.failure.detail)}</small></li>"
            )
    inside = f"<ul>{''.join(items)}</ul>" if items else f"<small>{say(words, 'none_failed')}</small>"
    return Html(f"<section><h2>{say(words, 'failures')}</h2>{inside}</section>")


# ---------------------------------------------------------------- parts


def table(rows: list[Row]) -> Html:
    return Html(f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>") if rows else NOTHING


def listing(reasons: Sequence[Reason], words: PageWords) -> Html:
    items = "".join(f"<li><small>{words.reason(reason)}</small></li>" for reason in reasons)
    return Html(f"<ul>{items}</ul>") if items else NOTHING


def age(then_ms: int | None, now_ms: int, words: PageWords) -> Html:
    """How long ago; a reading of a clock that ran ahead is not in the future."""
    if then_ms is None:
        return say(words, "never")
    return words("ago", time=words.age(max(0, now_ms - then_ms) / 1000))


def series(view: StatusView, reading: Reading, name: str) -> Sequence[float | None]:
    return view.series.get(f"{key_of(reading)} {name}", ())


def sparkline(values: Sequence[float | None], title: Html) -> Html:
    """The values as one line from zero up; an unknown value is a gap, not a zero."""
    top = max((value for value in values if value is not None), default=0.0) or 1.0
    step = 100 / max(len(values) - 1, 1)
    runs: list[list[str]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append(f"{place * step:.1f},{29 - 28 * max(value, 0) / top:.1f}")
    lines = "".join(f'<polyline points="{" ".join(run)}"/>' for run in runs if len(run) > 1)
    if not lines:
        return NOTHING
    return Html(f'<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label="{title}">{lines}</svg>')
