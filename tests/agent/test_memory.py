"""What a process gives back, by the kernel's own account, and that it still works."""

from __future__ import annotations

import subprocess
import sys

from agent import memory

PROGRAM = """
import ssl, sqlite3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from agent import memory

def resident_kb():
    return int(next(line for line in open("/proc/self/status") if line.startswith("VmRSS")).split()[1])

memory.share_one_arena()
key = Ed25519PrivateKey.generate()
key.public_key().verify(key.sign(b"before"), b"before")
before = resident_kb()
memory.give_back()
after = resident_kb()
key.public_key().verify(key.sign(b"after"), b"after")
sqlite3.connect(":memory:").execute("SELECT 1").fetchall()
ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
print(before - after)
"""
SMAPS = """\
55d0a000-55d0b000 r--p 00000000 08:01 11                     /usr/bin/python3.11
Anonymous:             0 kB
55d0b000-55d2c000 r-xp 00001000 08:01 11                     /usr/bin/python3.11
Rss:                 120 kB
Anonymous:             0 kB
55d2c000-55d2d000 r--p 00022000 08:01 11                     /usr/bin/python3.11
Anonymous:             4 kB
55d2d000-55d2e000 rw-p 00023000 08:01 11                     /usr/bin/python3.11
Anonymous:             0 kB
7f000000-7f010000 ---p 00000000 08:01 12                     /opt/a folder/lib one.so
Anonymous:             0 kB
7f020000-7f030000 r-xp 00000000 08:01 12                     /opt/a folder/lib one.so
Anonymous:             0 kB
7f040000-7f050000 r-xp 00000000 00:00 0
Anonymous:             0 kB
7fff0000-7fff1000 r-xp 00000000 00:00 0                      [vdso]
Anonymous:             0 kB
"""


def test_only_what_a_file_holds_unchanged_is_given_back() -> None:
    places = [(0x55D0A000, 0x55D0B000), (0x55D0B000, 0x55D2C000), (0x7F020000, 0x7F030000)]
    assert list(memory.clean_of(SMAPS)) == places


def test_a_process_gets_smaller_and_goes_on_working() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) > 2000  # kB; 7,000 with these libraries
