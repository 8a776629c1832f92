"""What a seat measures of itself: whether it is a machine at all."""

from __future__ import annotations

from pathlib import Path

from agent.seat import measure


def test_a_hypervisor_is_told_by_its_makers_name(tmp_path: Path) -> None:
    assert measure.is_virtual(tmp_path) is None
    (tmp_path / "sys_vendor").write_text("Dell Inc.\n")
    (tmp_path / "product_name").write_text("OptiPlex 7010\n")
    assert measure.is_virtual(tmp_path) is False
    (tmp_path / "product_name").write_text("VMware Virtual Platform\n")
    assert measure.is_virtual(tmp_path) is True
