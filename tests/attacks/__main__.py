"""All attacks, each by itself and all at once, as rows of Markdown.

python -m tests.attacks 10              for so many seconds each; minutes
python -m tests.attacks 10 small idle   only these attacks
python -m tests.attacks 10 --peers      also on nginx + memcached and on Redis, with their defaults
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.attacks.attacks import ATTACKS
from tests.attacks.beside import Outcome, anonymous, beside
from tests.attacks.peers import NOT_FOR, PEERS

TRIES: Final = 3
DISTURBED: Final = 20.0
"""A run in which the machine's host took more milliseconds of its processors is made again, so often at most."""

HEAD: Final = """\
| attack | on | failures | p50 ms | p99 ms | longest ms | stolen ms | memory, MiB |
|---|---|---|---|---|---|---|---|
"""


def row(peer: str, attack: str, outcome: Outcome, start: dict[str, int]) -> str:
    memory = ", ".join(f"{process} {start[process] >> 20} → {most >> 20}" for process, most in outcome.memory.items())
    failures = f"{outcome.failures} of {outcome.requests}"
    times = f"{outcome.p50:.1f} | {outcome.p99:.1f} | {outcome.longest:.0f} | {outcome.stolen:.0f}"
    return f"| {attack} | {peer} | {failures} | {times} | {memory} |"


def attacked(peer: str, attacks: list[str], seconds: float) -> tuple[Outcome, dict[str, int]]:
    """The outcome of a run that the host did not disturb, or of the last try, and what processes had taken before."""
    for _ in range(TRIES):
        found = run(peer, attacks, seconds)
        if found[0].stolen <= DISTURBED:
            break
    return found


def run(peer: str, attacks: list[str], seconds: float) -> tuple[Outcome, dict[str, int]]:
    with tempfile.TemporaryDirectory() as folder, PEERS[peer](Path(folder)) as target:
        before = {name: anonymous(pids) for name, pids in target.processes.items()}
        return beside(target, attacks, seconds), before


def main(seconds: float, names: list[str], peers: list[str]) -> None:
    sys.stdout.write(HEAD)
    for name in names:
        for peer in peers:
            attacks = [attack for attack in ATTACKS if name in {attack, "all at once"}]
            attacks = [attack for attack in attacks if attack not in NOT_FOR.get(peer, ())]
            if attacks:
                sys.stdout.write(row(peer, name, *attacked(peer, attacks, seconds)) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    named = [name for name in sys.argv[2:] if name != "--peers"]
    main(float(sys.argv[1]), named or [*ATTACKS, "all at once"], list(PEERS) if "--peers" in sys.argv else ["ringkv"])
