"""The HTTP interfaces of machines: gateways and measurement servers."""

__all__ = ["gateways", "tiles"]
