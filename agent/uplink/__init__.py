"""The connection to the collector: enrolment, certificates, the MQTT session, batches in flight."""

__all__ = ["causes", "check", "collector_client", "endpoints", "enrol", "keepalive", "renew", "session", "trust"]
