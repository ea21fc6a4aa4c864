"""The lines that a call prints -> its run log, and the callbacks of its Runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flyte_images_runtime.task.engine import Stream

from .run_logs import LogWriter

if TYPE_CHECKING:
    from flyte_images_runtime.egress.gate import Gate
    from flyte_images_runtime.task.log import Log

    from .model import RunnerOptions


class CallOutput:
    """The output of one call. The run log begins with the first line; a call that prints nothing has none."""

    def __init__(self, run: str, task: str, options: RunnerOptions) -> None:
        self._run = run
        self._task = task
        self._options = options
        self._head = {"task": task}
        self._writer: LogWriter | None = None
        self.refused: dict[str, int] = {}
        """The addresses outside network=[...] that the task has asked for, and how often."""

    def set_container(self, name: str) -> None:
        """Set the container name that the head of the run log gets."""
        self._head["container"] = name

    def add(self, stream: Stream, line: str) -> None:
        """Take a line. One that ends with a carriage return overwrites itself, and is the state of a progress bar."""
        if self._writer is None:
            self._writer = LogWriter(self._options.environ, self._run, about=self._head)
        if line.endswith("\r"):
            self._writer.state(stream, line[:-1])
            if self._options.on_state is not None:
                self._options.on_state(self._task, stream, line[:-1])
            return
        self._writer.add(stream, line)
        if self._options.on_line is not None:
            self._options.on_line(self._task, stream, line)

    def add_refused(self, gate: Gate | None, log: Log) -> None:
        """Count the addresses that the proxy has refused, and say so on stderr and in `log`."""
        refused = {} if gate is None else gate.take_refused()
        for name, count in refused.items():
            self.refused[name] = self.refused.get(name, 0) + count
        if refused:
            from flyte_images_runtime.egress.gate import refusal_line

            log.add("stderr", refusal_line(refused))
            self.add("stderr", refusal_line(refused))

    def close(self) -> None:
        """End the run log."""
        if self._writer is not None:
            self._writer.close()
