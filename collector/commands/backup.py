"""`nabz-collector backup [FILE]`: all that makes this server in one encrypted file, while the collector runs.

Exit codes: 0 written and read back, 1 not, 2 wrong use or settings.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import asked_secret
from agent.common.reasons import Reason
from collector.access.atomic_files import keep_once
from collector.commands.console import (
    Bar,
    answers,
    common_arguments,
    complain,
    config_of,
    say,
    settings_of,
)
from collector.common.config import ConfigError, Settings
from collector.recovery import archive, contents, copies, drill
from collector.recovery.archive import Keys
from collector.recovery.copies import Made
from collector.store import Store, StoreError
from collector.store.backup import Progress, backup
from collector.store.database import existing

EXAMPLE = "nabz-collector backup --json"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="where to write it, with the whole archive; without: into [backup] folder, of the archive what is new",
    )
    parser.add_argument(
        "--recipient", action="append", default=[], metavar="KEY", help="an age public key that opens it (age1…)"
    )
    parser.add_argument("--passphrase", action="store_true", help="a passphrase opens it too: typed, or standard input")
    parser.add_argument("--keep", type=int, metavar="N", help="how many the folder keeps, instead of [backup] keep")
    parser.add_argument("--new-key", type=Path, metavar="FILE", help="only make a pair of keys: the secret one to FILE")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be in it, and where it would go")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    if options.new_key:
        return _new_key(options)
    settings = settings_of(options).as_keeper
    keys = _keys(settings, options)
    if not (keys.recipients or keys.passphrase):
        return _database_alone(settings, options)
    now_ms = time.time_ns() // 1_000_000
    to = options.file or copies.next_file(_folder(settings), now_ms)
    keep = options.keep or settings.backup.keep
    if options.dry_run:
        return _plan(settings, options, to, keep)
    config = config_of(options)
    with existing(settings) as store, Bar("written and read back") as bar:
        made = _made(store, settings, config, to, keys, now_ms, bar.share, is_whole=options.file is not None)
    deleted = () if options.file else copies.let_go(to.parent, keep, settings.data_dir)
    facts = {
        "file": str(to), "bytes": made.size, "parts_bytes": made.parts_size, "took_s": round(made.took_s, 1),
        "made_ms": made.made_ms, "members": len(made.manifest.members), "deleted": [str(path) for path in deleted],
    }  # fmt: skip
    words = f"{to}: {made.size} bytes, read back and whole, in {made.took_s:.1f} s; older ones deleted: {len(deleted)}"
    say(json.dumps(facts) if options.json else words)
    return 0


def _made(
    store: Store, settings: Settings, config: Path | None, to: Path, keys: Keys, now_ms: int, progress: Progress, *,
    is_whole: bool,
) -> Made:  # fmt: skip
    """It is on record what became of it, so that pages can show that."""
    begun_s = time.monotonic()

    def note(size: int | None, detail: Reason) -> None:
        took_s, is_good = time.monotonic() - begun_s, detail.code == "backup.good"
        about = {"act": "backup", "at_ms": now_ms, "made_ms": now_ms, "took_s": took_s, "file": str(to), "size": size}
        drill.record(store, drill.Copy(**about, is_good=is_good, detail=detail))  # type: ignore[arg-type]

    try:
        made = copies.make(store, settings, config, to, keys, now_ms, progress, is_whole=is_whole)
    except StoreError as error:
        note(None, Reason("backup.failed", {"text": describe(error)[:300]}))
        raise
    note(made.size, Reason("backup.good", {"n": len(made.manifest.members)}))
    return made


def _keys(settings: Settings, options: argparse.Namespace) -> Keys:
    passphrase = asked_secret("Passphrase of the backup: ") if options.passphrase else settings.backup.passphrase()
    if options.passphrase and len(passphrase) < 12:
        raise ConfigError("--passphrase: must have 12 letters at least; use several words")
    return Keys(recipients=(*settings.backup.recipients, *options.recipient), passphrase=passphrase)


def _folder(settings: Settings) -> Path:
    folder = settings.backup.folder
    if folder is None:
        raise ConfigError("backup: has no place; give a FILE, or set [backup] folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"[backup] folder {folder}: cannot be made ({describe(error)}); set another") from None
    return folder


def _database_alone(settings: Settings, options: argparse.Namespace) -> int:
    """As long as nobody is named who may read it: without keys and settings, and not encrypted."""
    if options.file is None:
        raise ConfigError(
            "backup: is encrypted to nobody; give --recipient or --passphrase, or set [backup] recipients"
        )
    if options.dry_run:
        say(json.dumps({"file": str(options.file), "members": [contents.DATABASE]}))
        return 0
    with existing(settings) as store, Bar("copied") as bar:
        size = backup(store, options.file, bar.share)
    if options.json:
        say(json.dumps({"file": str(options.file), "bytes": size}))
    else:
        say(f"{options.file}: {size} bytes, whole")
        complain(
            f"{options.file}: holds the database alone, not encrypted, and cannot bring a server back; "
            "name a --recipient or a --passphrase for all of it"
        )
    return 0


def _plan(settings: Settings, options: argparse.Namespace, to: Path, keep: int) -> int:
    names = [contents.DATABASE, *contents.files(settings, config_of(options))]
    old = [] if options.file else copies.listed(to.parent)[: -keep + 1 or None]
    facts = {"file": str(to), "members": names, "deleted": [str(path) for path in old]}
    lines = [f"would write {to}", *(f"  {name}" for name in names), *(f"would delete {path}" for path in old)]
    say(json.dumps(facts) if options.json else "\n".join(lines))
    return 0


def _new_key(options: argparse.Namespace) -> int:
    secret, public = archive.new_identity()
    try:
        held = keep_once(options.new_key, f"{secret}\n".encode())
    except OSError as error:
        complain(f"{options.new_key}: cannot be written ({describe(error)}); name another file")
        return 1
    if held.decode(errors="replace").strip() != secret:
        complain(f"{options.new_key}: exists already and is not overwritten; name a new file")
        return 1
    words = (
        f'{public}\nthe secret key is in {options.new_key}: keep it off this server, and add to [backup]: "{public}"'
    )
    say(json.dumps({"recipient": public, "file": str(options.new_key)}) if options.json else words)
    return 0
