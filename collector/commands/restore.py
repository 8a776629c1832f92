"""`nabz-collector restore FILE`: a server from a backup on a bare machine, or an empty database from a copy of one.

Exit codes: 0 all of it is in place, 1 nothing is, 2 wrong use or settings.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing
from pathlib import Path

from agent.common.errors import describe
from agent.common.files import asked_secret
from collector.access import users
from collector.commands.console import (
    Bar,
    answers,
    common_arguments,
    complain,
    corrected,
    proof_of,
    say,
    settings_of,
)
from collector.common.config import DEFAULT_FILE, ConfigError, Settings
from collector.recovery import archive, copies, server, settle
from collector.recovery.archive import Keys
from collector.recovery.unpacked import unpacking_folder
from collector.run.lock import folder_lock
from collector.store import NeedsMigration, Store, StoreError, migrate
from collector.store.backup import begin_epoch, restore
from collector.store.database import make_data_dir, opened

EXAMPLE = "nabz-collector restore /mnt/backups --identity nabz.agekey --data /var/lib/nabz-collector"


def arguments(parser: argparse.ArgumentParser) -> None:
    common_arguments(parser)
    parser.add_argument(
        "file", type=Path, nargs="?", metavar="FILE", help="a backup, or a folder of them: the newest is taken"
    )
    parser.add_argument(
        "--confirm-by", default="", metavar="NAME", help="who takes it on that decisions since the copy may lack, "
        "where the journal is lost too; recorded",
    )  # fmt: skip
    parser.add_argument("--identity", type=Path, metavar="FILE", help="the secret age key that opens it")
    parser.add_argument("--passphrase", action="store_true", help="that opens it: typed, or standard input")
    parser.add_argument(
        "--force",
        action="store_true",
        help="put a server aside that lives here already; believe a backup of the future",
    )
    parser.add_argument(
        "--keys-only", action="store_true", help="keys, settings and the files they name: the database and the archive "
        "came another way, such as PostgreSQL's own log",
    )  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="only read and check the backup, and say what is in it")
    parser.add_argument("--json", action="store_true", help="one JSON object")


@answers
def run(options: argparse.Namespace) -> int:
    if options.file is None:
        return _confirm(settings_of(options).as_keeper, options)
    source = _newest(options.file)
    if not archive.is_archive(_start(source)):
        return _database_alone(source, options)
    keys = _keys(options)
    now_ms = time.time_ns() // 1_000_000
    base = (options.data or Path.cwd()).absolute()
    base.mkdir(mode=0o700, parents=True, exist_ok=True)
    with unpacking_folder(base) as folder:
        with Bar("unpacked and checked") as unpacking:
            unpacked = server.unpack(source, keys, folder, unpacking.share)
        settings, config = _target(unpacked, options)
        server.check_target(settings, force=options.force or options.dry_run)
        server.check_clock(unpacked, now_ms, force=options.force or options.dry_run)
        if not options.dry_run:
            with folder_lock(settings), Bar("restored") as bar:
                if options.keys_only:
                    server.install_keys(unpacked, settings, config, now_ms)
                else:
                    server.install(unpacked, settings, config, now_ms, bar.share)
    if options.confirm_by and not options.dry_run:
        _confirm(settings, options)
    about = unpacked.manifest.about
    ready = None if options.dry_run else _is_ready(settings)
    facts = {
        "file": str(source), "made_ms": about.get("made_ms"), "members": len(unpacked.names), "ready": ready,
        "data_dir": str(settings.data_dir), "config": None if config is None else str(config),
    }  # fmt: skip
    say(json.dumps(facts) if options.json else _words(facts, about, dry=options.dry_run))
    return 0


def _confirm(settings: Settings, options: argparse.Namespace) -> int:
    """Whoever is named proves it by passphrase where people are registered."""
    if not options.confirm_by:
        raise ConfigError("restore: needs a FILE; or --confirm-by NAME for one that was restored")
    now_ms = time.time_ns() // 1_000_000
    try:
        by = users.named(options.confirm_by)
        with opened(settings) as store:
            proof = proof_of(store, by, now_ms)
            with store.write() as conn:
                count = settle.confirm(conn, by, now_ms)
                users.record(conn, "restored", by, now_ms, is_proven=bool(proof), reason=str(options.file or ""))
    except users.PersonError as error:
        complain(str(error))
        return 1
    if not options.json:
        say(f"confirmed by {by}: restores settled {count}")
    return 0


def _words(facts: dict[str, object], about: dict[str, object], *, dry: bool) -> str:
    age_h = (time.time_ns() // 1_000_000 - int(str(about.get("made_ms") or 0))) / 3_600_000
    head = f"{facts['file']}: whole, {facts['members']} files, made {age_h:.1f} h ago"
    if dry:
        return head
    start = f"nabz-collector serve --config {facts['config']}" if facts["config"] else "nabz-collector serve"
    migrated = "" if facts["ready"] else "; run `nabz-collector migrate` first"
    return f"{head}\nrestored to {facts['data_dir']}{migrated}\nstart it: {start}"


def _target(unpacked: server.Unpacked, options: argparse.Namespace) -> tuple[Settings, Path | None]:
    """The settings of this machine if it has some, else those of the backup, and where those then go."""
    config = options.config or DEFAULT_FILE
    if config.exists():
        return settings_of(options).as_keeper, None
    settings = corrected(server.settings_in(unpacked), options)
    if unpacked.settings is None:
        return settings.as_keeper, None
    return settings.as_keeper, options.config or settings.data_dir / "collector.toml"


def _newest(path: Path) -> Path:
    if not path.is_dir():
        return path
    if not (backups := copies.listed(path)):
        raise StoreError(f"{path}: holds no backups; name a file, or a folder with nabz-….backup")
    return backups[-1]


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64)
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({describe(error)}); name a copy that `backup` made") from None


def _keys(options: argparse.Namespace) -> Keys:
    secrets: tuple[str, ...] = ()
    if options.identity:
        try:
            lines = options.identity.read_text("ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--identity {options.identity}: cannot be read ({describe(error)}); name a key file"
            ) from None
        secrets = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
    return Keys(identities=secrets, passphrase=asked_secret("Passphrase: ") if options.passphrase else "")


def _is_ready(settings: Settings) -> bool:
    try:
        Store.open(settings.database_url).close()
    except NeedsMigration:
        return False
    return True


def _database_alone(source: Path, options: argparse.Namespace) -> int:
    settings = settings_of(options).as_keeper
    make_data_dir(settings)
    with (
        folder_lock(settings), closing(Store.attach(settings.database_url)) as store, Bar("restored") as bar,
        server.unfinished(settings, lambda: None),
    ):  # fmt: skip
        restore(store, source, bar.share)
        store.close()
        with store.read() as conn:
            held = migrate.version(conn)
        begin_epoch(store, time.time_ns() // 1_000_000)
    ready = _is_ready(settings)
    if options.json:
        say(json.dumps({"file": str(source), "version": held, "ready": ready}))
    else:
        say(f"restored from {source}" + ("" if ready else "; run `nabz-collector migrate` next"))
    return 0
