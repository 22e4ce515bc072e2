"""Does the load notice a broken stream? Ask the mock for broken ones, directly, and expect every run to fail."""

from __future__ import annotations

from benchmarks.processes import Bench, RunError

BROKEN = {
    "two events swapped": "flood --behaviour swapped",
    "the last event missing": "flood --behaviour cut",
    "one event twice": "flood --behaviour doubled",
    "paced events swapped": "paced --behaviour paced-swapped",
}
SOUND = {"flood": "flood", "flood, a chunk an event": "flood --each", "json": "json", "paced": "paced"}


def run(bench: Bench) -> int:
    mock = bench.start_mock()
    failed = False
    for cases, broken in ((SOUND, False), (BROKEN, True)):
        for what, arguments in cases.items():
            try:
                bench.load([*arguments.split(), "--seconds", "0.3", "--connections", "4"], mock.port, mock, None)
                noticed = False
            except RunError as problem:
                noticed = "expected" in str(problem)
            failed |= noticed is not broken
            verdict = "noticed" if noticed else "passed"
            print(f"{what:28} {verdict:8} {'ok' if noticed is broken else 'WRONG'}")
    return int(failed)
