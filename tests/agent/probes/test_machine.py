"""What tells a machine and its place from others, as the kernel's files have it."""

from __future__ import annotations

from pathlib import Path

from agent.probes import machine

ARP = """IP address       HW type     Flags       HW address            Mask     Device
192.168.1.9      0x1         0x2         aa:bb:cc:dd:ee:01     *        eth0
192.168.1.1      0x1         0x2         AA:BB:CC:DD:EE:02     *        eth0
192.168.1.2      0x1         0x0         00:00:00:00:00:00     *        eth0
"""


def written(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_hashes_tell_machines_apart_and_no_address(tmp_path: Path) -> None:
    root = written(tmp_path, sys__class__net__eth0__address="aa:bb:cc:dd:ee:02\n", proc__net__arp=ARP)
    own, router = machine.own_hash("eth0", root), machine.router_hash("192.168.1.1", root)
    assert own is not None
    assert (own, len(own)) == (router, machine.SHORT)  # the same address, however it is written
    assert machine.router_hash("192.168.1.9", root) not in (own, None)
    assert "aabbcc" not in own


def test_what_the_machine_does_not_say_is_unknown(tmp_path: Path) -> None:
    root = written(tmp_path, sys__class__net__ppp0__address="\n", proc__net__arp=ARP)
    assert machine.own_hash("ppp0", root) is None
    assert machine.own_hash(None, root) is None
    assert machine.own_hash("eth7", root) is None
    assert machine.router_hash("192.168.1.2", root) is None
    assert machine.router_hash(None, root) is None
    assert machine.hardware(root) is None


def test_a_virtual_machine_is_told_from_a_physical_one(tmp_path: Path) -> None:
    assert machine.hardware(written(tmp_path / "a", sys__class__dmi__id__sys_vendor="QEMU\n")) == "virtual"
    assert machine.hardware(written(tmp_path / "b", proc__cpuinfo="flags : fpu hypervisor sse\n")) == "virtual"
    assert machine.hardware(written(tmp_path / "c", sys__class__dmi__id__sys_vendor="LENOVO\n")) == "physical"
