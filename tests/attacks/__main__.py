"""All attacks, each by itself and all at once, as rows of Markdown.

python -m tests.attacks 4               for so many seconds each; minutes
python -m tests.attacks 4 small idle    only these attacks
python -m tests.attacks 4 --peers       also on nginx + memcached and on Redis, with their defaults
"""

import sys
import tempfile
from pathlib import Path

from tests.attacks.attacks import ATTACKS
from tests.attacks.beside import Outcome, anonymous, beside
from tests.attacks.peers import NOT_FOR, PEERS


def row(peer: str, attack: str, outcome: Outcome, start: dict[str, int]) -> str:
    memory = ", ".join(f"{process} {start[process] >> 20} → {most >> 20}" for process, most in outcome.memory.items())
    failures = f"{outcome.failures} of {outcome.requests}"
    return f"| {attack} | {peer} | {failures} | {outcome.p50:.1f} | {outcome.p99:.1f} | {memory} |"


def attacked(peer: str, attacks: list[str], seconds: float) -> tuple[Outcome, dict[str, int]]:
    """The outcome, and what the peer's processes had taken before."""
    with tempfile.TemporaryDirectory() as folder, PEERS[peer](Path(folder)) as target:
        before = {name: anonymous(pids) for name, pids in target.processes.items()}
        return beside(target, attacks, seconds), before


def main(seconds: float, names: list[str], peers: list[str]) -> None:
    sys.stdout.write("| attack | on | failures | p50 ms | p99 ms | memory, MiB |\n|---|---|---|---|---|---|\n")
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
