"""SNMP v3 against pysnmp's own command responder: the right keys read, wrong ones are refused by name."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pysnmp.carrier.asyncio.dgram import udp
from pysnmp.entity import config, engine
from pysnmp.entity.rfc3413 import cmdrsp, context
from pysnmp.proto.api import v2c
from pysnmp.smi import instrum

from agent.probes.ups.snmp import Target
from agent.wire import UpsReading

Look = Callable[..., UpsReading]
AUTH, PRIV = "correct horse", "battery staple"


class Objects(instrum.AbstractMibInstrumController):  # type: ignore[misc]
    """Serves a Card's objects to pysnmp's responders."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def read_variables(self, *bindings: Any, **_: Any) -> list[Any]:
        return [self.found(name, False) for name, _ in bindings]

    def read_next_variables(self, *bindings: Any, **_: Any) -> list[Any]:
        return [self.found(name, True) for name, _ in bindings]

    def found(self, name: Any, following: bool) -> Any:
        oid, value = self.device.look(tuple(name), following)
        return v2c.ObjectIdentifier(oid), value


def serve(device: Any, port: int, ready: threading.Event, stop: threading.Event) -> None:
    async def run() -> None:
        agent = engine.SnmpEngine()
        config.add_transport(agent, udp.DOMAIN_NAME, udp.UdpTransport().open_server_mode(("127.0.0.1", port)))
        config.add_v3_user(agent, "nabz", config.USM_AUTH_HMAC96_SHA, AUTH, config.USM_PRIV_CFB128_AES, PRIV)
        config.add_vacm_user(agent, 3, "nabz", "authPriv", (1, 3, 6), (1, 3, 6))
        names = context.SnmpContext(agent)
        names.unregister_context_name(b"")
        names.register_context_name(b"", Objects(device))
        cmdrsp.GetCommandResponder(agent, names)
        cmdrsp.NextCommandResponder(agent, names)
        ready.set()
        await asyncio.get_running_loop().run_in_executor(None, stop.wait)
        agent.close_dispatcher()

    asyncio.run(run())


@pytest.fixture
def v3(card: Callable[..., Any]) -> Iterator[Callable[..., Target]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    ready, stop = threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(card("xups"), port, ready, stop), daemon=True)
    thread.start()
    assert ready.wait(10)

    def target(**settings: Any) -> Target:
        right = {"user": "nabz", "auth_protocol": "sha", "auth_key": AUTH, "priv_protocol": "aes", "priv_key": PRIV}
        return Target(host="127.0.0.1", port=port, version="3", **{**right, **settings})

    yield target
    stop.set()
    thread.join(5)


def test_a_user_with_the_right_keys_reads_the_ups(v3: Callable[..., Target], look: Look) -> None:
    reading = look(v3())

    assert reading.failure is None
    assert reading.output_state == "eco"
    assert reading.serial == "GX00000001"


@pytest.mark.parametrize("wrong", [{"user": "stranger"}, {"auth_key": "wrong horse"}, {"auth_protocol": "md5"}])
def test_a_refusal_names_the_user_and_never_a_key(v3: Callable[..., Target], look: Look, wrong: dict[str, str]) -> None:
    reading = look(v3(**wrong))

    assert reading.failure is not None
    assert reading.failure.cause == "refused"
    assert f"'{wrong.get('user', 'nabz')}'" in reading.failure.detail
    assert "horse" not in reading.failure.detail


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"user": ""}, "needs a user"),
        ({"auth_protocol": "none", "auth_key": ""}, "privacy needs authentication"),
        ({"auth_key": "short"}, "auth key must have 8 characters"),
    ],
)
def test_settings_that_cannot_work_are_said_before_anything_is_sent(
    look: Look, settings: dict[str, str], missing: str
) -> None:
    right = {"user": "nabz", "auth_protocol": "sha", "auth_key": AUTH, "priv_protocol": "aes", "priv_key": PRIV}
    reading = look(Target(host="127.0.0.1", port=9, version="3", **{**right, **settings}))

    assert reading.failure is not None
    assert reading.failure.cause == "settings"
    assert missing in reading.failure.detail
    assert AUTH not in repr(Target(host="x", auth_key=AUTH))
