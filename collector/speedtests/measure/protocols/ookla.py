"""The legacy Ookla HTTP layout, as the unmodified speedtest-cli 2.1.3 asks for it (its speedtest.py is the source).

Reached by `http_proxy=http://HOST:PORT no_proxy=HOST speedtest-cli`: the configuration and the list of servers come to
us as absolute URIs, the list names only us, and the tests themselves then come direct.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

# The real files' sizes: a client adds up what it read, but a proxy or a watcher may know them.
IMAGE_BYTES = {
    "random350x350.jpg": 245_388,
    "random500x500.jpg": 505_544,
    "random750x750.jpg": 1_118_012,
    "random1000x1000.jpg": 1_986_284,
    "random1500x1500.jpg": 4_468_241,
    "random2000x2000.jpg": 7_907_740,
    "random2500x2500.jpg": 12_407_926,
    "random3000x3000.jpg": 17_816_816,
    "random3500x3500.jpg": 24_262_167,
    "random4000x4000.jpg": 31_625_365,
}
LATENCY = b"test=test\n"
MINI = b'<!doctype html><title>Nabz</title><script>var upload_extension: "php"</script>\n'

_CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<settings>
<client ip={address} lat="33.7" lon="73.1" isp="" isprating="0" rating="0" ispdlavg="0" ispulavg="0" country="PK"/>
<server-config threadcount="4" ignoreids="" notonmap="" forcepingid="" preferredserverid=""/>
<download testlength="10" initialtest="250K" mintestsize="250K" threadsperurl="4"/>
<upload testlength="10" ratio="5" initialtest="0" mintestsize="32K" threads="2"
 maxchunksize="512K" maxchunkcount="50" threadsperurl="4"/>
</settings>
"""

_SERVERS = """<?xml version="1.0" encoding="UTF-8"?>
<settings><servers>
<server url={url} lat="33.7" lon="73.1" name="Nabz" country="Pakistan" cc="PK" sponsor="Nabz" id="1" host={host}/>
</servers></settings>
"""


def config_xml(address: str) -> bytes:
    return _CONFIG.format(address=quoteattr(address)).encode()


def servers_xml(host: str) -> bytes:
    """`host` is HOST:PORT as the client can reach this server."""
    return _SERVERS.format(url=quoteattr(f"http://{host}/speedtest/upload.php"), host=quoteattr(host)).encode()
