"""`python -m bench NAME [options]`: a bench is a module below here with `arguments(parser)` and `run(options)`."""

from __future__ import annotations

import argparse
import importlib
import sys

BENCHES = {
    "lines.speed": "measured over true rate on emulated lines, ours beside iperf3 and speedtest-cli (root)",
    "lines.witness": "a gateway's figure beside the measurement server's own on emulated lines (root)",
    "lines.limited": "whether a gateway that is its own bottleneck flags its speed tests, and no other does (root)",
    "gateway.power": "seconds from a UPS's trap to the gateway's disk and to the collector",
    "fleet.schedule": "the speed tests of 10,000 centers over a month, played by the real rules",
    "gateway.polls": "questions and milliseconds of each look at a UPS, ours beside NUT's snmp-ups",
    "gateway.field": "conditions that people met in the field, right and wrong: ours beside NUT's snmp-ups",
    "fleet.watch": "how often a well center stands in watch by packets lost by chance, by the real rules",
    "fleet.ingest": "what taking readings costs with signatures and TLS, beside none and beside a bare subscriber",
    "peers.peers": "what a gateway's minute costs to take: ours beside Zabbix and VictoriaMetrics",
    "fleet.live": "what a live batch costs the collector and its database, by centers and by function",
    "pages.charts": "what sums of hours save a chart of days, at fleet width",
    "pages.pages": "what the list of centers and a search cost, by the board and by the rows of states",
    "pages.browser": "weight, readiness and frames of the pages in Chromium at 10,000 centers, and their cost",
    "fleet.growth": "what a live batch and the list of centers cost by centers and by readings held",
    "fleet.storm": "thousands of gateways come back at once with hours of backlog, over TLS",
    "fleet.week": "a fleet's week, time compressed: processor time and disk by part, the month's close, a restart",
    "fleet.siege": "receipts, pages, memory and log of a collector under attack, over TLS and through ingest",
    "fleet.alerts": "seconds from a reading that crosses a bound to the call of a channel",
    "desk.causes": "a year of a fleet with a scripted truth: incidents per true cause, causes named right",
    "proof.close": "the nation's day sheets and its month's close, on both databases",
    "proof.draft": "a draft of a standard over a nation's 90 days",
    "proof.pdf": "a report as a signed PDF, in each language",
    "proof.verify": "what `nabz-collector verify` costs a batch, of days in the tables and in the archive",
    "fleet.backups": "what a server's first backup, the next ones and a restore cost, beside a plain copy of the bytes",
    "desk.grouping": "seconds of CPU a minute that incidents cost, in quiet and in a national outage",
    "gateway.host": "what the agent costs its gateway with two UPSs, twenty seats and a speed test (root)",
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench")
    subparsers = parser.add_subparsers(dest="bench", metavar="NAME")
    for path, summary in BENCHES.items():
        module, name = importlib.import_module(f"bench.{path}"), path.rpartition(".")[2]
        subparser = subparsers.add_parser(name, help=summary, description=summary)
        module.arguments(subparser)
        subparser.set_defaults(run=module.run)
    options = parser.parse_args(sys.argv[1:] or ["speed"])
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
