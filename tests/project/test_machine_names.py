"""A machine whose own name is in Urdu, or no text at all: it enrols, serves and holds its jobs like any other."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.helpers import ROOT

pytestmark = pytest.mark.root

PROGRAM = """
import json, msgspec, socket, sys
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from agent.uplink.enrol import enrolment_request
from collector.access import ca, server_certs
from collector.common.config import BrokerSection, Settings
from collector.run.upkeep.jobs import holder_of

socket.sethostname(bytes.fromhex(sys.argv[1]))
request = enrolment_request("token", Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256R1()))
sent = msgspec.json.decode(msgspec.json.encode(request))
settings = Settings(broker=BrokerSection(tls_listen="0.0.0.0:8883", public="n.example:8883"))
names = server_certs.server_names(settings)
for name in names:
    ca._general_name(name)
print(json.dumps({"sent": sent["hostname"], "names": names, "holder": holder_of("x").encode().decode()}))
"""


@pytest.mark.parametrize(
    ("host", "sent", "own"),
    [
        ("کراچی-گیٹ".encode(), "کراچی-گیٹ", ["xn----ymc3a0y8bultb8oc"]),
        (b"\xff\xfekhi", "\\udcff\\udcfekhi", []),
        (b"khi-001", "khi-001", ["khi-001"]),
    ],
)
def test_a_machine_with_any_name_enrols_and_serves(host: bytes, sent: str, own: list[str]) -> None:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        if "CI" in os.environ:
            pytest.fail("needs root and unshare(1)")
        pytest.skip("needs root and unshare(1) for a machine with a name of its own")
    words = ["unshare", "--uts", sys.executable, "-c", PROGRAM, host.hex()]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["sent"] == sent
    assert facts["names"][-len(own) - 1 :] == ["::1", *own]
