"""Run all proxies under the same loads, side by side, and print the figures and what they reach.

    python -m benchmarks.run [--quick] [--rounds N] [--only nginx,stages] [--loads paced,json] [--json FILE]
    python -m benchmarks.run --profile stages:flood

Inside a round each load goes over all proxies before the next load starts, so that the figures which are compared are
taken seconds apart: on a shared machine absolute figures drift, ratios hardly do.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import profiling, report, selftest
from benchmarks.proc import rss_kib, tree
from benchmarks.processes import Bench, RunError, Server, TimeUpError
from benchmarks.proxies import LOADS, Proxy, rows

QUICK_SECONDS, FULL_SECONDS = 58.0, 355.0
PATIENCE = 60.0
STARTS = 3  # the first start of a Python program may still have to compile it; the middle one counts
SETTLE_SECONDS = 0.3  # a port is open before the workers behind it are

LOADS_QUICK = {
    "hold": "hold --connections 200 --rate 10 --seconds 1.4",
    "paced": "paced --seconds 1.8",
    "json": "json --seconds 0.7",
    "flood": "flood --seconds 0.7",
    "each": "flood --each --seconds 0.7",
}
LOADS_FULL = {
    "hold": "hold --connections 400 --rate 10 --seconds 3",
    "paced": "paced --seconds 5",
    "json": "json --seconds 2.5",
    "flood": "flood --seconds 2.5",
    "each": "flood --each --seconds 2.5",
}


class Run:
    """What is measured, how often, and what came out: `results[proxy][load]` is a list with an item a round."""

    def __init__(self, bench: Bench, options: argparse.Namespace) -> None:
        self.bench = bench
        self.commands = LOADS_QUICK if options.quick else LOADS_FULL
        self.loads = options.loads
        self.rounds: int = options.rounds
        self.results: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.failures: list[str] = []

    def all(self, proxies: list[Proxy]) -> None:
        mock = self.bench.start_mock()
        servers = {}
        for proxy in proxies:
            self.results[proxy.name] = {}
            server = self.bring_up(proxy, mock)
            if server is not None:
                servers[proxy.name] = server
        for number in range(self.rounds):
            for load in self.loads:
                for proxy in proxies:
                    if load in proxy.loads and (load != "hold" or number == 0):  # memory: only while it is fresh
                        self.measure(proxy, load, mock, servers)

    def bring_up(self, proxy: Proxy, mock: Server) -> Server | None:
        if proxy.prepare is None:
            return None
        seconds = []
        try:
            for number in range(STARTS):
                server, took = self.bench.start(proxy, mock.port)
                seconds.append(took)
                if number < STARTS - 1:
                    server.stop()
            time.sleep(SETTLE_SECONDS)
            server.check()
            idle = rss_kib(tree(server.pid))
        except RunError as problem:
            self.fail(proxy, problem)
            return None
        self.results[proxy.name]["start"] = [{"seconds": median(seconds), "idle_kib": idle}]
        say(f"{proxy.name:>16} up after {median(seconds):.3f} s, {idle / 1024:.1f} MiB")
        return server

    def measure(self, proxy: Proxy, load: str, mock: Server, servers: dict[str, Server]) -> None:
        server = servers.get(proxy.name)
        if server is None and proxy.prepare is not None:
            return  # it failed before
        port = mock.port if server is None else server.port
        try:
            figures = self.bench.load(self.commands[load].split(), port, mock, server)
        except TimeUpError:
            raise
        except RunError as problem:
            servers.pop(proxy.name, None)
            if proxy.prepare is None:
                raise
            self.fail(proxy, problem)
            return
        self.results[proxy.name].setdefault(load, []).append(figures)
        say(f"{proxy.name:>16} {load:6} {report.brief(load, figures)}")

    def fail(self, proxy: Proxy, problem: RunError) -> None:
        self.failures.append(f"{proxy.name}: {problem}")
        say(f"\n*** {proxy.name} FAILED: {problem}\n")


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def options_from(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="see benchmarks/README.md")
    parser.add_argument("--quick", action="store_true", help="one round of short windows, under a minute")
    parser.add_argument("--rounds", type=int, help="default 3, quick 1; the table shows medians")
    parser.add_argument("--only", default="", help="rows to run, by name, comma-separated")
    parser.add_argument("--loads", default=",".join(LOADS), help="loads to run, comma-separated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs trioproxy")
    parser.add_argument("--against", type=Path, help="another checkout of trioproxy, measured beside this one")
    parser.add_argument("--patience", type=float, metavar="S", help="wait so long in all for a quiet machine")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round there")
    parser.add_argument("--profile", metavar="ROW:LOAD", help="run py-spy on one proxy under one load instead")
    parser.add_argument("--profile-out", type=Path, metavar="FILE", help="keep py-spy's raw stacks (for a flame graph)")
    parser.add_argument("--native", action="store_true", help="with --profile: show C functions too")
    parser.add_argument("--selftest", action="store_true", help="check that broken streams are noticed, then stop")
    options = parser.parse_args(arguments)
    if options.patience is None:
        options.patience = 0 if options.quick else PATIENCE
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.loads = options.loads.split(",")
    if unknown := set(options.loads) - set(LOADS):
        parser.error(f"no load {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}")
    return options


def choose(options: argparse.Namespace) -> list[Proxy]:
    proxies = rows(options.python, options.against)
    names = options.only.split(",") if options.only else [proxy.name for proxy in proxies]
    if unknown := set(names) - {proxy.name for proxy in proxies}:
        sys.exit(f"no row {', '.join(sorted(unknown))}; there are {', '.join(proxy.name for proxy in proxies)}")
    chosen = [proxy for proxy in proxies if proxy.name in names]
    for proxy in chosen:
        if proxy.missing:
            say(f"{proxy.name:>16} skipped: {proxy.missing}")
    return [proxy for proxy in chosen if not proxy.missing]


def main(arguments: list[str] | None = None) -> int:
    options = options_from(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the children are stopped then too
    allow_files(4096)
    proxies = choose(options)
    seconds = (QUICK_SECONDS if options.quick else FULL_SECONDS) * max(1, options.rounds / (1 if options.quick else 3))
    with Bench(seconds, options.patience) as bench:
        try:
            if options.selftest:
                return selftest.run(bench)
            if options.profile:
                return profiling.run(bench, proxies, options)
            run = Run(bench, options)
            try:
                run.all(proxies)
            except TimeUpError as problem:
                run.failures.append(str(problem))
        except RunError as problem:
            sys.exit(f"FAILED: {problem}")
    print(report.text(run.results, {proxy.name: proxy.what for proxy in proxies}, pinned=bench.cores.pinned))
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "results": run.results}, indent=1) + "\n")
    for failure in run.failures:
        say(f"FAILED: {failure.splitlines()[0]}")
    return 1 if run.failures else 0


def allow_files(count: int) -> None:
    """A proxy needs two sockets a stream; the children inherit the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(main())
