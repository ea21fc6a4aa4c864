"""A shell, or one command, in an environment's image: held exactly as the environment's tasks are held.

Its time is not limited: a time limit is for what nobody looks at.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.egress.gate import told
from flyte_images_runtime.execution.execute import call_document
from flyte_images_runtime.execution.shell import Ended, Shell, run_shell
from flyte_images_runtime.task.code import locate
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, TaskSpec

from ..errors import SpecError
from ..leftovers import watch_over
from .engines import engine_for, image_store
from .gpu_lease import leased
from .secrets import exposed
from .task_spec import check_needs, specification, way_out

if TYPE_CHECKING:
    from ..environment import TaskEnvironment
    from .runner import Runner

_RC = """[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
[ -r ~/.bashrc ] && . ~/.bashrc
PS1='{name}:\\w\\$ '
"""


def open_shell(
    environment: TaskEnvironment,
    command: Sequence[str] = (),
    *,
    runner: Runner,
    terminal: bool,
    term: str | None = None,
) -> Ended:
    """Run `command`, or the image's best shell, with this process's stdin, stdout and stderr; return how it ended.

    `terminal`: they are a terminal, of the type `term`, and the shell gets one of its own. However this returns,
    nothing of it is left.
    """
    spec = _specification(environment, runner)
    watch_over(image_store().api.address)
    shell = Shell(
        command=tuple(command),
        terminal=terminal,
        env=(("PS1", f"{environment.name}$ "), *((("TERM", term),) if terminal and term else ())),
        rc=_RC.format(name=environment.name),
    )
    exchange = make_exchange()
    try:
        secrets = environment.options.secrets
        with way_out(spec, exchange) as gate, leased(spec, wait=environment.options.gpu_wait) as lease:
            final, variables = exposed(lease.spec, secrets, exchange)
            ended = run_shell(
                engine_for(runner.engine, final),
                final,
                exchange,
                call_document(final, {}, secrets=variables),
                shell,
                on_running=lease.started,
                complain=lambda line: runner.on_line and runner.on_line(final.task, "stderr", line),
            )
            if gate is not None and runner.on_line and (refused := gate.take_refused()):
                runner.on_line(final.task, "stderr", told(refused))
            return ended
    finally:
        exchange.remove()


def _specification(environment: TaskEnvironment, runner: Runner) -> TaskSpec:
    """What one of the environment's tasks would be run as."""
    name, options = f"{environment.name}.shell", environment.options
    check_needs(options)
    spec = specification(name, options, runner.image(environment.built_image), _code(environment))
    return replace(spec, timeout=None)


def _code(environment: TaskEnvironment) -> Code:
    """The source trees of its tasks, of which one is as good as the other."""
    nothing = Code(module="", qualname="")
    for task in environment.tasks.values():
        with contextlib.suppress(SpecError):  # it goes by value
            return replace(nothing, roots=locate(task.function).roots)
    return nothing
