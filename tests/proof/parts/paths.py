"""Whether a server would accept a chain: we against OpenSSL and GnuTLS, over chains of every shape.

    python -m tests.proof.parts.paths --seed SEED [--count COUNT | --number NUMBER]

plays the chains of one seed again, or shows one of them.
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice, permutations
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mtls_rotation.pki.certificates import to_pem
from mtls_rotation.pki.servers import Servers
from tests.kit.builders import NOW
from tests.proof import Outcome
from tests.proof.paths import drawn, gnutls, openssl
from tests.proof.paths.differences import DIFFERENCES, GNUTLS, OPENSSL, STRICT, decided

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509

    from tests.proof.paths.drawn import Case

COUNT = 4000
# So many are put to the command, too, which takes fifty times as long as the library.
BY_COMMAND = 40
_NOT_JUDGED = "GnuTLS has not judged: there is no libgnutls on this machine (Debian's package libgnutls30)."


@dataclass
class Tally:
    """What came of the chains so far."""

    accepted: int = 0
    refused: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    differences: Counter[str] = field(default_factory=Counter)
    oddities: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def run(count: int = COUNT, seeds: tuple[int | str, ...] = (1, ""), *, by_command: int = BY_COMMAND) -> Outcome:
    """Judge so many chains of each seed; where one is empty, of a new one."""
    tally = Tally()
    for seed in [it or secrets.randbelow(1 << 32) for it in seeds]:
        for number in range(count):
            try_one(seed, number, tally, by_command=number < by_command)
    notes = [f"{openssl.version()}, with -purpose sslclient, at security level 2."]
    if version := gnutls.version():
        notes.append(f"{version}, as a server that wants clientAuth.")
    else:
        notes.append(_NOT_JUDGED)
    unmet = [it.what for it in DIFFERENCES if not tally.differences[it.what]]
    return Outcome(
        counts={
            "chains": tally.accepted + tally.refused,
            "accepted": tally.accepted,
            "refused": tally.refused,
            "kinds_of_oddities": len(tally.oddities),
            "judged": {judge: tally.judged[judge] or "not judged" for judge in (OPENSSL, STRICT, GNUTLS)},
            "differences": sum(tally.differences.values()),
            "kinds_of_differences": len(DIFFERENCES) - len(unmet),
        },
        failures=tally.failures,
        notes=notes + [f"no chain showed the difference: {it}" for it in unmet],
    )


def case(seed: int | str, number: int) -> Case:
    """The chain of this number."""
    return drawn.draw(Random(f"{seed}/{number}"))  # noqa: S311 - nothing secret comes of it


def try_one(seed: int | str, number: int, tally: Tally, *, by_command: bool) -> None:
    """Judge one chain, and count it."""
    it = case(seed, number)
    tally.oddities.update(it.oddities)
    ours = "; ".join(Servers(it.trusted, NOW).refusals(it.leaf, it.sent))
    tally.accepted += not ours
    tally.refused += bool(ours)
    for judge, theirs in verdicts(it, accepted=not ours):
        tally.judged[judge] += 1
        if bool(theirs) is bool(ours):
            continue
        difference = decided(judge, theirs or ours, it.oddities, accepted=not ours)
        if difference:
            tally.differences[difference.what] += 1
            continue
        said = f"we accept it, {judge} says: {theirs}" if theirs else f"{judge} accepts it, we say: {ours}"
        tally.failures.append(f"seed {seed}, chain {number} ({', '.join(sorted(it.oddities))}): {said}")
    if by_command and bool(command(it)) is not bool(openssl.refusal(it.leaf, it.sent, it.trusted, strict=True)):
        tally.failures.append(f"seed {seed}, chain {number}: `openssl verify` and its library differ: {command(it)}")


def verdicts(it: Case, *, accepted: bool) -> Iterator[tuple[str, str]]:
    """What the others say. Where we accept it OpenSSL must in every order; where we do not, in one it refuses."""
    for judge, strict in ((OPENSSL, False), (STRICT, True)):
        orders = _orders(it)
        said = (openssl.refusal(it.leaf, sent, trusted, strict=strict) for sent, trusted in orders)
        yield judge, next((text for text in (islice(said, 3) if accepted else said) if text), "")
    if gnutls.version():
        trusted_orders = (it.trusted, it.trusted[::-1]) if accepted else (it.trusted,)
        said = (gnutls.refusal(it.leaf, it.sent, trusted) for trusted in trusted_orders)
        yield GNUTLS, next(filter(None, said), "")


def _orders(it: Case) -> Iterator[tuple[tuple[x509.Certificate, ...], tuple[x509.Certificate, ...]]]:
    """The order in which it was drawn, and the others."""
    yield it.sent, it.trusted
    yield it.sent[::-1], it.trusted[::-1]
    yield it.sent, it.trusted[::-1]
    for trusted in islice(permutations(it.trusted), 120):
        for sent in islice(permutations(it.sent), 6):
            yield sent, trusted


def command(it: Case) -> str:
    """What `openssl verify` says; empty if it accepts the chain."""
    with tempfile.TemporaryDirectory() as folder:
        for name, certificates in {"leaf": (it.leaf,), "sent": it.sent, "trusted": it.trusted}.items():
            Path(folder, f"{name}.pem").write_text(to_pem(*certificates))
        options = ["-x509_strict", "-purpose", "sslclient", "-auth_level", "2", "-no-CApath", "-no-CAstore"]
        options += ["-CAfile", "trusted.pem"] if it.trusted else ["-no-CAfile"]
        options += ["-untrusted", "sent.pem"] if it.sent else []
        ended = subprocess.run(
            ["openssl", "verify", *options, "leaf.pem"], cwd=folder, capture_output=True, text=True, check=False
        )
        return "" if ended.returncode == 0 else ended.stderr.strip() or ended.stdout.strip()


def main() -> int:
    """Play a seed again."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.parts.paths", description=__doc__)
    parser.add_argument("--seed", default="")
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--number", type=int)
    arguments = parser.parse_args()
    if arguments.number is not None:
        it = case(arguments.seed, arguments.number)
        print(f"oddities: {', '.join(sorted(it.oddities))}")
        print(f"ours: {Servers(it.trusted, NOW).refusals(it.leaf, it.sent)}")
        for judge, said in verdicts(it, accepted=True):
            print(f"{judge}: {said or 'accepted'}")
        for name, certificates in {"leaf": (it.leaf,), "sent": it.sent, "trusted": it.trusted}.items():
            print(f"# {name}\n{to_pem(*certificates)}", end="")
        return 0
    outcome = run(arguments.count, (arguments.seed,))
    print(*outcome.failures, outcome.counts, *outcome.notes, sep="\n")
    return int(bool(outcome.failures))


if __name__ == "__main__":
    sys.exit(main())
