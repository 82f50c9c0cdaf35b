"""The fixtures of `tests.kit.fixtures`, for every test below."""

from tests.kit.fixtures import _server, ca, clients, empty_stack, server, stack

__all__ = ["_server", "ca", "clients", "empty_stack", "server", "stack"]
