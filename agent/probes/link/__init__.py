"""The link probe: loss, latency and the place of a fault on the path out, hop by hop, at a random moment of each cycle.

An answer is late, not lost, within 3.5 s. Where echoes are missing, datagrams to the measurement server's echo, or TCP
handshakes, are sent beside more echoes: only what both lose is lost. Every address family is tried. The far end proves
itself by the measurement server's cookie or a certificate of the collector's root; who answers in its place (a portal,
a firewall, a name that leads astray) is a cause of its own. A packet of full size is tried, and each of the system's
name servers is asked for one name: the target's, or `[link] lookup`.
"""

__all__ = ["interfaces", "mtu", "names", "ping", "route", "trace"]
