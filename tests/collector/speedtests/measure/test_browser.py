"""Other people's clients in a real browser against our server: M-Lab's own ndt7 client, and LibreSpeed's requests."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from agent.common.tls import server_context
from collector.speedtests.measure.limits import Limits
from tests.helpers import ROOT
from tests.helpers.authority import TestAuthority
from tests.helpers.measure_server import measure_server
from tests.helpers.pages import chromium

NDT7 = ROOT / "node_modules" / "@m-lab" / "ndt7" / "src"

chromium.needed()

# The client as npm has it, in its own workers; only the server is named.
RUN_NDT7 = """async ({server, protocol}) => {
    const found = {errors: [], measurements: 0};
    const code = await ndt7.test(
        {server, protocol, userAcceptedDataPolicy: true,
         downloadworkerfile: '/ndt7-download-worker.js', uploadworkerfile: '/ndt7-upload-worker.js'},
        {error: e => found.errors.push(String(e)),
         downloadMeasurement: m => { found.measurements += m.Source === 'server' },
         uploadMeasurement: m => { found.measurements += m.Source === 'server' },
         downloadComplete: d => { found.down = d },
         uploadComplete: u => { found.up = u }});
    return {...found, code};
}"""

# What LibreSpeed's worker asks for: the same addresses and fields, several at once, counted as they move.
RUN_LIBRESPEED = """async server => {
    const r = () => 'r=' + Math.random();
    const ask = (method, url, body, type) => new Promise((resolve, reject) => {
        const xhr = new XMLHttpRequest();
        xhr.open(method, server + url, true);
        xhr.responseType = type;
        if (body) xhr.setRequestHeader('Content-Encoding', 'identity');
        let sent = 0;
        xhr.upload.onprogress = e => { sent = e.loaded };
        xhr.onload = () => resolve({status: xhr.status, response: xhr.response, sent});
        xhr.onerror = () => reject(new Error('no answer to ' + url));
        xhr.send(body);
    });
    const ip = await ask('GET', '/backend/getIP.php?cors=true&isp=true&' + r(), null, 'json');
    const blob = new Blob(Array.from({length: 8}, () => crypto.getRandomValues(new Uint8Array(65536))));
    const down = await Promise.all([1, 2, 3].map(
        () => ask('GET', '/backend/garbage.php?cors=true&ckSize=5&' + r(), null, 'arraybuffer')));
    const up = await Promise.all([1, 2, 3].map(() => ask('POST', '/backend/empty.php?cors=true&' + r(), blob, 'text')));
    return {
        ip: ip.response, down: down.map(d => d.response.byteLength), up: up.map(u => u.sent),
        statuses: [...down, ...up].map(a => a.status), bodies: up.map(u => u.response),
    };
}"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


@pytest.fixture(scope="module")
def pages() -> Iterator[str]:
    """The npm package's files, from an origin of their own."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=NDT7)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as browser:
        yield browser


def run(browser: Browser, pages: str, script: str, argument: object) -> Any:
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{pages}/ndt7.js")  # an origin to run in; the text itself is not run
    if script is RUN_NDT7:
        page.add_script_tag(path=NDT7 / "ndt7.js")
    found = page.evaluate(script, argument)
    context.close()
    return found


def mbps(found: dict[str, Any]) -> tuple[float, float]:
    """As the client's own page computes them: the client's mean down, the server's count up."""
    tcp = found["up"]["LastServerMeasurement"]["TCPInfo"]
    return found["down"]["LastClientMeasurement"]["MeanClientMbps"], tcp["BytesReceived"] * 8 / tcp["ElapsedTime"]


@pytest.mark.parametrize("protocol", ["ws", "wss"])
def test_m_labs_own_client_measures_us_both_ways(protocol: str, browser: Browser, pages: str, tmp_path: Path) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    tls = server_context(files.cert, files.key) if protocol == "wss" else None
    for ndt7_s in (1.5, 6.0):  # a browser that gets no processor for a second and a half gets another test
        with measure_server(limits=Limits(ndt7_s=ndt7_s, test_idle_s=60.0), tls=tls) as (server, records):
            found = run(browser, pages, RUN_NDT7, {"server": server.rpartition("/")[2], "protocol": protocol})
        if min(mbps(found)) > 1:
            break
    assert (found["errors"], found["code"]) == ([], 0)
    assert min(mbps(found)) > 1
    (record,) = records  # both directions of one address are one test
    assert record.connections == 2
    # The client's last word comes a quarter of a second before its end, and our record has the frames' heads too.
    assert 0.05 * record.down.bytes < found["down"]["LastClientMeasurement"]["NumBytes"] < record.down.bytes
    received = found["up"]["LastServerMeasurement"]["TCPInfo"]["BytesReceived"]
    assert 0.05 * record.up.bytes < received <= record.up.bytes
    assert found["measurements"] >= 6


@pytest.mark.slow
def test_m_labs_own_client_runs_its_whole_ten_seconds(browser: Browser, pages: str) -> None:
    with measure_server() as (server, records):
        found = run(browser, pages, RUN_NDT7, {"server": server.rpartition("/")[2], "protocol": "ws"})
    assert (found["errors"], found["code"]) == ([], 0)
    elapsed_s = found["up"]["LastServerMeasurement"]["TCPInfo"]["ElapsedTime"] / 1e6
    assert 9 < elapsed_s < 11
    assert min(mbps(found)) > 1
    assert records[0].down.bytes > 10_000_000


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_browser_that_asks_as_librespeeds_page_does_gets_all_of_it(
    scheme: str, browser: Browser, pages: str, tmp_path: Path
) -> None:
    files = TestAuthority(tmp_path).server("127.0.0.1")
    tls = server_context(files.cert, files.key) if scheme == "https" else None
    with measure_server(tls=tls) as (server, records):
        found = run(browser, pages, RUN_LIBRESPEED, server)
    assert found["ip"]["processedString"] == "127.0.0.1"
    assert found["down"] == [5 << 20] * 3
    assert found["up"] == [8 * 65536] * 3
    assert found["statuses"] == [200] * 6
    assert found["bodies"] == [""] * 3
    (record,) = records
    assert record.down.bytes > 15 << 20
    assert record.up.bytes > 3 * 8 * 65536
