"""What amqtt reads of one session, and which filters match a topic."""

from __future__ import annotations

from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.mqtt.publish import PublishPacket

from agent import wire
from collector.access import acl
from collector.brokers.listeners import Budgeted

MAX_LEVELS = 6
QOS = 1
NAME = "nabz.name"  # attribute of a session: the common name of its certificate


def filters_of(topic: str) -> list[str]:
    """Every filter that matches `topic` (MQTT 3.1.1, 4.7); none for a topic of too many levels to be ours."""
    levels = topic.split("/")
    if len(levels) > MAX_LEVELS:
        return []
    filters, starts = [], [""]
    for level in levels:
        filters += [start + "#" for start in starts]
        starts = [start + choice + "/" for start in starts for choice in (level, "+")]
    return [*filters, *(start[:-1] for start in starts), *(start + "#" for start in starts)]


class GatewayHandler(BrokerProtocolHandler):  # type: ignore[misc]
    """Of a client with a certificate it takes QoS 1 alone, as the contract says: amqtt holds what QoS 2 leaves
    unfinished without end, and QoS 0 has no answer that could slow its sender."""

    book: acl.Book | None = None

    async def stop(self) -> None:
        """It reads no more: amqtt cancels its reader, which takes no notice while what was sent before still waits
        (`asyncio.wait_for` of Python 3.11), and whoever ends a session waits for that."""
        if isinstance(self.reader, Budgeted):
            self.reader.is_ended = True
        await super().stop()

    async def handle_publish(self, publish_packet: PublishPacket) -> None:
        name = self.session.attributes.get(NAME) if self.session else None
        if name is None or publish_packet.qos == QOS or self._says_goodbye(name, publish_packet):
            await super().handle_publish(publish_packet)
            return
        if self.book is not None:
            self.book.refuse_qos(name, publish_packet.qos)
        await self.handle_connection_closed()

    @staticmethod
    def _says_goodbye(name: str, packet: PublishPacket) -> bool:
        """Agents up to 0.1 do so with QoS 0."""
        return (packet.qos, packet.topic_name) == (0, wire.presence_topic(name))
