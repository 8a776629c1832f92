"""MQTT brokers: the embedded one, its listeners, the client of ingest, and settings for brokers of other makes."""

__all__ = ["client", "embedded", "endpoints", "external", "generated_config", "listeners", "mosquitto"]
