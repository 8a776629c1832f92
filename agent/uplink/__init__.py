"""The connection to the collector: enrolment, certificates, the MQTT session, batches in flight."""

__all__ = ["enrol", "renew", "session", "trust"]
