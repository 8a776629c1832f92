"""SNMP v3 with the user security model (RFC 3414), through pysnmp's engine. Costs memory only where it is configured.

Every look makes an engine of its own, so that a card that restarts (boots, time, even another engine) is met afresh.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from agent.common.errors import describe
from agent.common.logs import Event
from agent.probes.probe import ProbeFailed
from agent.probes.ups.pdu import (
    REPEAT_S,
    SHORTEST,
    Command,
    NoResponse,
    Setting,
    SnmpResponse,
    SnmpTarget,
    Value,
    arcs,
    opaque,
    weigh,
)

NOT_SNMP = Event(__name__, "debug", "snmp_unreadable", "a datagram that no SNMP v3 agent sends", fields="error")

AUTH = {
    "none": "usmNoAuthProtocol",
    "md5": "usmHMACMD5AuthProtocol",
    "sha": "usmHMACSHAAuthProtocol",
    "sha224": "usmHMAC128SHA224AuthProtocol",
    "sha256": "usmHMAC192SHA256AuthProtocol",
    "sha384": "usmHMAC256SHA384AuthProtocol",
    "sha512": "usmHMAC384SHA512AuthProtocol",
}
PRIV = {
    "none": "usmNoPrivProtocol",
    "des": "usmDESPrivProtocol",
    "aes": "usmAesCfb128Protocol",
    "aes192": "usmAesCfb192Protocol",
    "aes256": "usmAesCfb256Protocol",
}


def careful_dispatcher() -> Any:
    """pysnmp's own, except that what it cannot take apart ends there: it raises TypeError and others on hostile
    datagrams, and on those that come while it closes, and each would stand in the log as a fault of this program."""
    from pysnmp.carrier.asyncio.dispatch import AsyncioDispatcher

    class Careful(AsyncioDispatcher):  # type: ignore[misc]
        def _callback_function(self, transport: object, address: object, datagram: bytes) -> None:
            try:
                weigh(datagram)
                super()._callback_function(transport, address, datagram)
            except Exception as error:
                NOT_SNMP.log(error=error)

    return Careful()


def _new_engine() -> Any:
    from pysnmp.hlapi.v3arch import asyncio as hlapi

    return hlapi.SnmpEngine()


@dataclass
class User:
    """v3 with the user security model (RFC 3414); use with `async with`. Costs memory only where it is configured."""

    target: SnmpTarget
    repeat_s: float = REPEAT_S
    elsewhere: str = ""
    late_s: float | None = None
    heard: str = ""
    _engine: Any = None
    _parts: tuple[Any, ...] = ()

    async def __aenter__(self) -> User:
        # A quarter of a second of work, in which nobody else's echo would be timed and no deadline would end anything.
        self._engine = await asyncio.to_thread(_new_engine)
        from pysnmp.error import PySnmpError
        from pysnmp.hlapi.v3arch import asyncio as hlapi

        target = self.target
        self._engine.register_transport_dispatcher(careful_dispatcher())
        user = hlapi.UsmUserData(
            target.user,
            target.auth_key or None,
            target.priv_key or None,
            authProtocol=getattr(hlapi, AUTH[target.auth_protocol]),
            privProtocol=getattr(hlapi, PRIV[target.priv_protocol]),
        )
        try:
            transport = await hlapi.UdpTransportTarget.create((target.host, target.port), target.answer_s, 0)
        except PySnmpError as error:  # a name that does not resolve
            self._engine.close_dispatcher()
            raise OSError(describe(error)) from None
        self._parts = (user, transport, hlapi.ContextData(contextName=target.context))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._engine.close_dispatcher()

    async def exchange(
        self, command: Command, oids: Sequence[str], wait_s: float, values: Sequence[Setting] = ()
    ) -> SnmpResponse:
        """Raises NoResponse, and ProbeFailed when the agent refuses this user or its keys. As over v1 and v2c, a part
        is asked for when the whole stays unanswered, and an answer to either is taken."""
        tasks = [asyncio.ensure_future(self._once(command, oids, values))]
        try:
            async with asyncio.timeout(wait_s):
                done, _ = await asyncio.wait(tasks, timeout=min(self.repeat_s, wait_s / 2))
                if not done and command != "set":
                    part = oids[: max(1, len(oids) // 4)] if len(oids) > SHORTEST else oids
                    tasks.append(asyncio.ensure_future(self._once(command, part)))
                for first in asyncio.as_completed(tasks):
                    with suppress(NoResponse):
                        return await first
                raise NoResponse
        except TimeoutError:
            raise NoResponse from None
        finally:
            for task in tasks:
                if not task.cancel() and not task.cancelled():
                    task.exception()

    async def _once(self, command: Command, oids: Sequence[str], values: Sequence[Setting] = ()) -> SnmpResponse:
        from pysnmp.hlapi.v3arch import asyncio as hlapi
        from pysnmp.proto.errind import RequestTimedOut

        send = {"get": hlapi.get_cmd, "next": hlapi.next_cmd, "set": hlapi.set_cmd}[command]
        given = [hlapi.Integer32(it) if isinstance(it, int) else hlapi.ObjectIdentifier(arcs(it)) for it in values]
        blanks = [hlapi.Null("")] * len(oids)
        objects = [
            hlapi.ObjectType(hlapi.ObjectIdentity(arcs(oid)), value)
            for oid, value in zip(oids, given or blanks, strict=True)
        ]
        problem, status, index, bindings = await send(self._engine, *self._parts, *objects, lookupMib=False)
        if isinstance(problem, RequestTimedOut):
            raise NoResponse
        if problem:
            detail = (
                f"{self.target.place} refuses SNMPv3 user '{self.target.user}': {problem}; check user, protocols, keys"
            )
            raise ProbeFailed("refused", detail)
        pairs = [(str(name), plain(value)) for name, value in bindings]
        return SnmpResponse(int(status), int(index), pairs, len(oids))


def plain(value: object) -> Value:
    """A pysnmp value as a number, octets, OID text or None (null, noSuchObject, noSuchInstance, endOfMibView)."""
    from pyasn1.type import univ
    from pysnmp.proto import rfc1902, rfc1905

    if isinstance(value, (rfc1905.NoSuchObject, rfc1905.NoSuchInstance, rfc1905.EndOfMibView, univ.Null)):
        return None
    if isinstance(value, univ.Integer):
        return int(value)
    if isinstance(value, univ.ObjectIdentifier):
        return str(value)
    if isinstance(value, rfc1902.Opaque):
        return opaque(bytes(value))
    return bytes(value) if isinstance(value, univ.OctetString) else None
