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

from benchmarks import peers, profiling, report, selftest
from benchmarks.figures import Results
from benchmarks.proc import rss_kib, tree
from benchmarks.processes import Bench, RunError, Server, TimeUpError, TooSlowRunError, settle
from benchmarks.proxies import LOADS, Proxy, rows

# After these seconds a run is cut short, for each row and round; peers take their time to start.
QUICK_SECONDS, FULL_SECONDS, PEER_SECONDS = 13.0, 27.0, 45.0
PATIENCE = 60.0
SETTLE_SECONDS = 0.3  # a port is open before the workers behind it are

LOADS_QUICK = {
    "hold": "hold --connections 200 --rate 10 --seconds 2",
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
        self.results: Results = {}
        self.failures: list[str] = []
        self.notes: list[str] = []  # what peers did not stand, which is no failure of ours

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
            for number in range(proxy.starts):
                server, took = self.bench.start(proxy, mock.port)
                seconds.append(took)
                if number < proxy.starts - 1:
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
            figures = self.bench.load([*self.commands[load].split(), *proxy.asks], port, mock, server)
        except TimeUpError:
            raise
        except RunError as problem:
            if proxy.prepare is None:
                raise
            self.fail(proxy, problem)
            if server is not None and (proxy.peer or isinstance(problem, TooSlowRunError)) and server.runs:
                settle(server)
            else:
                servers.pop(proxy.name, None)
            return
        if figures.get("unfinished") and server is not None:
            settle(server)
        self.results[proxy.name].setdefault(load, []).append(figures)
        say(f"{proxy.name:>16} {load:6} {report.brief(load, figures)}")

    def fail(self, proxy: Proxy, problem: RunError) -> None:
        if proxy.peer:
            self.notes.append(f"{proxy.name}: {problem}")
            say(f"{proxy.name:>16} gave no figure: {str(problem).splitlines()[0][:300]}")
        else:
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
    parser.add_argument("--ccr", type=Path, metavar="DIR", help="the npm prefix that has claude-code-router")
    parser.add_argument("--litellm", type=Path, metavar="DIR", help="the virtual environment that has LiteLLM")
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
    options.ccr = peers.option(options.ccr, "TRIOPROXY_BENCH_CCR")
    options.litellm = peers.option(options.litellm, "TRIOPROXY_BENCH_LITELLM")
    if unknown := set(options.loads) - set(LOADS):
        parser.error(f"no load {', '.join(sorted(unknown))}; there are {', '.join(LOADS)}")
    return options


def choose(options: argparse.Namespace) -> list[Proxy]:
    proxies = [*rows(options.python, options.against), *peers.rows(options.ccr, options.litellm)]
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
    seconds = (QUICK_SECONDS if options.quick else FULL_SECONDS) * options.rounds * max(4, len(proxies))
    seconds += options.patience + PEER_SECONDS * sum(proxy.peer for proxy in proxies)
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
    print(report.text(run.results, {proxy.name: proxy for proxy in proxies}, pinned=bench.cores.pinned))
    if options.json:
        options.json.write_text(json.dumps({"cores": os.cpu_count(), "results": run.results}, indent=1) + "\n")
    for note in run.notes:
        say(f"NOTE: {note.splitlines()[0][:300]}")
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
