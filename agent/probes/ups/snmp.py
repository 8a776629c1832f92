"""SNMP v1, v2c and v3 to one UPS; pysnmp speaks v3, and is loaded where that is configured.

1. A `SnmpSession` asks for many objects in few datagrams and survives what UPS cards do: v1's all-or-nothing answers
   (the object named by the error is dropped and the rest asked again), tooBig and silence to long questions (asked
   again in parts), answers that lack some of the objects (asked again), wrong types, broken encodings.
2. A question keeps its number when it is repeated, and its answer is taken until the poll's deadline: cards that need
   seconds are read. A slow card is asked for several parts at once.
3. Who answers from another address than the one asked is believed by the question's number, and that is said.
It decides nothing about values.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent.common.errors import describe
from agent.common.files import read_text
from agent.probes.probe import ProbeFailed
from agent.probes.ups.pdu import (
    ANSWER_S,
    NO_ERROR,
    NO_SUCH_NAME,
    PORT,
    REPEAT_S,
    SHORTEST,
    TOO_BIG,
    Binding,
    Command,
    NoResponse,
    Setting,
    SnmpResponse,
    SnmpTarget,
    Value,
    arcs,
    decode,
    encode,
)

if TYPE_CHECKING:
    from agent.config import UpsSection

__all__ = [
    "PORT", "REPEAT_S", "Command", "Community", "Conversation", "NoResponse", "SnmpResponse", "SnmpSession",
    "SnmpTarget", "Value", "as_v1", "conversation", "secret_of", "target_of",
]  # fmt: skip

LONGEST = 28  # objects in one question: the answer stays within one unfragmented datagram
AT_ONCE = 4  # questions that are under way to a slow card
SLOW_S = 0.6  # an answer that takes so long is a slow card's
UNTIL_DEADLINE_S = 60.0  # whoever asks has a deadline that is shorter

Exchange = Callable[[Command, Sequence[str], float], Awaitable[SnmpResponse]]  # (command, objects, seconds to wait)


def target_of(ups: UpsSection) -> SnmpTarget:
    """The target a `[[ups]]` table describes. Raises ProbeFailed for a key file that cannot be read."""
    return SnmpTarget(
        name=ups.name,
        host=ups.host,
        port=ups.port or PORT,
        version=ups.snmp_version,
        community=ups.community,
        user=ups.user,
        auth_protocol=ups.auth_protocol,
        auth_key=secret_of(ups.auth_key_file),
        priv_protocol=ups.priv_protocol,
        priv_key=secret_of(ups.priv_key_file),
        context=ups.context,
        device=int(ups.ups) if ups.ups.isascii() and ups.ups.isdigit() else 0,
        answer_s=ups.answer_s,
    )


def secret_of(path: str) -> str:
    """What the file holds, without blanks around it; nothing without a file. Raises ProbeFailed."""
    if not path:
        return ""
    try:
        return read_text(Path(path)).strip()
    except (OSError, ValueError) as error:
        raise ProbeFailed("settings", f"key file {path} cannot be read: {describe(error)}") from None


# ---------------------------------------------------------------- many objects, few datagrams


class SnmpSession:
    """Questions to one agent. `questions` counts what was sent, `answered` answers; `longest` shrinks when the agent
    cannot take more; `cut_short` counts answers that lacked objects; `slowest_s` is the longest wait for one ever.

    The first answer is waited for `wait_s`, later ones until the caller's deadline: who has answered is there.
    """

    def __init__(
        self, exchange: Exchange, wait_s: float = ANSWER_S, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._exchange = exchange
        self.wait_s = wait_s
        self._now_s = now_s
        self.longest = LONGEST
        self.questions = 0
        self.answered = 0
        self.cut_short = 0
        self.slowest_s = 0.0

    @property
    def is_slow(self) -> bool:
        return self.slowest_s > SLOW_S

    async def get(self, oids: Iterable[str]) -> dict[str, Value]:
        """The values of exactly these objects; what the agent does not have is left out."""
        answers = await self._ask("get", list(oids), {})
        return {name: value for name, (_, value) in answers.items()}

    async def following(
        self, oids: Iterable[str], known: dict[str, Binding | None] | None = None
    ) -> dict[str, Binding]:
        """For each object the next one the agent has, with its value; nothing for those past its end. What is `known`
        is not asked again, and what comes is put there at once, so that a poll that is broken off is not in vain."""
        return await self._ask("next", sorted(oids, key=arcs), {} if known is None else known)

    async def _ask(self, command: Command, oids: list[str], known: dict[str, Binding | None]) -> dict[str, Binding]:
        waiting = [oid for oid in oids if oid not in known]
        while waiting:
            parts = [waiting[at : at + self.longest] for at in range(0, len(waiting), self.longest)]
            together = parts[: AT_ONCE if self.is_slow else 1]
            again: list[str] = []
            for part, (answered, answer) in zip(together, await self._answers(command, together), strict=True):
                left = part[len(answered) :] + self._taken(command, answered, answer, known)
                known.update(dict.fromkeys((oid for oid in part if oid not in left and oid not in known), None))
                again += left
                if _is_end(command, answered, answer):
                    parts = together  # in sorted order all that follow lie beyond the end too
                    break
            waiting = again + [oid for part in parts[len(together) :] for oid in part]
        return {oid: binding for oid in oids if (binding := known.get(oid)) is not None}

    async def _answers(self, command: Command, parts: Sequence[list[str]]) -> list[tuple[list[str], SnmpResponse]]:
        if len(parts) == 1:
            return [await self._answer(command, parts[0])]
        tasks = [asyncio.ensure_future(self._answer(command, part)) for part in parts]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    def _taken(
        self, command: Command, part: list[str], answer: SnmpResponse, known: dict[str, Binding | None]
    ) -> list[str]:
        """What is to be asked again, after this answer was taken into `known`."""
        if answer.status == NO_ERROR:
            known.update(_pair(command, part, answer.bindings))
            return self._missing(command, part, answer.bindings)
        if _is_end(command, part, answer):
            return part[: answer.index - 1]
        return self._without_refused(part, answer)

    def _missing(self, command: Command, part: list[str], got: Sequence[Binding]) -> list[str]:
        """What an answer does not mention at all: some cards cut it where their buffer ends, and call that no error."""
        named = {name for name, _ in got}
        missing = [oid for oid in part if oid not in named] if command == "get" else part[len(got) :]
        if not missing or len(part) == 1:
            return []
        self.cut_short += 1
        self.longest = max(1, min(self.longest, len(part) - len(missing) or len(part) // 2))
        return missing

    def _without_refused(self, part: list[str], answer: SnmpResponse) -> list[str]:
        if 1 <= answer.index <= len(part):
            return part[: answer.index - 1] + part[answer.index :]
        if len(part) == 1:
            return []
        self.longest = len(part) // 2  # one of these is refused, but the agent does not say which
        return part

    async def _answer(self, command: Command, part: list[str]) -> tuple[list[str], SnmpResponse]:
        """The objects that were answered, as many of the first as the agent can take, and its answer."""
        while True:
            self.questions += 1
            began_s = self._now_s()
            answer = await self._exchange(command, part, UNTIL_DEADLINE_S if self.answered else self.wait_s)
            self.answered += 1
            self.slowest_s = max(self.slowest_s, self._now_s() - began_s)
            if answer.covered is not None and answer.covered < len(part):
                part = part[: answer.covered]
                self.longest = max(len(part), min(self.longest, SHORTEST))
            if answer.status != TOO_BIG or len(part) == 1:
                return part, answer
            part = part[: len(part) // 2]
            self.longest = len(part)


def _is_end(command: Command, part: Sequence[str], answer: SnmpResponse) -> bool:
    """v1 says the end of its tree so."""
    return command == "next" and answer.status == NO_SUCH_NAME and 1 <= answer.index <= len(part)


def _pair(command: Command, oids: Sequence[str], got: Sequence[Binding]) -> dict[str, Binding]:
    """Answers by the object asked for. Agents that reorder or shorten an answer lose only what cannot be told apart."""
    if command == "get":
        by_name = {name: value for name, value in got if value is not None}
        return {name: (name, by_name[name]) for name in oids if name in by_name}
    pairs = zip(oids, got, strict=False)
    return {name: binding for name, binding in pairs if arcs(binding[0]) > arcs(name)}


# ---------------------------------------------------------------- v1 and v2c


class _Receiver(asyncio.DatagramProtocol):
    """Passes datagrams and errors on to the conversation."""

    def __init__(self, conversation: Community) -> None:
        self._conversation = conversation

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._conversation.receive(data, addr[0])

    def error_received(self, error: Exception) -> None:
        self._conversation.fail(error)


@dataclass
class Community:
    """v1 or v2c; use with `async with`. One socket is connected to the card, so that its host can refuse; a second one,
    opened when nothing comes back, hears cards that answer from another of their addresses."""

    target: SnmpTarget
    repeat_s: float = REPEAT_S
    elsewhere: str = ""  # the address that answers come from, when it is not the one asked
    late_s: float | None = None  # after how long an answer came that nobody waited for any more
    heard: str = ""  # what came that is no answer
    _here: asyncio.DatagramTransport | None = None
    _there: asyncio.DatagramTransport | None = None
    _opening: asyncio.Task[None] | None = None
    _is_over: bool = False
    _waiting: dict[int, asyncio.Future[SnmpResponse]] = field(default_factory=dict)
    _given_up: dict[int, float] = field(default_factory=dict)  # number: when it was sent

    async def __aenter__(self) -> Community:
        loop = asyncio.get_running_loop()
        self._here, _ = await loop.create_datagram_endpoint(
            lambda: _Receiver(self), remote_addr=(self.target.host, self.target.port)
        )
        try:
            if self.elsewhere:
                await self._open_second_socket()
        except BaseException:  # nobody leaves what was not entered
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        """At once: who leaves may be cancelled meanwhile. A second socket that is just being opened closes itself."""
        self._is_over = True
        for transport in (self._here, self._there):
            if transport is not None:
                transport.close()

    async def exchange(
        self, command: Command, oids: Sequence[str], wait_s: float, values: Sequence[Setting] = ()
    ) -> SnmpResponse:
        """Raises NoResponse, and OSError when the host refuses the port. `values` are for ``set``, one an object."""
        began_s = time.monotonic()
        whole = self._number()
        sent = {whole: (len(oids), encode(self.target, whole, command, oids, values))}
        try:
            async with asyncio.timeout(wait_s):
                self._send(sent[whole][1])
                for repeats in itertools.count():
                    pause_s = self.repeat_s * 2**repeats
                    pause_s = pause_s if self.repeat_s > REPEAT_S else min(pause_s, max(wait_s / 2, 0.01))
                    answered = await self._first(sent, pause_s)
                    if answered is not None:
                        self.repeat_s = max(self.repeat_s, 2 * (time.monotonic() - began_s))
                        return replace(self._waiting[answered].result(), covered=sent[answered][0])
                    if command != "set":
                        await self._repeat(command, oids, sent)
                raise AssertionError("counting ends")
        except TimeoutError:
            raise NoResponse(self.heard) from None
        finally:
            for number in sent:
                future = self._waiting.pop(number)
                if not future.cancel() and not future.cancelled():
                    future.exception()  # an error that nobody waits for any more is no fault of this program
                self._given_up[number] = began_s

    def _number(self) -> int:
        """The number of a new question; an answer to it is waited for from now on."""
        number = _random.randrange(1, 2**31 - 1)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        return number

    async def _first(self, sent: dict[int, tuple[int, bytes]], wait_s: float) -> int | None:
        """The question that is answered; None while none is. Raises what the socket raised."""
        futures = {self._waiting[number]: number for number in sent}
        done, _ = await asyncio.wait(futures, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        for future in done:
            future.result()
        return min((futures[future] for future in done), key=lambda number: -sent[number][0], default=None)

    async def _repeat(self, command: Command, oids: Sequence[str], sent: dict[int, tuple[int, bytes]]) -> None:
        """Asks again. A lost datagram, or a question too long for a small card: a quarter of it serves both. An answer
        to the whole is still taken."""
        await self._open_second_socket()
        if len(sent) == 1 and len(oids) > SHORTEST:
            short = self._number()
            part = oids[: max(1, len(oids) // 4)]
            sent[short] = (len(part), encode(self.target, short, command, part))
            self._send(sent[short][1])
            return
        for _, datagram in sent.values():
            self._send(datagram)

    def _send(self, datagram: bytes) -> None:
        """From the connected socket at first, so that a host can refuse; a repeat from the one that hears everybody."""
        assert self._here is not None
        if self._there is None:
            self._here.sendto(datagram)
        else:
            self._there.sendto(datagram, self._here.get_extra_info("peername"))

    async def _open_second_socket(self) -> None:
        """Opens the second socket, once, whoever comes first and whoever gives up waiting."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._create_second_socket())
        await asyncio.shield(self._opening)

    async def _create_second_socket(self) -> None:
        assert self._here is not None
        any_address = "::" if ":" in self._here.get_extra_info("peername")[0] else "0.0.0.0"  # noqa: S104
        self._there, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Receiver(self), local_addr=(any_address, 0)
        )
        if self._is_over:
            self._there.close()

    def receive(self, datagram: bytes, address: str) -> None:
        try:
            number, answer = decode(self.target.version, datagram)
        except ValueError as error:
            self.heard = describe(error)
            return
        future = self._waiting.get(number)
        if future is not None and not future.done():
            future.set_result(answer)
            assert self._here is not None
            self.elsewhere = address if address != self._here.get_extra_info("peername")[0] else ""
        elif number in self._given_up and future is None:
            self.late_s = time.monotonic() - self._given_up[number]

    def fail(self, error: Exception) -> None:
        for future in self._waiting.values():
            if isinstance(error, OSError) and not future.done():
                future.set_exception(error)


_random = random.SystemRandom()  # a question's number is what a stranger must guess


# ---------------------------------------------------------------- any version


class Conversation(Protocol):
    """One agent under way to, in whichever version; use with `async with`. `elsewhere`: where answers come from, when
    that is not where the questions went. `late_s`: after how long an answer came that nobody waited for any more."""

    elsewhere: str
    late_s: float | None

    async def __aenter__(self) -> Conversation: ...
    async def __aexit__(self, *_: object) -> None: ...
    async def exchange(
        self, command: Command, oids: Sequence[str], wait_s: float, values: Sequence[Setting] = ()
    ) -> SnmpResponse: ...


def conversation(target: SnmpTarget, repeat_s: float = REPEAT_S, elsewhere: str = "") -> Conversation:
    """The way to talk to this target, by its SNMP version."""
    if target.version == "3":
        from agent.probes.ups.snmp_v3 import User

        return User(target, repeat_s, elsewhere)
    return Community(target, repeat_s, elsewhere)


def as_v1(target: SnmpTarget) -> SnmpTarget:
    return replace(target, version="1")
