"""What is granted and cannot be used here: each with why, and the test that proves the need in another way."""

from __future__ import annotations

from dataclasses import dataclass

from tests.proof.least_privilege.granted import Grant


@dataclass(frozen=True)
class Elsewhere:
    """Grants that the local AWS cannot see used.

    Attributes:
        sid: the statement.
        service: the service of its actions.
        why: what is missing here.
        test: what holds the need instead.
    """

    sid: str
    service: str
    why: str
    test: str

    def covers(self, grant: Grant) -> bool:
        """Whether it is about this grant."""
        return grant.sid == self.sid and grant.action.startswith(f"{self.service}:")


ELSEWHERE = (
    Elsewhere(
        sid="SayThatTheBucketKeepsNoVersions",
        service="s3",
        why="setSecret asks once all of its fourteen minutes are over, which no life here lasts for",
        test="tests/unit/truststore/test_losses.py::test_a_rotation_of_the_ca_says_that_it_waits_for_versions",
    ),
    Elsewhere(
        sid="IssueFromThePrivateCa",
        service="acm-pca",
        why="the local AWS has no Private CA",
        test="tests/unit/proof/test_least_privilege.py::"
        "test_each_action_on_a_private_ca_is_one_that_issuing_calls_on_that_ca_and_no_other",
    ),
)
