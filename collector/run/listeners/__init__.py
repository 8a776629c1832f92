"""Where people and enrolling gateways are listened to: one web server each, in this process or in one of its own."""

__all__ = ["process", "start", "witness"]
