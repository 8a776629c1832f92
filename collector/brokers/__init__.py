"""MQTT brokers: the embedded one, its listeners, and settings for brokers of other makes."""

__all__ = ["embedded", "endpoints", "external", "generated_config", "listeners", "mosquitto"]
