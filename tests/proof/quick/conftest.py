"""The fixtures of the deployed stacks."""

from tests.e2e.conftest import built, end_to_end, gateway, partner, programs, shaky

__all__ = ["built", "end_to_end", "gateway", "partner", "programs", "shaky"]
