"""Whose hands are in a stack, and what they do to it: the rules of its histories, a module for each ground.

Each module has one class of rules; `tests.proof.parts.histories.History` joins them all. A new kind of act is one more
method under `@rule`, and what must hold through it is said in `tests.proof.world`.
"""
