"""No two tests are given the same port, in whichever process of whichever checkout they run."""

from __future__ import annotations

import json
import socket
import subprocess
import sys

from tests.helpers import ports

MANY = 400
ASK = f"""
import json
from tests.helpers.ports import free_ports
print(json.dumps(free_ports({MANY})), flush=True)
input()
"""


def test_processes_that_live_at_a_time_are_given_different_ports() -> None:
    words = [sys.executable, "-c", ASK]
    children = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [ports.free_ports(MANY), *(json.loads(item.stdout.readline()) for item in children if item.stdout)]
    for item in children:
        item.communicate("done\n")
    assert len({port for some in given for port in some}) == 4 * MANY


def test_what_somebody_uses_already_is_given_to_nobody() -> None:
    port = ports.free_port()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.bind((ports.HOST, port))
            assert not ports._is_unused(port)
    assert ports._is_unused(port)
