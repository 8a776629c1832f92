"""`nabz-collector update`: releases of the gateways' program, from the signers' keys to the last ring."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import read_text
from agent.updates.offers import OfferedRelease, Pace, Ring
from collector.commands.console import answers, complain, moment, say, settings_of, table, verb_arguments
from collector.remote.updates import health, packing, rings, signers
from collector.remote.updates.repository import UpdateRepository
from collector.remote.updates.signers import UpdateError
from collector.store.database import existing

EXAMPLE = "nabz-collector update add --repo /srv/updates --from nabz-0.4.0-py3-none-any.whl --first KHI-001"
EXAMPLES = {
    "key": "ayesha.key",
    "init": "--repo /srv/updates --key a.key.pub --key b.key.pub --key c.key.pub --threshold 2 --online online.key.pub",
    "add": "--repo /srv/updates --from nabz-0.4.0-py3-none-any.whl --first KHI-001 --shares 1,10,100 --days 1,3,7",
    "sign": "--repo /media/usb/updates --key ayesha.key",
    "publish": "--repo /srv/updates --online online.key",
    "ring": "0.4.0 --repo /srv/updates --online online.key",
    "withdraw": "0.4.0 --repo /srv/updates",
    "status": "--repo /srv/updates --json",
    "root": "--repo /srv/updates --out update-root.json",
}
DAY_MS = 86_400_000


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    made = verbs.add_parser("key", help="a new key: a signer's, on a machine without a network, or the collector's")
    made.add_argument("file", type=Path, metavar="FILE")
    begun = verbs.add_parser("init", help="stage a root: who signs, how many of them must, and the online key")
    begun.add_argument("--key", type=Path, action="append", required=True, metavar="FILE.pub", help="repeatable")
    begun.add_argument("--threshold", type=int, default=2, metavar="N", help="signatures that a release needs (2)")
    added = verbs.add_parser("add", help="stage a release with its rings")
    added.add_argument("--from", dest="source", type=Path, required=True, metavar="WHEEL", help="of nabz, or a folder")
    added.add_argument("--needs", metavar="V", help="the oldest installed package it runs beside (default: this one's)")
    added.add_argument("--first", action="append", required=True, metavar="CENTER", help="the first ring; repeatable")
    added.add_argument("--shares", default="1,10,100", metavar="PCT,…", help="the rings after it, percent of gateways")
    added.add_argument("--days", default="1,3,7", metavar="D,…", help="days from now before which each stays closed")
    signed = verbs.add_parser("sign", help="sign what is staged")
    signed.add_argument("--key", type=Path, required=True, metavar="FILE")
    published = verbs.add_parser(
        "publish", help="publish what is staged, once signed; weekly at least, also for nothing"
    )
    ring = verbs.add_parser("ring", help="judge how a release fares: open its next ring, wait, or hold it back")
    withdrawn = verbs.add_parser("withdraw", help="stage a list without this release")
    shown = verbs.add_parser("status", help="the releases, how far their rings are open, what waits for signatures")
    root = verbs.add_parser("root", help="the root that gateways trust at first: their [update] root_file")
    root.add_argument("--out", type=Path, required=True, metavar="FILE")
    for verb in (ring, withdrawn):
        verb.add_argument("version", metavar="V")
    forced = ring.add_mutually_exclusive_group()
    forced.add_argument("--open", type=int, metavar="N", help="so many rings, whatever their health")
    forced.add_argument("--hold", action="store_true", help="give it to nobody any more")
    for verb in (begun, added, signed, published, ring, withdrawn, shown, root):
        verb.add_argument("--repo", type=Path, required=True, metavar="DIR")
    for verb in (begun, published, ring):
        verb.add_argument("--online", type=Path, required=True, metavar="FILE", help="the online key (init: its .pub)")
    for verb in (made, signed):
        verb.add_argument("--passphrase-file", type=Path, metavar="FILE", help="that the key is locked with")
    verb_arguments(verbs)


@answers
def run(options: argparse.Namespace) -> int:
    try:
        return VERBS[options.verb](options)
    except (UpdateError, OSError) as error:
        complain(describe(error))
        return 1


def _key(options: argparse.Namespace) -> int:
    key = signers.make(options.file, _passphrase(options))
    say(
        json.dumps({"keyid": key.keyid}) if options.json else f"{options.file}: key {key.keyid[:16]}; give out its .pub"
    )
    return 0


def _passphrase(options: argparse.Namespace) -> str:
    return read_text(options.passphrase_file).strip() if options.passphrase_file else ""


def _init(options: argparse.Namespace) -> int:
    keys = [signers.load_public(path) for path in options.key]
    UpdateRepository(options.repo).stage_root(keys, options.threshold, signers.load_public(options.online), _now_ms())
    return _signatures(options)


def _add(options: argparse.Namespace) -> int:
    version, content = packing.pack(options.source)
    wanted, now_ms = _rings(options), _now_ms()
    UpdateRepository(options.repo).stage_release(version, content, options.needs or version, wanted, now_ms)
    if not options.json:
        say(f"release {version}: {len(content)} bytes, {len(wanted)} rings")
    return _signatures(options)


def _rings(options: argparse.Namespace) -> list[Ring]:
    """The first centers at once, then each share not before its day. Raises UpdateError."""
    try:
        shares = [float(part) / 100 for part in options.shares.split(",")]
        days = [float(part) for part in options.days.split(",")]
        pairs = [*zip(shares, days, strict=True)]
    except ValueError:
        raise UpdateError(
            "--shares and --days: must be as many numbers; write --shares 1,10,100 --days 1,3,7"
        ) from None
    if sorted(pairs) != pairs or not all(0 < share <= 1 for share in shares) or min(days) < 0:
        raise UpdateError("--shares and --days: must grow, shares over 0 and to 100; write --shares 1,10,100")
    now_ms = _now_ms()
    later = [Ring(share=share, from_ms=now_ms + int(day * DAY_MS)) for share, day in pairs]
    return [Ring(centers=sorted(options.first)), *later]


def _sign(options: argparse.Namespace) -> int:
    UpdateRepository(options.repo).sign(signers.load(options.key, _passphrase(options)))
    return _signatures(options)


def _signatures(options: argparse.Namespace) -> int:
    signatures = UpdateRepository(options.repo).signatures()
    if options.json:
        say(json.dumps([dataclasses.asdict(one) for one in signatures]))
    else:
        say(table(("staged", "signatures", "needed"), [(one.role, one.counted, one.needed) for one in signatures]))
    return 0


def _publish(options: argparse.Namespace) -> int:
    changed = UpdateRepository(options.repo).publish(signers.load(options.online), _now_ms())
    say(json.dumps(changed) if options.json else f"published: {', '.join(changed) or 'that all is as before'}")
    return 0


def _withdraw(options: argparse.Namespace) -> int:
    UpdateRepository(options.repo).withdraw(options.version, _now_ms())
    return _signatures(options)


def _ring(options: argparse.Namespace) -> int:
    """Exit code 1 where the release is held."""
    repository, online, now_ms = UpdateRepository(options.repo), signers.load(options.online), _now_ms()
    release = next((one for one in repository.releases() if one.version == options.version), None)
    if release is None:
        raise UpdateError(f"release {options.version}: is not published; see `nabz-collector update status`")
    wanted = 0 if options.hold else options.open
    verdict = _judged(options, repository, release, now_ms) if wanted is None else None
    done = rings.step(repository, release, online, verdict, now_ms, wanted)
    if options.json:
        say(
            json.dumps(
                {"open": done.now, "before": done.before, "health": dataclasses.asdict(verdict) if verdict else None}
            )
        )
    else:
        say(f"release {release.version}: {done.now} of {len(release.rings)} rings open, {done.before} before")
        if verdict is not None:
            troubles = {name: getattr(verdict, name) for name in ("failed", "crashed", "silent", "worse")}
            say(f"{verdict.state}: {verdict.took} of {verdict.members} gateways run it")
            say("\n".join(f"{name}: {', '.join(devices)}" for name, devices in troubles.items() if devices))
    return 1 if done.now == 0 else 0


def _judged(
    options: argparse.Namespace, repository: UpdateRepository, release: OfferedRelease, now_ms: int
) -> health.RingHealth | None:
    pace = repository.paces().get(release.version, Pace())
    if pace.open == 0:
        return None
    with existing(settings_of(options)) as store, store.read() as conn:
        return rings.judged(conn, release, pace, now_ms)


def _status(options: argparse.Namespace) -> int:
    repository = UpdateRepository(options.repo)
    paces = repository.paces()
    rows = [
        (one.version, one.needs, f"{paces.get(one.version, Pace()).open} of {len(one.rings)}", _ring_text(one))
        for one in repository.releases()
    ]
    if options.json:
        staged = [dataclasses.asdict(one) for one in repository.signatures()]
        facts = [{"version": row[0], "needs": row[1], "open": paces.get(row[0], Pace()).open} for row in rows]
        say(json.dumps({"releases": facts, "staged": staged}))
        return 0
    say(table(("release", "needs", "rings open", "rings"), rows))
    return _signatures(options)


def _ring_text(release: OfferedRelease) -> str:
    texts = (
        f"{', '.join(ring.centers) or f'{ring.share:.0%}'}{f' from {moment(ring.from_ms)}' if ring.from_ms else ''}"
        for ring in release.rings
    )
    return "; ".join(texts)


def _root(options: argparse.Namespace) -> int:
    options.out.write_bytes(UpdateRepository(options.repo).root())
    say(json.dumps({"file": str(options.out)}) if options.json else f"{options.out}: [update] root_file of gateways")
    return 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "key": _key, "init": _init, "add": _add, "sign": _sign, "publish": _publish, "ring": _ring,
    "withdraw": _withdraw, "status": _status, "root": _root,
}  # fmt: skip
