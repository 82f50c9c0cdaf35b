"""What the load test would see: a judge that finds nothing must be able to."""

from __future__ import annotations

from tests.proof.load.run import Outcome, Sent

ROTATIONS = {"second": 10.0, "third": 20.0}


def outcome(*requests: tuple[str, float, str | None], failures: tuple[str, ...] = ()) -> Outcome:
    """Of requests that took a tenth of a second each: name, when it began, the serial number that the server saw."""
    sent = [Sent(name, began, 0.1, "refused" if name in failures else None) for name, began, _ in requests]
    received = {name: serial_number for name, _, serial_number in requests if serial_number}
    return Outcome("any", sent, received, ROTATIONS)


def test_a_run_without_a_fault_has_none() -> None:
    found = outcome(("a", 9.9, "first"), ("b", 10.5, "first"), ("c", 10.9, "second"), ("d", 20.3, "third"))
    assert (found.failures, found.late) == ([], [])
    assert [round(found.pickup(it) or 0, 3) for it in ROTATIONS] == [0.9, 0.3]
    assert found.summary()["slowest_pickup_seconds"] == 0.9


def test_a_request_that_failed_or_that_the_server_never_saw_is_a_failure() -> None:
    found = outcome(("a", 1.0, "first"), ("b", 2.0, "first"), ("c", 3.0, None), failures=("b",))
    assert [it.name for it in found.failures] == ["b", "c"]


def test_an_older_certificate_after_an_answer_on_a_newer_is_late_but_not_beside_one() -> None:
    found = outcome(("a", 10.5, "second"), ("b", 10.55, "first"), ("c", 10.7, "first"), ("d", 10.8, "second"))
    assert [it.name for it in found.late] == ["c"]


def test_a_rotation_that_nobody_picked_up_is_seen() -> None:
    found = outcome(("a", 9.0, "first"), ("b", 12.0, "second"), ("c", 30.0, "second"))
    assert found.pickup("third") is None
    assert found.summary()["rotations_picked_up"] == 1
