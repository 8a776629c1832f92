"""The `nabz-collector` command: each subcommand is a module of `collector.commands`, loaded when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from agent import __version__

COMMANDS = {
    "serve": "receive, judge, show and alert until stopped",
    "pilot": "serve, and run this very machine as the first center",
    "broker": "run the embedded MQTT broker by itself",
    "broker-config": "settings for a broker of another make: mosquitto or nats",
    "measure": "run the measurement server that gateways test their speed against",
    "center": "the register of centers: import, add, list, show, facts by day, and their history",
    "owner": "the parties that own centers: list, show, set",
    "calendar": "holidays, other hours, closures, maintenance, load-shedding: list, add, confirm, withdraw",
    "server": "the measurement servers: add, list, revoke",
    "token": "a one-time token with which a gateway joins a center",
    "enrolment": "gateways that wait for a second person's approval: list, approve, refuse",
    "person": "who may log in, as what and for which centers: add, list, password, role, end-sessions, remove",
    "key": "keys of programs that ask the API: add, list, revoke",
    "contact": "whom to call about which centers: set, list, remove",
    "device": "gateways with their certificates: list, revoke",
    "ca": "the certificate authority inside: show, rollover, retire, issue",
    "incident": "incidents: list, show, ack, assign, note, snooze, resolve, merge, split …",
    "standard": "check or show a standard (the criteria as data)",
    "report": "a center's month: each criterion's verdict with its numbers",
    "verify": "a center's month derived anew from the signed bytes, and compared with all that is stored",
    "log": "the transparency log: checkpoint, key, prove, check, cosign",
    "witness": "cosign another's transparency log, once it is shown to have only grown",
    "evidence": "what is held: every reading's id and hash",
    "ingest": "one more process that takes readings, beside serve",
    "backup": "all that makes this server in one encrypted file, while it runs",
    "restore": "a server from a backup on a bare machine, or an empty database from a copy",
    "drill": "the newest backup restored beside the running system, compared, thrown away",
    "move": "all of one database into another, checked at both ends",
    "migrate": "the database's tables to what this program needs",
    "simulate": "a fleet of simulated centers that speaks the real wire",
}


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the thing failed, 2 wrong use or settings."""
    words = sys.argv[1:] if argv is None else argv
    chosen = words[0] if words and words[0] in COMMANDS else None
    parser = argparse.ArgumentParser(
        prog="nabz-collector",
        description="Nabz at the center of it all.",
        epilog="example: nabz-collector center list --json",
    )
    parser.add_argument("--version", action="version", version=f"nabz-collector {__version__}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        if name == chosen:
            module = importlib.import_module(f"collector.commands.{name.replace('-', '_')}")
            subparser.formatter_class = argparse.RawDescriptionHelpFormatter
            subparser.epilog = f"example: {module.EXAMPLE}"
            module.arguments(subparser)
            subparser.set_defaults(run=module.run)
    options = parser.parse_args(words)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
