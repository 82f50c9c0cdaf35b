"""The order of a package's rooms: a room imports only from lower floors. Rooms on one floor do not know each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.repository.imports import Import

TABLE = "HOUSES of tests/repository/test_rooms.py"


@dataclass(frozen=True)
class House:
    """A package, and the floors of its rooms from the ground up.

    A room is a folder, with all that is in it, or a module that lies in none. `__init__` is the package's own.
    """

    package: str
    floors: Sequence[frozenset[str]]

    def room(self, module: str) -> str:
        """Return the room that a module is in."""
        return [*module.split("."), "__init__"][1]

    def floor(self, room: str) -> int:
        """Return the number of a room's floor.

        Raises:
            LookupError: the room is in no floor.
        """
        for number, rooms in enumerate(self.floors):
            if room in rooms:
                return number
        raise LookupError(self._without_floor(room))

    def misplaced(self, modules: Iterable[str]) -> list[str]:
        """Return what is wrong with the table: rooms without a floor, with two of them, or that are not there."""
        rooms = {self.room(module) for module in modules}
        placed = [room for floor in self.floors for room in floor]
        return [
            *(self._without_floor(room) for room in rooms - {*placed}),
            *(f"{self.package}/{room} is not there: take it out of {TABLE}" for room in {*placed} - rooms),
            *(
                f"{self.package}/{room} has two floors: leave it one in {TABLE}"
                for room in sorted({*placed})
                if placed.count(room) > 1
            ),
        ]

    def _without_floor(self, room: str) -> str:
        return f"{self.package}/{room} has no floor: give it one in {TABLE}"

    def violations(self, imports: Iterable[Import]) -> Iterator[str]:
        """Yield every import from above or from beside."""
        for it in imports:
            if it.imported.split(".")[0] != self.package:
                continue
            own, other = self.room(it.importer), self.room(it.imported)
            if own != other and self.floor(other) >= self.floor(own):
                where = "beside" if self.floor(other) == self.floor(own) else "above"
                yield f"{it}: {other} lies {where} {own}"
