"""Several processes that play one game: each its share of every batch, all with the same weights.

Nothing is wrapped: before an update the mover's gradients are averaged in one exchange, so every process makes the same
update. torchrun starts the processes, on one machine or several, or `helped` does, on this one.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

# Imported once a group exists, as optimizers would, it keeps that group alive as a default argument: the group's threads would
# still run when Python ends, which aborts the process.
import torch.distributed.nn.functional
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore, rendezvous  # type: ignore[attr-defined]

from elegan import errors
from elegan.errors import EleganError, RunError

T = TypeVar("T")

TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
"""What torchrun says to each process that it starts."""

PATIENCE = timedelta(hours=1)
"""How long a process waits for another: longer than one alone prepares data, measures or saves. A process that ended is
noticed at once; this is for one that hangs."""

MEETINGS = itertools.count()
"""Each training of a program that torchrun started has a number of its own, the same in all processes, to meet under."""


class LostError(RunError):
    """Another process does not answer."""


@dataclass(frozen=True)
class Processes:
    """This process, `rank`, among `count` in all; on its machine it is `local_rank` of `local_count`."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that decides, writes and speaks."""
        return self.rank == 0

    def part(self, batch: int) -> range:
        """Which samples of a batch are this process's."""
        size = batch // self.count
        return range(self.rank * size, (self.rank + 1) * size)

    def device(self, device: torch.device) -> torch.device:
        """A GPU of its own for each of several processes; any other device as it is."""
        return torch.device("cuda", self.local_rank) if device.type == "cuda" and self.count > 1 else device

    def threads(self) -> int:
        """This machine's threads, shared out. Those that torchrun starts count the cores: it lets each see one thread only."""
        if self.local_count == 1:
            return torch.get_num_threads()
        return max(1, (num_cores() if of_torchrun() else torch.get_num_threads()) // self.local_count)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each tensor its mean over all processes: laid end to end, summed in one exchange, divided, copied back."""
        if self.count == 1:
            return
        laid = [as_in_memory(tensor.detach()) for tensor in tensors]
        flat = torch.cat([tensor.flatten() for tensor in laid])
        sent = flat if flat.is_cuda else flat.cpu()
        with in_touch():
            dist.all_reduce(sent)
        parts = torch.split(sent.to(flat.device).div_(self.count), [tensor.numel() for tensor in laid])
        torch._foreach_copy_(laid, [part.view(tensor.shape) for part, tensor in zip(parts, laid, strict=True)])

    def tell(self, value: T, source: int = 0) -> T:
        """What `source` gives, in every process. It travels as JSON, which runs no code where it arrives."""
        if self.count == 1:
            return value
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        length = torch.tensor(len(content))
        with in_touch():
            dist.broadcast(length, source)
            content = content if self.rank == source else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(content, source)
        told: T = json.loads(content.numpy().tobytes())
        return told

    def wait(self) -> None:
        """Until all processes are here."""
        self.average([torch.zeros(1)])

    @contextmanager
    def together(self) -> Iterator[None]:
        """An error of one is an error of all when the block ends, so that nobody waits for a process that has ended."""
        if self.count == 1:
            yield
            return
        caught: EleganError | None = None
        try:
            yield
        except EleganError as error:
            caught = error
        failed = torch.zeros(self.count)
        failed[self.rank] = caught is not None
        self.average([failed])
        if failed.any():
            source = int(failed.nonzero()[0])
            kind, said = self.tell([type(caught).__name__, self.signed(str(caught))], source)
            raise getattr(errors, kind, RunError)(said) from caught

    def signed(self, text: str) -> str:
        """`text`, with who says it, where it is not the first process, which speaks for all."""
        return text if self.first else f"process {self.rank + 1} of {self.count}: {text}"

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """The first process of each machine goes first: what it prepares, the others find."""
        if self.local_rank:
            self.wait()
        try:
            yield
        finally:
            if not self.local_rank:
                self.wait()


ALONE = Processes()


def as_in_memory(tensor: Tensor) -> Tensor:
    """`tensor` with its dimensions in the order in which they lie in memory, where it can be copied in one go: with channels
    last four times as fast. The same in all processes, because a gradient lies as its weight does."""
    return tensor.permute(sorted(range(tensor.dim()), key=tensor.stride, reverse=True))


def of_torchrun() -> Processes | None:
    """This process among those that torchrun started; None if it did not."""
    if not all(name in os.environ for name in TORCHRUN):
        return None
    rank, count, local_rank = (int(os.environ[name]) for name in TORCHRUN[:3])
    return Processes(rank, count, local_rank, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def num_cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def in_touch() -> Iterator[None]:
    """LostError where the others do not answer, which PyTorch says by RuntimeErrors of many kinds."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(
            "another process of this training ended or cannot be reached. The same command goes on from the last save."
        ) from error


@contextmanager
def connected(processes: Processes, make_store: Callable[[], Store]) -> Iterator[None]:
    """All processes can exchange tensors in here. An error that ends one of them is what the others are told."""
    if processes.count == 1:
        yield
        return
    if dist.is_initialized():
        raise RunError("this program uses torch.distributed itself. Let elegan start it: call train() before init_process_group().")
    hook = sys.excepthook  # PyTorch puts one of its own in its place
    with in_touch():
        store = make_store()
        dist.init_process_group(store=PrefixStore("group", store), rank=processes.rank, world_size=processes.count, timeout=PATIENCE)
    try:
        yield
    except LostError as error:
        if reason := last_words(store):
            raise RunError(reason) from error
        raise
    except Exception as error:
        said = str(error) if isinstance(error, EleganError) else f"{type(error).__name__}: {error}"
        store.set("error", processes.signed(said))
        raise
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


def last_words(store: Store) -> str:
    """The error that ended another process, if it could still say it."""
    try:
        return store.get("error").decode() if store.check(["error"]) else ""
    except RuntimeError:  # the process that keeps the store is gone too
        return ""


def store_of_torchrun() -> Store:
    store, _, _ = next(rendezvous("env://"))
    return PrefixStore(f"elegan/{next(MEETINGS)}", store)


HELPER = "import json, sys; order = json.loads(sys.stdin.readline()); sys.path[:] = order.pop('path'); {work}(order)"
"""A helper reads from its standard input where its modules are, as this process finds them, and what to do."""


@contextmanager
def helped(processes: Processes, work: str, order: dict[str, Any]) -> Iterator[None]:
    """This process and `count - 1` silent ones that it starts on this machine, connected with each other.

    work: what each of them runs, "import module; module.function", on `order` with "rank", "count" and "port" added, which
    `help_out` takes. They never outlive this block. RunError if one of them ends before it.
    """
    if processes.count == 1:
        yield
        return
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    helpers = []
    try:
        for rank in range(1, processes.count):
            helpers.append(start_helper(work, {**order, "rank": rank, "count": processes.count, "port": store.port}))
        await_helpers(helpers, store)
        with connected(processes, lambda: store):
            yield
    except LostError as error:
        raise RunError(f"{obituary(helpers) or 'a process does not answer'}. The same command goes on from the last save.") from error
    finally:
        for helper in helpers:
            helper.kill()
            helper.communicate()


def start_helper(work: str, order: dict[str, Any]) -> subprocess.Popen[bytes]:
    """A process in a session of its own, so that Ctrl-C reaches this one only, which tells the others."""
    command = [sys.executable, "-P", "-c", HELPER.format(work=work)]
    helper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    assert helper.stdin is not None
    with suppress(BrokenPipeError):  # it has ended already, as `await_helpers` will see
        helper.stdin.write(json.dumps({**order, "path": sys.path}).encode() + b"\n")
        helper.stdin.flush()
    return helper


def await_helpers(helpers: Sequence[subprocess.Popen[bytes]], store: Store) -> None:
    """Until all have come; LostError once one has ended."""
    while not store.check([f"helper/{rank}" for rank in range(1, len(helpers) + 1)]):
        if any(helper.poll() is not None for helper in helpers):
            raise LostError("a process ended before it began.")
        time.sleep(0.02)


@contextmanager
def help_out(rank: int, count: int, port: int) -> Iterator[Processes]:
    """In a process that `helped` started: connected with the others."""
    end_with_parent()
    processes = Processes(rank, count, rank, count)
    store = TCPStore("127.0.0.1", port, is_master=False)
    store.set(f"helper/{rank}", "here")
    with connected(processes, lambda: store):
        yield processes


def end_with_parent() -> None:
    """However the process that started this one ends, its end of the pipe closes then. Nothing in here is worth saving."""

    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def obituary(helpers: Sequence[subprocess.Popen[bytes]], seconds: float = 5.0) -> str:
    """How one of the helpers ended; "" if none did within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for rank, helper in enumerate(helpers, 2):
            if (code := helper.poll()) is not None:
                how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
                memory = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
                return f"process {rank} of {len(helpers) + 1} {how}{memory}"
        time.sleep(0.05)
    return ""
