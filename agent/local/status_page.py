"""The local page for people: one document, no script, reloads itself, light and dark, English and Urdu. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from agent.common.bufferbloat import bloat
from agent.common.words import plain
from agent.local.board import StatusView, key_of
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

# key: (English, Urdu)
WORDS = {
    "title": ("This gateway", "یہ گیٹ وے"),
    "not_enrolled": ("not enrolled yet", "ابھی اندراج نہیں ہوا"),
    "collector": ("Collector", "مرکزی نظام"),
    "connected": ("connected", "جڑا ہوا"),
    "connecting": ("connecting", "جڑ رہا ہے"),
    "off": ("off", "بند"),
    "waiting": ("Waiting", "بھیجنے کے منتظر"),
    "readings": ("readings", "پیمائشیں"),
    "receipt": ("Last receipt", "آخری رسید"),
    "sending": ("Sending", "ترسیل"),
    "mode_full": ("long tests", "لمبی جانچ"),
    "mode_adaptive": ("tests as long as needed", "ضرورت کے مطابق جانچ"),
    "mode_quick": ("short tests", "مختصر جانچ"),
    "of_slots": ("of the times", "اوقات میں"),
    "bloat": ("Delay under load", "بوجھ میں تاخیر"),
    "failover": ("on the backup line", "متبادل لائن پر"),
    "budget": ("Speed tests, month", "اس ماہ رفتار کی جانچ"),
    "clock": ("Clock", "گھڑی"),
    "synced": ("synchronised", "درست"),
    "unsynced": ("not synchronised", "غیر مصدقہ"),
    "ended": ("Run before ended by", "پچھلا دور ختم ہوا"),
    "dark": ("Dark for", "بند رہا"),
    "end_first": ("nothing: it is the first", "یہ پہلا دور ہے"),
    "end_clean": ("a stop", "روکنے سے"),
    "end_power": ("a power cut", "بجلی جانے سے"),
    "end_crash": ("a crash", "خرابی سے"),
    "end_killed": ("a kill", "زبردستی بند ہونے سے"),
    "end_reboot": ("a shutdown", "مشین بند کرنے سے"),
    "end_unknown": ("something unknown", "نامعلوم وجہ سے"),
    "failures": ("What failed last", "آخری ناکامیاں"),
    "none_failed": ("Nothing has failed since the agent started.", "ایجنٹ کے آغاز سے کچھ ناکام نہیں ہوا۔"),
    "nothing": ("No reading yet: the first comes within a minute.", "ابھی کوئی پیمائش نہیں: پہلی ایک منٹ میں آئے گی۔"),
    "latency": ("Latency, median", "تاخیر، وسطی"),
    "jitter": ("Jitter", "تاخیر کا فرق"),
    "loss": ("Loss", "ضائع پیکٹ"),
    "fault": ("Fault", "خرابی"),
    "fault_none": ("none", "کوئی نہیں"),
    "fault_lan": ("in this building", "اسی عمارت میں"),
    "fault_isp": ("at the internet provider", "انٹرنیٹ کمپنی میں"),
    "fault_beyond": ("beyond the internet provider", "انٹرنیٹ کمپنی سے آگے"),
    "download": ("Download", "ڈاؤن لوڈ"),
    "upload": ("Upload", "اپ لوڈ"),
    "engine": ("Engine", "جانچ کا طریقہ"),
    "output": ("Output", "آؤٹ پٹ"),
    "charge": ("Battery", "بیٹری"),
    "runtime": ("Minutes left", "باقی منٹ"),
    "load": ("Load", "بوجھ"),
    "healthy": ("healthy", "ٹھیک"),
    "unhealthy": ("unhealthy", "خراب"),
    "missing": ("missing", "لاپتا"),
    "seat_off": ("switched off", "بند"),
    "known": ("known", "معلوم"),
    "new": ("new, to be approved", "نئے، منظوری باقی"),
    "cpu": ("Processor", "پروسیسر"),
    "memory": ("Memory", "میموری"),
    "disk_free": ("Disk free", "خالی ڈسک"),
    "agent_cost": ("The agent itself", "خود ایجنٹ"),
    "ago": ("ago", "پہلے"),
    "never": ("never", "کبھی نہیں"),
    "as_data": ("as data", "بطور ڈیٹا"),
}

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

Say = Callable[[str], str]
Row = tuple[str, str]  # (label, value), both already escaped
DASH = "–"


def page(view: StatusView, language: str = "en") -> str:
    """The whole document; ``language`` is ``en`` or ``ur``."""
    urdu = language == "ur"

    words = plain(language)

    def say(key: str) -> str:
        return WORDS[key][1 if urdu else 0] if key in WORDS else escape(words(key))

    other = '<a href="/" lang="en">English</a>' if urdu else '<a href="/?lang=ur" lang="ur">اردو</a>'
    name = escape(" · ".join(part for part in (view.center_name, view.center) if part)) or say("not_enrolled")
    cards = "".join(card(key, reading, view, say) for key, reading in sorted(view.last.items(), key=_in_order))
    empty = "" if cards else f"<p>{say('nothing')}</p>"
    return (
        f'<!doctype html><html lang="{"ur" if urdu else "en"}" dir="{"rtl" if urdu else "ltr"}"><head>'
        '<meta charset="utf-8"><meta http-equiv="refresh" content="15">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{say('title')} · Nabz</title><style>{STYLE}</style></head><body><main>"
        f"<header><h1>{say('title')}</h1><span>{name}</span>{other}</header>"
        f'<div class="grid">{uplink_card(view, say)}{cards}</div>'
        f"{empty}{failures(view, say)}"
        f'<p><small>Nabz {escape(view.version)} · {escape(view.device)} · <a href="/status.json">{say("as_data")}</a>'
        "</small></p></main></body></html>"
    )


def _in_order(item: tuple[str, Reading]) -> tuple[int, str]:
    """As the kinds stand in their table."""
    return list(KINDS).index(kind_of(item[1]).name), item[0]


def uplink_card(view: StatusView, say: Say) -> str:
    tone = {"connected": "good", "connecting": "warn", "off": "bad"}[view.uplink]
    megabytes = view.spool_bytes / 1e6 if view.spool_bytes is not None else None
    used, budget = number(view.speed_used_mb, 0), number(view.speed_budget_mb, 0, " MB")
    rows = [
        (say("collector"), f'<b class="{tone}">{say(view.uplink)}</b>'),
        (say("waiting"), f"{number(view.spool_readings, 0)} {say('readings')}"),
        ("", number(megabytes, 1, " MB")),
        (say("receipt"), age(view.last_receipt_ms, view.now_ms, say)),
        (say("budget"), f'<bdi dir="ltr">{used} / {budget}</bdi>'),
        *([("", budget_plan(view, say))] if view.speed_mode else []),
        (say("clock"), say(view.clock)),
    ]
    detail = f'<small dir="ltr">{escape(view.uplink_detail)}</small>' if view.uplink_detail else ""
    return f"<section><h2>{say('sending')}</h2>{table(rows)}{detail}</section>"


def budget_plan(view: StatusView, say: Say) -> str:
    """How tests are shortened so that the month's bytes last."""
    share = "" if view.speed_share >= 1 else f" · {number(100 * view.speed_share, 0, ' %')} {say('of_slots')}"
    return f"{say(f'mode_{view.speed_mode}')}{share}"


def card(key: str, reading: Reading, view: StatusView, say: Say) -> str:
    """One kind's newest reading."""
    kind, _, subject = key.partition(" ")
    heading = say(f"kind.{kind}")
    rows, tail = ROWS.get(type(reading), figure_rows)(reading, view, say)
    when = age(reading.at.wall_ms if reading.at else None, view.now_ms, say)
    return f"<section><h2>{heading} <small>{escape(subject)} {when}</small></h2>{table(rows)}{tail}</section>"


def link_rows(reading: Reading, view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, LinkReading)
    place = reading.fault_place
    tone = "good" if place == "none" else "bad"
    rows = [
        (say("latency"), number(reading.rtt_median_ms, 1, " ms")),
        (say("jitter"), number(reading.jitter_ms, 1, " ms")),
        (say("loss"), number(reading.loss_pct, 1, " %")),
        (say("fault"), f'<b class="{tone}">{say(f"fault_{place}")}</b>' if place else DASH),
    ]
    return rows, sparkline(series(view, reading, "rtt_median_ms"), say("latency"))


def speed_rows(reading: Reading, view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, SpeedReading)
    rows = [
        (say("download"), number(reading.download_mbps, 1, " Mbit/s")),
        (say("upload"), number(reading.upload_mbps, 1, " Mbit/s")),
        (say("engine"), escape(f"{reading.engine or DASH} · {reading.purpose}")),
    ]
    if (found := bloat(reading)) is not None:
        rows.append((say("bloat"), f'<bdi dir="ltr">{found.grade}</bdi>'))
    if reading.failover:
        rows.append(("", f'<b class="warn">{say("failover")}</b>'))
    return rows, sparkline(series(view, reading, "download_mbps"), say("download"))


def ups_rows(reading: Reading, view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, UpsReading)
    minutes = reading.runtime_s / 60 if reading.runtime_s is not None else None
    tone = "good" if reading.output_state == "online" else "warn"
    rows = [
        (say("output"), f'<b class="{tone}">{escape(reading.output_state or DASH)}</b>'),
        (say("charge"), number(reading.battery_charge_pct, 0, " %")),
        (say("runtime"), number(minutes, 0)),
        (say("load"), number(reading.load_pct, 0, " %")),
    ]
    return rows, sparkline(series(view, reading, "battery_charge_pct"), say("charge"))


def seats_rows(reading: Reading, _view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, SeatsReading)
    names = (("healthy", "healthy"), ("unhealthy", "unhealthy"), ("missing", "missing"), ("off", "seat_off"))
    rows = [(say("known"), number(reading.known, 0))]
    rows += [(say(word), number(getattr(reading, field), 0)) for field, word in names]
    seats = reading.seats
    rows += [(say("new"), number(len(seats.waiting), 0))] if seats and seats.waiting else []
    troubled = zip(seats.id, seats.state, seats.why, strict=True) if seats else ()
    lines = "".join(
        f"<li><b>{escape(name)}</b> {say(state)} <small><bdi>{escape(why)}</bdi></small></li>"
        for name, state, why in troubled
        if state in ("unhealthy", "missing")
    )
    return rows, f"<ul>{lines}</ul>" if lines else ""


def gateway_rows(reading: Reading, _view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, GatewayReading)
    rows = [
        (say("cpu"), number(reading.cpu_pct, 0, " %")),
        (say("memory"), number(reading.memory_pct, 0, " %")),
        (say("disk_free"), number(reading.disk_free_pct, 0, " %")),
        (say("agent_cost"), f"{number(reading.agent_rss_mb, 0, ' MB')} · {number(reading.agent_cpu_s, 0, ' s')}"),
    ]
    return rows, ""


def boot_rows(reading: Reading, _view: StatusView, say: Say) -> tuple[list[Row], str]:
    assert isinstance(reading, BootReading)
    minutes = reading.dark_s / 60 if reading.dark_s is not None else None
    return [(say("ended"), say(f"end_{reading.previous_end}")), (say("dark"), number(minutes, 0, " min"))], ""


def figure_rows(reading: Reading, view: StatusView, say: Say) -> tuple[list[Row], str]:
    """The figures of any kind, one a row, and the curve of the first that is drawn."""
    kind = kind_of(reading)
    rows = [
        (figure_label(figure.name, say), number(getattr(reading, figure.field), 1, f" {figure.unit}".rstrip()))
        for figure in kind.figures
        if figure.is_number
    ]
    curves = (
        sparkline(series(view, reading, it.name), figure_label(it.name, say)) for it in kind.drawn if it.is_number
    )
    return rows, next(curves, "")


def figure_label(name: str, say: Say) -> str:
    label = say(f"field.{name}")
    return label[:1].upper() + label[1:]


ROWS: dict[type[Reading], Callable[[Reading, StatusView, Say], tuple[list[Row], str]]] = {
    LinkReading: link_rows,
    SpeedReading: speed_rows,
    UpsReading: ups_rows,
    SeatsReading: seats_rows,
    GatewayReading: gateway_rows,
    BootReading: boot_rows,
}


def failures(view: StatusView, say: Say) -> str:
    items = ""
    for key, reading in sorted(view.failures.items(), key=_in_order):
        if reading.failure is not None:
            when = age(reading.at.wall_ms if reading.at else None, view.now_ms, say)
            items += (
                f'<li dir="auto"><b>{escape(key)}</b> <span class="bad">{escape(reading.failure.cause)}</span> '
                f"<bdi>{escape(reading.failure.detail)}</bdi> <small>{when}</small></li>"
            )
    inside = f"<ul>{items}</ul>" if items else f"<small>{say('none_failed')}</small>"
    return f"<section><h2>{say('failures')}</h2>{inside}</section>"


def table(rows: list[Row]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in rows)}</dl>" if rows else ""


def number(value: float | None, digits: int, unit: str = "") -> str:
    """Left to right even inside Urdu; a dash for unknown."""
    return DASH if value is None else f'<bdi dir="ltr">{value:,.{digits}f}{unit}</bdi>'


def age(then_ms: int | None, now_ms: int, say: Say) -> str:
    if then_ms is None:
        return say("never")
    seconds = max(0, now_ms - then_ms) // 1000
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"<bdi>{seconds // size} {unit}</bdi> {say('ago')}"
    return f"<bdi>{seconds} s</bdi> {say('ago')}"


def series(view: StatusView, reading: Reading, name: str) -> Sequence[float | None]:
    return view.series.get(f"{key_of(reading)} {name}", ())


def sparkline(values: Sequence[float | None], title: str) -> str:
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
        return ""
    return f'<svg viewBox="0 0 100 30" preserveAspectRatio="none" role="img" aria-label="{title}">{lines}</svg>'
