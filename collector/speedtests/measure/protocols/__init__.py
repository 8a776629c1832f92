"""What the measurement server speaks besides plain LibreSpeed: ndt7, Ookla's legacy layout, the UDP echo."""

__all__ = ["echo", "ndt7", "ookla"]
