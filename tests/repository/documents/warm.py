"""Commands that start at once: a program is imported once, and forked for each call. Standard library only.

The AWS CLI takes a second of processor time to start, and the documents call it some two hundred times. Any Python that
has the program runs the server; the callers need no more than a socket.

    python warm.py serve SOCKET MODULE     # until it is told to end; MODULE (or FILE.py) has main()
    python warm.py call SOCKET ARGUMENT...
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import os
import signal
import socket
import sys
import traceback
from typing import Any

_LARGEST = 1 << 20


def serve(path: str, name: str) -> None:
    """Import the module, and run its main() in a fork for each caller, with its files, folder and variables."""
    module: Any = _imported(name)
    if hasattr(module, "create_clidriver"):  # main() makes the driver anew each time, which is a third of the cost
        module.create_clidriver = functools.cache(module.create_clidriver)
        module.create_clidriver()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks: they tell their callers themselves
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(16)
        while True:
            caller, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _answer(caller, module)
            caller.close()


def _imported(name: str) -> Any:
    if not name.endswith(".py"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location("warm_program", name)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _answer(caller: socket.socket, module: Any) -> None:
    """Run one call to its end, and this process with it."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        message, descriptors, _, _ = socket.recv_fds(caller, _LARGEST, 3)
        call = json.loads(message)
        for target, descriptor in enumerate(descriptors):
            os.dup2(descriptor, target)
        # Made anew, as the interpreter would have made them for the caller's files.
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
        os.chdir(call["folder"])
        os.environ.update(call["environment"])  # over what the import set, by which the AWS CLI finds its data
        sys.argv[:] = call["arguments"]
        status = module.main() or 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except Exception:  # noqa: BLE001 - as the interpreter would end with it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        caller.send(str(status).encode())
        os._exit(0)


def call(path: str, *arguments: str) -> int:
    """Have the server run the program with these arguments, and return its exit status."""
    message = {"arguments": ["warm", *arguments], "folder": os.getcwd(), "environment": dict(os.environ)}  # noqa: PTH109
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(path)
        socket.send_fds(server, [json.dumps(message).encode()], [0, 1, 2])
        return int(server.recv(16) or b"1")


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    if verb == "serve":
        serve(*rest)
    sys.exit(call(*rest))
