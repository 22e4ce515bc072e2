"""Does the load notice a broken stream? Ask the mock for broken ones, directly, and expect every run to fail.

Once as the rows of one dialect are checked, byte for byte, and once for each dialect as those that translate are.
"""

from __future__ import annotations

from benchmarks.processes import Bench, RunError

BROKEN = {
    "two events swapped": "flood --behaviour swapped",
    "the last event missing": "flood --behaviour cut",
    "one event twice": "flood --behaviour doubled",
    "the end twice": "flood --behaviour ended",
    "paced events swapped": "paced --behaviour paced-swapped",
}
BROKEN_AGAIN = {  # where what ends a text says it again, and every event has its number
    "another text at the end": "flood --behaviour retold",
    "a number left out": "flood --behaviour misnumbered",
}
SOUND = {"flood": "flood", "flood, a chunk an event": "flood --each", "json": "json", "paced": "paced"}
WAYS = {
    "exact": "--client anthropic",
    "loose": "--client anthropic --loosely",
    "chat": "--client openai-chat",
    "responses": "--client openai-responses",
}


def run(bench: Bench) -> int:
    mock = bench.start_mock()
    failed = False
    for way, how in WAYS.items():
        noticeable = BROKEN | (BROKEN_AGAIN if way == "responses" else {})
        cases = [(case, False) for case in SOUND.items()] + [(case, True) for case in noticeable.items()]
        for (what, scenario), broken in cases:
            arguments = [*scenario.split(), *how.split(), "--seconds", "0.3", "--connections", "4"]
            try:
                bench.load(arguments, mock.port, mock, None)
                noticed = False
            except RunError as problem:
                noticed = "expected" in str(problem)
            failed |= noticed is not broken
            verdict = "noticed" if noticed else "passed"
            print(f"{way:9} {what:28} {verdict:8} {'ok' if noticed is broken else 'WRONG'}")
    return int(failed)
