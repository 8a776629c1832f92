"""What the gateway offers on its own network: its status page and the listener of its seats."""

__all__ = ["board", "lan", "status"]
