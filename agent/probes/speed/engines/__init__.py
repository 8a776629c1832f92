"""Speed engines, one module each."""

__all__ = ["iperf3", "librespeed", "ndt7", "ookla"]
