"""Whether a directory lies in memory: private keys are not to touch a disk."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
SWAPS = Path("/proc/swaps")
IN_MEMORY = frozenset({"tmpfs", "ramfs"})
EXPECTED = f"one in memory ({', '.join(sorted(IN_MEMORY))}), so that the key touches no disk"


def file_system(directory: Path, mounts: Path = MOUNTS) -> str:
    """The type of the file system that a directory is on, or would be on if it does not exist yet.

    It is looked up by the device number, which a bind mount or a symbolic link does not hide: proc_pid_mountinfo(5).

    Returns:
        Such as `tmpfs` or `ext4`; `unknown` where the kernel lists no such device.
    """
    existing = directory.absolute()
    while not existing.exists():
        existing = existing.parent
    return of_device(existing.stat().st_dev, mounts)


def of_device(device: int, mounts: Path = MOUNTS) -> str:
    """The type of the file system with this device number. See `file_system`."""
    number = f"{os.major(device)}:{os.minor(device)}"
    # The path of a mount may be any bytes.
    for line in mounts.read_text("utf-8", "surrogateescape").splitlines():
        # 36 35 98:0 /root /mount/point options [optional fields] - type source options
        before, _, after = line.partition(" - ")
        if before.split(" ")[2] == number:
            return after.split(" ")[0]
    return "unknown"


def swap_is_on(swaps: Path = SWAPS) -> bool:
    """Whether the kernel may write memory to a disk: tmpfs can be swapped out, ramfs cannot."""
    return swaps.exists() and len(swaps.read_bytes().splitlines()) > 1
