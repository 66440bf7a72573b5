"""When processes were gone.

Who is killed is there until the kernel has ended each of its threads. One that waits for the disk
is ended once that has answered, and may write until then: nobody may take it for dead before.
"""

from __future__ import annotations

import os
import select
import threading

from work import boot_ns


class Gone:
    """Looks at the ends of processes, by a thread that does nothing else."""

    def __init__(self) -> None:
        self.times: dict[str, int] = {}
        """By name, in nanoseconds of the boot clock."""
        self.names: dict[int, str] = {}
        self.epoll = select.epoll()
        self.over = os.eventfd(0, os.EFD_CLOEXEC)
        self.epoll.register(self.over, select.EPOLLIN)
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def watch(self, pid: int, name: str) -> None:
        """From its start on, before anybody has waited for it."""
        descriptor = os.pidfd_open(pid)
        self.names[descriptor] = name
        self.epoll.register(descriptor, select.EPOLLIN)

    def look(self) -> None:
        while True:
            for descriptor, _ in self.epoll.poll():
                if descriptor == self.over:
                    return
                self.times[self.names.pop(descriptor)] = boot_ns()
                # A process that is being started has a copy: closing alone would not take it out.
                self.epoll.unregister(descriptor)
                os.close(descriptor)

    def end(self) -> None:
        os.eventfd_write(self.over, 1)
        self.thread.join()
        for descriptor in [self.over, *self.names]:
            os.close(descriptor)
        self.names.clear()
        self.epoll.close()
