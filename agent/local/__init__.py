"""What the gateway offers on its own network: its status page, the listener of its seats, and its UPSs
as a NUT server."""

__all__ = ["board", "ceilings", "lan", "nut_server", "status"]
