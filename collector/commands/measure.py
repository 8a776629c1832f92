"""`nabz-collector measure`: the measurement server by itself, on a neutral host."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import ssl
import time
from contextlib import suppress
from pathlib import Path

from agent.common import logs, tls
from agent.common.errors import describe
from agent.common.files import asked_secret, on_command_line
from agent.common.logs import Event
from collector.register.networks import Networks
from collector.run import sdnotify
from collector.speedtests.measure.admission import ByToken, UsedTokens
from collector.speedtests.measure.delivery import Outgoing, RecordSender, sender
from collector.speedtests.measure.limits import Limits
from collector.speedtests.measure.membership import RECORDS, USED, JoinError, Membership, held, join
from collector.speedtests.measure.record import Record
from collector.speedtests.measure.server import MeasureServer

EXAMPLE = "nabz-collector measure --listen 0.0.0.0:8474 --collector https://nabz.example.pk --join"
STARTED = Event(
    __name__, "info", "measurement_server_started", "the measurement server listens; without a collector its results "
    "are not witnessed", fields="address name is_witnessed",
)  # fmt: skip
RECORD_LOST = Event(
    __name__, "error", "record_unsaved", "the record of a test cannot be written; it is lost", fields="test error"
)

FIX = "leave it away and give it when asked, or name its file by --join-file"
ALIVE_S = 15.0  # between two words to systemd's watchdog


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--listen", default="0.0.0.0:8474", metavar="HOST:PORT", help="default %(default)s")
    parser.add_argument(
        "--public", default="", metavar="HOST:PORT", help="how clients reach this server, when not by its own address"
    )
    parser.add_argument(
        "--tests", type=int, default=Limits.tests_at_once, metavar="N", help="tests at once, default %(default)s"
    )
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="serve https and wss: certificate chain, PEM")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="its private key, PEM")
    parser.add_argument("--collector", default="", metavar="URL", help="whose tokens admit and who gets the records")
    parser.add_argument(
        "--join", nargs="?", const=True, default=False, metavar="",
        help="join it, once: the token of `nabz-collector server add` is asked for, or one line of standard input",
    )  # fmt: skip
    parser.add_argument("--join-file", type=Path, metavar="FILE", help="join it, once, with the token in this file")
    parser.add_argument(
        "--state",
        type=Path,
        default=Path(os.environ.get("STATE_DIRECTORY", "measure")),
        metavar="DIR",
        help="its key, used tokens and records on their way; default: as systemd says, or %(default)s",
    )
    parser.add_argument(
        "--networks", type=Path, metavar="FILE", help="name clients' networks by this database of AS numbers (.mmdb)"
    )
    logs.argument(parser)


def run(options: argparse.Namespace) -> int:
    logs.start("info", options.log_format)
    host, colon, port = options.listen.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        return _wrong(f"--listen {options.listen!r} must be HOST:PORT, for example 0.0.0.0:8474")
    if options.tests < 1:
        return _wrong(f"--tests {options.tests} must be 1 or more")
    if options.join not in (True, False):
        return _wrong(on_command_line("--join: a token", FIX))
    joins = options.join or options.join_file is not None
    if (joins and not options.collector) or (options.collector and not _is_http(options.collector)):
        return _wrong("--join needs --collector, the address of the collector: http://HOST:PORT or https://HOST")
    try:
        context = _tls(options.tls_cert, options.tls_key)
    except (ValueError, tls.TlsFileError) as error:
        return _wrong(describe(error))
    limits = Limits(tests_at_once=options.tests)
    try:
        member = _joined(options) if joins else held(options.state)
        witness = JoinedServer(member) if member else None
    except JoinError as error:
        logs.complain(str(error))
        return 1
    except OSError as error:
        logs.complain(f"--state {options.state}: cannot be used ({describe(error)}); name a folder of ours")
        return 1
    server = _server(options, limits, context, witness)
    try:
        asyncio.run(_serve(server, host.strip("[]") or "0.0.0.0", int(port), witness))  # noqa: S104  (a server for all)
    except OSError as error:
        logs.complain(f"cannot listen on {options.listen}: {describe(error)}; choose another with --listen")
        return 1
    return 0


def _joined(options: argparse.Namespace) -> Membership:
    """Raises JoinError, OSError."""
    try:
        token = asked_secret("Token: ", options.join_file)
    except (OSError, ValueError) as error:
        raise JoinError(f"--join-file {options.join_file}: cannot be read ({describe(error)})") from None
    return join(options.state, options.collector, token)


def _server(
    options: argparse.Namespace, limits: Limits, context: ssl.SSLContext | None, witness: JoinedServer | None
) -> MeasureServer:
    networks = Networks(options.networks) if options.networks else None
    if witness is None:
        return MeasureServer(limits=limits, public=options.public, tls=context, networks=networks)
    return MeasureServer(
        limits=limits,
        public=options.public,
        tls=context,
        sign=witness.member.key.sign,
        admit=witness.admit,
        on_record=witness.take,
        networks=networks,
    )


class JoinedServer:
    """What a server that belongs to a collector does beyond measuring: it asks for tokens, and hands over what it saw.

    With no address of a collector its records stay in the folder, from where the collector on this machine takes them.
    """

    def __init__(self, member: Membership) -> None:
        self.member = member
        used = UsedTokens(member.folder / USED, time.time_ns() // 1_000_000)
        self.admit = ByToken(member.collector_key, member.name, used)
        self.outgoing = Outgoing(member.folder / RECORDS)
        self.delivery = RecordSender(self.outgoing, sender(member.collector)) if member.collector else None

    def take(self, record: Record) -> None:
        """On the disk when this returns; what nobody gave a turn proves nothing and is not kept."""
        if not record.witnessed:
            return
        try:
            self.outgoing.add(record, self.member.key.sign)
        except OSError as error:
            RECORD_LOST.log(test=record.test, error=error)
        if self.delivery is not None:
            self.delivery.news.set()


def _tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Raises ValueError or TlsFileError, with a sentence."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ValueError("--tls-cert and --tls-key go together: name both PEM files, or neither")
    return tls.server_context(cert, key, least=tls.BROWSERS)


def _is_http(url: str) -> bool:
    return url.startswith(("http://", "https://"))


def _wrong(sentence: str) -> int:
    logs.complain(sentence)
    return 2


async def _serve(server: MeasureServer, host: str, port: int, witness: JoinedServer | None) -> None:
    host, port = await server.start(host, port)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    address = f"{'https' if server.tls else 'http'}://{shown}"
    STARTED.log(address=address, name=witness.member.name if witness else "", is_witnessed=witness is not None)
    handing = asyncio.ensure_future(witness.delivery.run()) if witness and witness.delivery else None
    sdnotify.tell("READY=1")
    while not stop.is_set():
        sdnotify.tell("WATCHDOG=1")
        with suppress(TimeoutError):
            async with asyncio.timeout(ALIVE_S):
                await stop.wait()
    sdnotify.tell("STOPPING=1")
    await server.close()
    if handing is not None:  # what has not been sent is on the disk
        handing.cancel()
        await asyncio.gather(handing, return_exceptions=True)
