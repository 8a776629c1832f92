"""How simulated centers join: by the same HTTP request, token and proof as a real gateway."""

from __future__ import annotations

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.common.errors import describe
from collector.commands.simulation.identities import FleetError, SimulatedIdentity, add_key
from collector.commands.simulation.readings import VERSION

TIMEOUT_S = 30.0
AT_ONCE = 4


def join(url: str, folder: Path, tokens: Mapping[str, str], say: Callable[[str], None]) -> list[SimulatedIdentity]:
    """Enrol a gateway for each center of `tokens` (center -> token); each identity is on disk before the next is asked.

    Raises FleetError at the first refusal; those who joined before it stay joined.
    """
    joined: list[SimulatedIdentity] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for identity in pool.map(lambda item: enrol(url, *item), tokens.items()):
            add_key(folder, identity)
            joined.append(identity)
            say(f"{len(joined)} of {len(tokens)} simulated centers enrolled")
    return joined


def enrol(url: str, center: str, token: str) -> SimulatedIdentity:
    """One gateway with a new key. Raises FleetError."""
    key = Ed25519PrivateKey.generate()
    question = {
        "token": token,
        "public_key": base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        "proof": base64.b64encode(key.sign(b"nabz-enrol\n" + token.encode())).decode(),
        "hostname": f"simulated-{center.lower()}",
        "version": VERSION,
    }
    identity = SimulatedIdentity(center=center, key=key, enrolled=ask(f"{url.rstrip('/')}/api/v1/enrol", question))
    if identity.enrolled.get("device") != identity.device or identity.enrolled.get("center") != center:
        raise FleetError(f"{url}: answered for another gateway than {center}; is it a Nabz collector?")
    return identity


def ask(url: str, question: dict[str, str]) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310 - the scheme is checked by the command
        url, json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        raise FleetError(f"{url}: refused ({error.code}): {error.read(500).decode(errors='replace')}") from None
    except (OSError, ValueError, TypeError) as error:
        raise FleetError(f"{url}: no answer ({describe(error)}); is `nabz-collector serve` running there?") from None


def broker_of(identities: Sequence[SimulatedIdentity]) -> tuple[str, int]:
    """The broker the collector named at enrolment. Raises FleetError."""
    broker = identities[0].enrolled.get("broker")
    if not isinstance(broker, dict):
        raise FleetError("the collector named no broker at enrolment; give one with --broker HOST:PORT")
    return str(broker["host"]), int(broker["port"])


def collector_key_of(identities: Sequence[SimulatedIdentity]) -> bytes:
    return base64.b64decode(str(identities[0].enrolled["collector_key"]))
