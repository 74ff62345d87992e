"""Groups of forked processes that run a fit.

The parent (pytest) has imported everything once, so a child starts in a few milliseconds. Each group of children is a
process group of its own, as srun or torchrun would start it: one process a rank, with the ranks' environment variables.
"""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path


class Forked:
    """A group of processes that call `work()`, one for each rank; `log(rank)` is what a rank has written."""

    def __init__(self, work, folder, world_size=1):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.pids = []
        self.codes = {}  # of the ranks that have ended: exit codes, negative for signals
        port = _free_port()
        for rank in range(world_size):
            pid = os.fork()
            if pid == 0:
                self._run(work, rank, world_size, port)
            self.pids.append(pid)
            os.setpgid(pid, self.pids[0])

    def _run(self, work, rank, world_size, port):
        code = 1
        try:
            os.setpgid(0, self.pids[0] if self.pids else 0)
            sys.stdout = sys.stderr = (self.folder / f"rank-{rank}.log").open("a", buffering=1)
            for descriptor in (1, 2):
                os.dup2(sys.stderr.fileno(), descriptor)
            logging.basicConfig(stream=sys.stderr, format="%(message)s", force=True)
            if world_size > 1:  # as torchrun sets them
                ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world_size, "MASTER_PORT": port}
                ranks |= {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "LOCAL_WORLD_SIZE": world_size}
                os.environ |= {name: str(value) for name, value in ranks.items()}
            work()
            code = 0
        except SystemExit as stop:
            code = stop.code
        except BaseException:  # noqa: BLE001 - the process ends here
            traceback.print_exc()
        finally:
            os._exit(code)

    def running(self):
        """Returns whether any rank has not ended."""
        for rank, pid in enumerate(self.pids):
            if rank not in self.codes:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    self.codes[rank] = os.waitstatus_to_exitcode(status)
        return len(self.codes) < len(self.pids)

    def wait(self, seconds):
        """Returns the exit codes of all ranks; whoever has not ended after `seconds` is killed."""
        end = time.monotonic() + seconds
        while self.running() and time.monotonic() < end:
            time.sleep(0.01)
        self.kill()
        return [self.codes[rank] for rank in range(len(self.pids))]

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):  # all have ended
            os.killpg(self.pids[0], number)

    def kill(self):
        """Kills the whole group, loader processes too, and waits for its end."""
        if len(self.codes) < len(self.pids):
            self.signal(signal.SIGKILL)
        while self.running():
            time.sleep(0.001)

    def kill_rank(self, rank):
        if rank not in self.codes:
            os.kill(self.pids[rank], signal.SIGKILL)

    def stop(self):
        """Stops all ranks where they are, and waits until they are."""
        self.signal(signal.SIGSTOP)
        for rank, pid in enumerate(self.pids):
            if rank not in self.codes:
                _, status = os.waitpid(pid, os.WUNTRACED)
                if not os.WIFSTOPPED(status):
                    self.codes[rank] = os.waitstatus_to_exitcode(status)

    def log(self, rank=0):
        return (self.folder / f"rank-{rank}.log").read_text()


def _free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]
