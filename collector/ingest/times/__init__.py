"""When a reading was taken: by its own clock, by brackets of receipts, by what a boot is known to be."""

__all__ = ["boot_clocks", "event_time"]
