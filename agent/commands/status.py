"""`nabz-agent status`: what the running agent last measured, and what waits to be sent."""

from __future__ import annotations

import argparse
import json
import sys

from agent import config_file
from agent.common import http, logs
from agent.common.causes import REFUSALS
from agent.common.errors import describe
from agent.common.words import plain

MAX_PAGE_BYTES = 1024 * 1024
TIMEOUT_S = 5.0

EXAMPLE = "nabz-agent status --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", metavar="HOST:PORT", help="where the agent's page is (default: `agent.status_listen`)")
    parser.add_argument(
        "--config", metavar="FILE", help=f"settings (default: {config_file.DEFAULT_PATH}, if it is there)"
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(options: argparse.Namespace) -> int:
    try:
        address = options.at or config_file.load_or_default(options.config).agent.status_listen
        view = fetch(address)
    except config_file.SettingsError as error:
        logs.complain(str(error), "nabz-agent")
        return 2
    except (OSError, ValueError) as error:
        why = describe(error)
        print(f"nabz-agent: no agent answers at {address} ({why}): start it with `nabz-agent run`", file=sys.stderr)
        return 1
    print(json.dumps(view, ensure_ascii=False, indent=2) if options.json else "\n".join(lines(view)))
    return 0


def fetch(address: str) -> dict[str, object]:
    """The status page's data. Raises OSError when nobody answers, ValueError when it is not an agent's."""
    view = json.loads(http.ask(f"http://{address}/status.json", limit=MAX_PAGE_BYTES, within_s=TIMEOUT_S).body)
    if not isinstance(view, dict) or "uplink" not in view:
        raise ValueError("not a Nabz agent")
    return view


def lines(view: dict[str, object]) -> list[str]:
    """The view for a terminal: one line for the uplink, one for each trouble with it, one a kind, failures last."""
    rows = [
        f"{view.get('center') or 'not enrolled'}  uplink {view['uplink']}  {view.get('uplink_detail') or ''}".rstrip(),
        f"spool   {view.get('spool_readings')} readings waiting, {view.get('spool_bytes')} bytes",
    ]
    rows[1:1] = [f"uplink  {trouble}" for trouble in troubles(view)]
    rows += [f"limits  {text}" for text in _limits(view.get("ceilings"))]
    rows += [f"settings  {text}" for text in _settings(view.get("settings"))]
    for title in ("last", "failures"):
        readings = view.get(title)
        if isinstance(readings, dict):
            rows += [line(str(key), reading, title) for key, reading in sorted(readings.items())]
    return rows


def _limits(ceilings: object) -> list[str]:
    """What is used of what the agent may use, in one line."""
    known = [row for row in ceilings if isinstance(row, dict)] if isinstance(ceilings, list) else []
    texts = [_limit(row) for row in known if row.get("used") is not None or row.get("most") is not None]
    return [", ".join(texts)] if texts else []


def _limit(row: dict[str, object]) -> str:
    used, most, unit = row.get("used"), row.get("most"), row.get("unit")
    if not isinstance(used, int | float):
        return f"{row.get('name')} at most {most:g} {unit}" if isinstance(most, int | float) else str(row.get("name"))
    return f"{row.get('name')} {used:g}" + (f" of {most:g}" if isinstance(most, int | float) else "") + f" {unit}"


def _settings(report: object) -> list[str]:
    """Which of the collector's settings are in force, and what became of the last that are not."""
    known = report if isinstance(report, dict) else {}
    rows = [f"{known.get('state')}: {known['digest']}"] if known.get("digest") else []
    return rows + ([f"failed: {known['failed']}, {known.get('why')}"] if known.get("why") else [])


def troubles(view: dict[str, object]) -> list[str]:
    """What is wrong between this gateway and its collector, in sentences."""
    words = plain()
    sentences = [words.word("uplink", str(view["uplink_cause"]))] if view.get("uplink_cause") else []
    for name, key in (("messages_refused", "uplink.receipts_refused"), ("batches_disputed", "uplink.batches_disputed")):
        number = view.get(name)
        if isinstance(number, int) and number:
            sentences.append(words.many(key, number))
    known = REFUSALS.get(str(view.get("collector_refusal")))
    if known is not None and known != view.get("uplink_cause"):
        sentences.append(words.word("uplink", known))
    return sentences


def line(key: str, reading: object, title: str) -> str:
    """One reading: its plain values as ``name=value``; parts with parts of their own stay in the JSON."""
    fields = reading if isinstance(reading, dict) else {}
    failure = fields.get("failure")
    if title == "failures" and isinstance(failure, dict):
        return f"{key:<8}FAILED {failure.get('cause')}: {failure.get('detail')}"
    plain = {name: value for name, value in fields.items() if isinstance(value, str | int | float) and name != "kind"}
    return f"{key:<8}" + "  ".join(f"{name}={value}" for name, value in plain.items())
