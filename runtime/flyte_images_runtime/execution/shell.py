"""A shell instead of a task: the same specification and container, with the caller's terminal or streams.

The engine is not involved: the worker connects to a socket in the exchange, and one of the two sides sends the
descriptors to the other. So a shell runs on every engine that runs tasks, and ends as tasks do.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import struct
import termios
import threading
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ..engines.outcome import judge
from ..errors import EngineLost, ImageCannotStart, OutOfMemory, TaskError
from ..task.engine import Ending, Engine, Running
from ..task.exchange import Exchange
from ..task.spec import TaskSpec
from ..values import Problem
from ..values.budget import Budget
from ..worker import paths
from .execute import read_report

_CHUNK = 1 << 16
_LOOK = 0.2  # seconds between two checks that the container still runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """The program that runs instead of the task.

    command   its words; () for the image's best shell
    terminal  whether it gets a terminal, shown on the caller's; else pipes connect the caller's streams
    env       variables beyond the environment's own
    rc        the first file that an interactive shell reads
    """

    command: tuple[str, ...] = ()
    terminal: bool = False
    env: tuple[tuple[str, str], ...] = ()
    rc: str = ""

    def document(self) -> dict[str, Any]:
        """Return the part of the call's document that the worker reads."""
        return {
            "command": list(self.command),
            "terminal": self.terminal,
            "size": list(_size(0)) if self.terminal else None,
            "env": dict(self.env),
        }


def run_shell(
    engine: Engine,
    spec: TaskSpec,
    exchange: Exchange,
    call: dict[str, Any],
    shell: Shell,
    *,
    on_running: Callable[[Running], None],
    complain: Callable[[str], None],
) -> Ended:
    """Start the shell, connect it with this process's stdin, stdout and stderr, and wait for its end.

    `complain` gets the output of the container itself: the reason why it could not begin.
    """
    (exchange.inputs / paths.SHELL_RC).write_text(shell.rc, encoding="utf-8")
    (exchange.inputs / paths.SHELL_RC).chmod(0o644)
    exchange.write_call({**call, "shell": shell.document()})
    with exchange.listen(paths.SHELL) as door:
        engine.check(spec)
        exchange.describe(task=spec.task, image=spec.image, engine=engine.name)
        running = engine.start(spec, exchange)
        try:
            on_running(running)
            waiting = _Waiting(running, complain)
            link = _accept(door, waiting)
            if link is not None:
                with link:
                    relay = _Terminal(link) if shell.terminal else _Pipes(link)
                    relay.run(waiting.over)
            ending = waiting.ending(spec)
            # Podman 4 sometimes reports 0 for a container that has just ended with another status
            status = ending.exit_status or _left_status(exchange)
            return Ended(exit_status=status, error=_why(judge(spec, ending, read_report(exchange, Budget.small()))))
        finally:
            running.remove()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a shell ended. `error` is set only if it says more than the status."""

    exit_status: int
    error: TaskError | None = None


def _left_status(exchange: Exchange) -> int:
    """Return the status that the container's first process recorded, 0 without one."""
    with contextlib.suppress(Problem):
        end = exchange.read(paths.END, Budget.small())
        status = end.get("status") if isinstance(end, dict) else None
        if isinstance(status, int) and 0 < status < 1 << 16:
            return status >> 8 or 128 + (status & 0x7F)
    return 0


def _why(error: TaskError | None) -> TaskError | None:
    """Return the error of a task if it also matters for a shell, which has no result."""
    return error if isinstance(error, (OutOfMemory, ImageCannotStart)) else None


class _Waiting:
    """Waits for the container's end in a thread."""

    def __init__(self, running: Running, complain: Callable[[str], None]) -> None:
        self.over = threading.Event()
        self._ending: Ending | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._wait, args=(running, complain), daemon=True, name="shell")
        self._thread.start()

    def _wait(self, running: Running, complain: Callable[[str], None]) -> None:
        try:
            self._ending = running.wait(lambda stream, line: complain(line.rstrip("\r")))
        except BaseException as error:
            self._error = error
        finally:
            self.over.set()

    def ending(self, spec: TaskSpec) -> Ending:
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._ending is None:
            raise EngineLost("the shell's container ended in an unknown way", task=spec.task)
        return self._ending


def _accept(door: socket.socket, waiting: _Waiting) -> socket.socket | None:
    """Return the connection of the worker. None if the container has ended without one."""
    door.settimeout(_LOOK)
    while True:
        with contextlib.suppress(TimeoutError):
            link, _ = door.accept()
            link.settimeout(None)
            return link
        if waiting.over.is_set():
            return None


class _Relay:
    """Passes bytes between descriptors until those from the container have ended."""

    def __init__(self) -> None:
        self.out: dict[int, int] = {}  # descriptor from the container -> own descriptor
        self.source: int | None = None  # own stdin
        self.sink: int | None = None  # descriptor into the container
        self._pending = b""

    def run(self, over: threading.Event) -> None:
        """Pass bytes on until the end. An exception may interrupt it at any time."""
        while self.out:
            found = self._ready()
            if not found and over.is_set():
                return  # a process outside the container still has a stream
            for number, what in found:
                if number == self.sink and self._pending:
                    self._push()
                if number in self.out and what & ~select.POLLOUT:
                    self._pull(number)
                if number == self.source:
                    self._take()

    def _ready(self) -> list[tuple[int, int]]:
        poll = select.poll()
        wanted = dict.fromkeys(self.out, select.POLLIN)
        if self.source is not None and not self._pending:
            wanted[self.source] = select.POLLIN
        if self.sink is not None and self._pending:
            wanted[self.sink] = wanted.get(self.sink, 0) | select.POLLOUT
        for number, events in wanted.items():
            poll.register(number, events)
        return poll.poll(_LOOK * 1000)

    def _pull(self, number: int) -> None:
        try:
            arrived = os.read(number, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # a terminal whose other end is closed
            arrived = b""
        if arrived:
            _write_all(self.out[number], arrived)
        else:
            del self.out[number]

    def _take(self) -> None:
        assert self.source is not None
        try:
            arrived = os.read(self.source, _CHUNK)
        except OSError:
            arrived = b""
        if arrived:
            self._pending = arrived
            self._push()
        else:
            self.source = None
            self.end_of_input()

    def _push(self) -> None:
        if self.sink is None:
            return
        try:
            self._pending = self._pending[os.write(self.sink, self._pending) :]
        except BlockingIOError:
            return
        except OSError:  # the container reads no more
            self._pending, self.source = b"", None
            self.end_of_input()

    def end_of_input(self) -> None:
        """Handle the end of the caller's input."""


class _Terminal(_Relay):
    """Shows the container's terminal on this process's, in raw mode: the shell gets every key, Ctrl-C too."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__()
        self._link = link

    def run(self, over: threading.Event) -> None:
        _, descriptors, _, _ = socket.recv_fds(self._link, 1, 1)
        if not descriptors:  # the worker has ended
            return
        [far] = descriptors
        try:
            os.set_blocking(far, False)
            self.out, self.source, self.sink = {far: 1}, 0, far
            with _raw(0), _resized(far):
                super().run(over)
        finally:
            os.close(far)


class _Pipes(_Relay):
    """Pipes into the container, which so gets no file of this process and cannot change its terminal."""

    def __init__(self, link: socket.socket) -> None:
        super().__init__()
        self._link = link

    def run(self, over: threading.Event) -> None:
        if not self._link.recv(1):
            return
        pairs = [os.pipe() for _ in range(3)]
        theirs = [pairs[0][0], pairs[1][1], pairs[2][1]]
        ours = [pairs[0][1], pairs[1][0], pairs[2][0]]
        self.sink = ours[0]
        try:
            for number in theirs:
                os.fchmod(number, 0o666)  # another user opens it with `echo >/dev/stderr`
            socket.send_fds(self._link, [b"s"], theirs)
            for number in theirs:
                os.close(number)
            theirs = []
            os.set_blocking(ours[0], False)
            self.out, self.source = {ours[1]: 1, ours[2]: 2}, 0
            super().run(over)
        finally:
            self.end_of_input()
            for number in (*theirs, *ours[1:]):
                os.close(number)

    def end_of_input(self) -> None:
        if self.sink is not None:
            os.close(self.sink)
            self.sink = None


def _write_all(number: int, content: bytes) -> None:
    while content:
        try:
            content = content[os.write(number, content) :]
        except BlockingIOError:  # another program set the shared stdout to nonblocking mode
            select.select([], [number], [])


def _size(terminal: int) -> tuple[int, int]:
    """Return the rows and columns of a terminal."""
    try:
        found = os.get_terminal_size(terminal)
    except OSError:
        return 24, 80
    return found.lines, found.columns


@contextlib.contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Put the terminal in raw mode for a block, and restore it afterwards."""
    before = termios.tcgetattr(terminal)
    try:
        tty.setraw(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resized(far: int) -> Iterator[None]:
    """Keep the container's terminal as large as this process's."""

    def follow(*_: object) -> None:
        rows, columns = _size(0)
        with contextlib.suppress(OSError):
            fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    before = signal.signal(signal.SIGWINCH, follow)
    follow()
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
