"""The connection to the collector: enrolment, certificates, the MQTT session, batches in flight."""

__all__ = ["causes", "check", "endpoints", "enrol", "keepalive", "renew", "session", "trust"]
