"""The outbox: makes messages of what has happened, and lets each channel send its own (collector.desk.alerts.queue).

It is woken after the commit of what people are to be told of, and looks by itself now and then. Each channel has a
worker of its own with a deadline: one that hangs delays no other. One outbox works on a database at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from agent.common.logs import Event
from agent.common.words import plain
from collector.desk import tables
from collector.desk.alerts import links, personal
from collector.desk.alerts.answers import acts
from collector.desk.alerts.answers.acts import Answer
from collector.desk.alerts.answers.mail import MailReply
from collector.desk.alerts.answers.mailbox import Mailbox
from collector.desk.alerts.answers.text import answer_of
from collector.desk.alerts.channel import AlertMessage, Channel, SendFailed
from collector.desk.alerts.digest import DigestKind
from collector.desk.alerts.digests import DigestRun, make_due
from collector.desk.alerts.queue import ClaimedMessage, claim, due_channels, finish, give_up_unsure, is_waiting, queue
from collector.desk.follow import adopt
from collector.desk.incident import WorkError
from collector.desk.routing import directory
from collector.desk.routing.due import DueTime
from collector.desk.routing.recipients import AddressKind
from collector.standard import Standards
from collector.store import Store

NOT_SENT = Event(
    __name__, "warning", "alert_unsent", "an alert could not be sent by a channel", key="channel", fields="alert error"
)

NOT_POLLED = Event(
    __name__, "warning", "answers_unread", "a channel could not be asked for answers", key="channel", fields="error"
)
ANSWER_REFUSED = Event(
    __name__, "info", "answer_refused", "an answer to a message cannot be taken", key="way", fields="error"
)
WAIT_S = 4.0  # `look` waits for channels that begin to send; one that hangs is not waited for again
STOP_S = 5.0
DEADLINE_S = 30.0  # for one message


class ChannelWorker:
    """Sends a channel's messages one after the other, in a thread of its own, and rests until it is woken."""

    def __init__(self, channel: str, send_next: Callable[[str], bool | None]) -> None:
        self.channel, self._send_next = channel, send_next
        self.sent = 0
        self.error: BaseException | None = None
        self._stopped, self._woken, self.is_idle = threading.Event(), threading.Event(), threading.Event()
        self._lock = threading.Lock()  # idle and woken are changed together
        # A daemon: a channel that hangs for ever must not keep the collector from stopping.
        self.thread = threading.Thread(target=self._run, name=f"alerts-{channel}", daemon=True)
        self.thread.start()

    def wake(self) -> None:
        with self._lock:
            self.is_idle.clear()
            self._woken.set()

    def stop(self) -> None:
        self._stopped.set()
        self._woken.set()

    def taken(self) -> int:
        """How many messages it has sent since this was asked last. Raises what it failed by."""
        error, self.error = self.error, None
        if error is not None:
            raise error
        sent, self.sent = self.sent, 0
        return sent

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._woken.wait()
            self._woken.clear()
            try:
                while not self._stopped.is_set() and (was_sent := self._send_next(self.channel)) is not None:
                    self.sent += was_sent
            except BaseException as error:  # the next look raises it
                self.error = error
            with self._lock:
                if not self._woken.is_set():
                    self.is_idle.set()


class Outbox:
    """`tick` begins all that is due and waits for nothing; `look` also waits a while for the channels."""

    def __init__(
        self,
        store: Store,
        channels: Sequence[Channel],
        standards: Standards,
        base_url: str,
        clock_ms: Callable[[], int],
        deadline_s: float = DEADLINE_S,
        digest_times: Mapping[DigestKind, DueTime] | None = None,
        mailboxes: Sequence[Mailbox] = (),
    ) -> None:
        self.store, self.standards, self.base_url, self.clock_ms = store, standards, base_url, clock_ms
        self.channels = {channel.name: channel for channel in channels}
        self._mailboxes = mailboxes
        self._deadline_s, self.digest_times = deadline_s, digest_times or {}
        self._workers: dict[str, ChannelWorker] = {}
        self._stopped = threading.Event()

    def use(self, channels: Sequence[Channel]) -> None:
        """From the next look on. Messages of a channel that is no longer there fail when they are due."""
        self.channels = {channel.name: channel for channel in channels}

    def after_start(self) -> int:
        """To be called once before the first look: what was being sent when the last run ended is `unsure`, and flags
        that a program before incidents has raised become incidents."""
        with self.store.write() as conn:
            adopt(conn, self.standards, self.clock_ms())
            return give_up_unsure(conn)

    def tick(self) -> list[ChannelWorker]:
        """Makes messages of what has happened, and wakes the channels that have something to send; returns those."""
        with self.store.read() as conn:
            waiting = is_waiting(conn) or personal.is_waiting(conn, self.clock_ms())
        if waiting:
            channels = list(self.channels.values())
            with self.store.write(beside=True) as conn:  # whoever takes readings in goes on meanwhile
                tables.lock(conn)
                queue(conn, channels, self.standards, self.base_url, self.clock_ms())
                personal.route(conn, channels, self.standards, self.base_url, self.clock_ms())
        with self.store.read() as conn:
            due = due_channels(conn, self.clock_ms())
        workers = [self._worker(name) for name in due]
        for worker in workers:
            worker.wake()
        return workers

    def make_digests(self) -> int:
        """Makes the digests that are due; how many messages."""
        run = DigestRun(list(self.channels.values()), self.digest_times, self.standards, self.base_url, self.clock_ms())
        return make_due(self.store.read, self.store.write, run)

    def poll_answers(self) -> int:
        """Takes what people answered by channels that have buttons, and by e-mail; how many answers."""
        taken = 0
        for name, channel in list(self.channels.items()):
            if channel.poll is None:
                continue
            try:
                taken += channel.poll(partial(self._answer, channel.address))
            except SendFailed as problem:
                NOT_POLLED.log(channel=name, error=problem)
        for mailbox in self._mailboxes:
            try:
                taken += mailbox.poll(self._mailed)
            except SendFailed as problem:
                NOT_POLLED.log(channel="mailbox", error=problem)
        return taken

    def _mailed(self, reply: MailReply) -> None:
        """Does what an e-mail asks for, in the name of the person whose message it answers."""
        answer = answer_of(reply.text, "mail")
        if answer is None:
            return
        try:
            with self.store.write() as conn:
                acts.by_link(conn, reply.secret, answer, self.clock_ms())
        except WorkError as error:
            ANSWER_REFUSED.log(way="mail", error=error)

    def _answer(self, kind: AddressKind | None, secret: str, address: str) -> str:
        """What became of a press on a button, in the language of whoever pressed."""
        now_ms = self.clock_ms()
        with self.store.write() as conn:
            link = links.find(conn, secret, now_ms)
            person = next((one for one in directory.people(conn) if link and one.key == link.person), None)
            words = plain(person.lang if person else "en")
            if person is None or kind is None or person.addresses.get(kind) != address:
                return words("link.over")
            try:
                acts.by_link(conn, secret, Answer("ack", words("link.pressed"), way="button"), now_ms)
            except WorkError as error:
                return str(error)
            return words("link.done.ack", name=person.name)

    def _worker(self, channel: str) -> ChannelWorker:
        if channel not in self._workers:
            self._workers[channel] = ChannelWorker(channel, self._send_next)
        return self._workers[channel]

    def look(self) -> int:
        """`tick`, and a wait for the channels that begin now. Returns how many messages were sent by the channels that
        are done; raises what one of them failed by."""
        busy = {worker.channel for worker in self._workers.values() if not worker.is_idle.is_set()}
        begun = [worker for worker in self.tick() if worker.channel not in busy]
        _wait(begun, WAIT_S)
        return sum(worker.taken() for worker in self._workers.values() if worker.is_idle.is_set())

    def stop(self) -> None:
        """Lets each channel end the message that it sends now; one that hangs is left behind, its message `unsure`."""
        self._stopped.set()
        for worker in self._workers.values():
            worker.stop()
        until_s = time.monotonic() + STOP_S
        for worker in self._workers.values():
            worker.thread.join(max(0.0, until_s - time.monotonic()))

    def _send_next(self, channel: str) -> bool | None:
        """Whether the channel's next message was sent; None if there is none."""
        if self._stopped.is_set():
            return None
        with self.store.write(beside=True) as conn:
            due = claim(conn, self.clock_ms(), channel)
        if due is None:
            return None
        problem = self._send(due)
        with self.store.write(beside=True) as conn:
            finish(conn, due, problem, self.clock_ms())
            channels = list(self.channels.values()) if problem else []
            other = personal.by_another(conn, channels, due.id, self.base_url, self.clock_ms()) if problem else ""
        if other:
            self._worker(other).wake()
        if problem:
            NOT_SENT.log(channel=due.channel, alert=due.id, error=problem)
        return problem is None

    def _send(self, due: ClaimedMessage) -> SendFailed | None:
        channel = self.channels.get(due.channel)
        if channel is None:
            return SendFailed("no channel of this name is configured any more", permanent=True)
        try:
            _send_in_time(channel, due.message, self._deadline_s)
        except SendFailed as problem:
            return problem
        return None


def _send_in_time(channel: Channel, message: AlertMessage, deadline_s: float) -> None:
    """Raises SendFailed, also when the channel does not answer in time: its thread is left behind."""
    problems: list[BaseException] = []

    def send() -> None:
        try:
            channel.send(message)
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=send, name=f"alerts-{channel.name}-send", daemon=True)
    thread.start()
    thread.join(deadline_s)
    if thread.is_alive():
        raise SendFailed(f"no answer within {deadline_s:g} s: it may have gone out", is_unsure=True)
    for error in problems:
        raise error


def _wait(workers: Iterable[ChannelWorker], longest_s: float) -> None:
    until_s = time.monotonic() + longest_s
    for worker in workers:
        worker.is_idle.wait(max(0.0, until_s - time.monotonic()))
