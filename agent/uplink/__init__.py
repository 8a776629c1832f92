"""The way to the collector: enrolment, certificates, the MQTT session, what is on its way."""

__all__ = ["enrol", "renew", "session", "trust"]
