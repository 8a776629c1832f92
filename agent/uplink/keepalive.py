"""The longest silence that a broker lets a client announce, found by asking for less. Pure.

MQTT 3.1.1 has no word for it: Mosquitto from 2.0.12 on with `max_keepalive` answers whoever asks for more with return
code 2, "identifier rejected" (section 3.2.2.3), and MQTT 5 alone could name the limit. So a refusal of that kind is
first taken for one of the keepalive, and for one of the gateway when the shortest is refused too.
"""

from __future__ import annotations

from agent.identity import BrokerEndpoint

STEPS_S = (300, 60, 30, 10)  # Mosquitto allows no limit below 10
IDENTIFIER_REJECTED = 133  # MQTT 5's number of the reason, into which paho turns return code 2


class Keepalives:
    """What each endpoint is asked for; kept as long as the agent runs."""

    def __init__(self) -> None:
        self._steps: dict[BrokerEndpoint, int] = {}

    def of(self, endpoint: BrokerEndpoint) -> int:
        """Seconds."""
        return STEPS_S[self._steps.get(endpoint, 0)]

    def refused(self, endpoint: BrokerEndpoint) -> bool:
        """The endpoint rejected us under the present one: whether a shorter one is left to be tried. After the shortest
        the next try begins with the longest: it was not the keepalive."""
        step = self._steps.get(endpoint, 0) + 1
        self._steps[endpoint] = step % len(STEPS_S)
        return step < len(STEPS_S)
