"""The path from a certificate up to a root, among whatever CA certificates are at hand. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from typing import TYPE_CHECKING

from mtls_rotation.pki.servers import MAX_CHAIN_LENGTH, Servers
from mtls_rotation.pki.signatures import comparable, signed_with_key_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from cryptography import x509

# So many paths are looked at. Of CAs that are at hand for a client, there are a handful.
_MOST_PATHS = 300


@dataclass(frozen=True, slots=True)
class Path:
    """The way up from a leaf, which is left out.

    Attributes:
        chain: the intermediates, in order.
        anchor: the topmost CA.
    """

    chain: tuple[x509.Certificate, ...]
    anchor: x509.Certificate


def find_path(leaf: x509.Certificate, candidates: Iterable[x509.Certificate], now: datetime) -> Path | None:
    """The path upwards through CA certificates that come in any order, with others among them; None if there is none.

    Of all paths up to a root, one that servers accept comes first, of those the one that holds longest, and of those
    the shortest. Where no root is at hand, it ends as high up as it goes, by the shortest way.
    """
    at_hand = _Candidates(leaf, candidates)
    roots = [it for it in at_hand.reached if at_hand.is_root(it)]
    if not roots:
        return _whole(at_hand.farthest())
    first: tuple[x509.Certificate, ...] | None = None
    for path in at_hand.paths_to_roots():
        *chain, anchor = path
        if not Servers([anchor], now).refusals_of_path(leaf, chain):
            return _whole(path)
        first = first or path
    return _whole(first or at_hand.way_to(roots[0]))


def _whole(path: tuple[x509.Certificate, ...]) -> Path | None:
    return Path(path[:-1], path[-1]) if path else None


class _Candidates:
    """The certificates at hand, and which of them have signed which."""

    def __init__(self, leaf: x509.Certificate, certificates: Iterable[x509.Certificate]) -> None:
        self._leaf = leaf
        self._named: dict[tuple[bytes, ...], list[x509.Certificate]] = {}
        for it in dict.fromkeys(certificates):
            if it != leaf:
                self._named.setdefault(comparable(it.subject), []).append(it)
        self._issuers: dict[x509.Certificate, tuple[x509.Certificate, ...]] = {}
        # Each that can be reached, with the one below it on the shortest way to it.
        self.reached: dict[x509.Certificate, x509.Certificate] = {}
        level = [leaf]
        while level:
            last, level = level, []
            for it in last:
                above = [issuer for issuer in self._issuers_of(it) if issuer not in self.reached]
                self.reached |= dict.fromkeys(above, it)
                level += above

    def is_root(self, it: x509.Certificate) -> bool:
        return it in self._signers_of(it)

    def way_to(self, top: x509.Certificate) -> tuple[x509.Certificate, ...]:
        """The shortest."""
        path = [top]
        while (below := self.reached[path[-1]]) != self._leaf:
            path.append(below)
        return tuple(reversed(path))

    def farthest(self) -> tuple[x509.Certificate, ...]:
        """The way to where no other leads on: the nearest such; or, where they have signed each other, the last."""
        if not self.reached:
            return ()
        tops = [it for it in self.reached if not self._issuers_of(it)]
        return self.way_to(tops[0] if tops else list(self.reached)[-1])

    def paths_to_roots(self) -> Iterable[tuple[x509.Certificate, ...]]:
        """Those of as many CAs as servers take, the longest lasting first, a shorter one before a longer.

        Going up never makes a path last longer. So what is begun is gone on with in this very order, and what comes to
        a root first is the best.
        """
        ends = self._leaf.not_valid_after_utc
        queue: list[tuple[tuple[float, int, float, int], tuple[x509.Certificate, ...]]] = []
        number = 0

        def begin(path: tuple[x509.Certificate, ...]) -> None:
            nonlocal number
            number += 1
            lasts = min((it.not_valid_after_utc for it in path), default=ends)
            # Beyond the leaf's own end it matters less than a short path does.
            heappush(queue, ((-min(lasts, ends).timestamp(), len(path), -lasts.timestamp(), number), path))

        begin(())
        leading = self._leading_to_roots()
        while queue and number <= _MOST_PATHS:
            _, path = heappop(queue)
            if path and self.is_root(path[-1]):
                yield path
            elif len(path) < MAX_CHAIN_LENGTH:
                for it in self._issuers_of(path[-1] if path else self._leaf):
                    if it in leading and it not in path:
                        begin((*path, it))

    def _leading_to_roots(self) -> set[x509.Certificate]:
        found = {it for it in self.reached if self.is_root(it)}
        more = True
        while more:
            below = {it for it in self.reached if it not in found and not found.isdisjoint(self._issuers_of(it))}
            more = bool(below)
            found |= below
        return found

    def _issuers_of(self, it: x509.Certificate) -> tuple[x509.Certificate, ...]:
        """Those that have signed it. Above a root there is none, whoever else has its key and name."""
        signers = self._signers_of(it)
        return () if it in signers else signers

    def _signers_of(self, it: x509.Certificate) -> tuple[x509.Certificate, ...]:
        if it not in self._issuers:
            named = self._named.get(comparable(it.issuer), ())
            self._issuers[it] = tuple(other for other in named if signed_with_key_of(it, other))
        return self._issuers[it]
