"""A shell, or one command, in an environment's image, under the limits and the hardening of the environment's tasks.

The time limit does not apply: it is for tasks that run unattended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from flyte_images_runtime.egress.gate import refusal_line
from flyte_images_runtime.execution.execute import call_document
from flyte_images_runtime.execution.shell import Ended, Shell, run_shell
from flyte_images_runtime.task.code import locate
from flyte_images_runtime.task.exchange import make_exchange
from flyte_images_runtime.task.spec import Code, TaskSpec

from ..errors import SpecError
from ..leftovers import watch_over
from .gpu_lease import lease_devices
from .secrets import write_secrets
from .task_spec import check_needs, egress_gate, make_spec

if TYPE_CHECKING:
    from ..environment import TaskEnvironment
    from .model import RunnerOptions

_RC = """[ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
[ -r ~/.bashrc ] && . ~/.bashrc
PS1='{name}:\\w\\$ '
"""


def open_shell(
    environment: TaskEnvironment,
    command: Sequence[str] = (),
    *,
    options: RunnerOptions,
    terminal: bool,
    term: str | None = None,
) -> Ended:
    """Run `command`, or the image's best shell, with this process's stdin, stdout and stderr; return how it ended.

    `terminal` says that the three are a terminal, of the type `term`; the shell then gets a terminal too. When this
    returns, nothing of the shell is left.
    """
    spec, environ, engines = _spec(environment, options), options.environ, options.state.engines
    watch_over(engines.image_store().api.address, environ)
    shell = Shell(
        command=tuple(command),
        terminal=terminal,
        env=(("PS1", f"{environment.name}$ "), *((("TERM", term),) if terminal and term else ())),
        rc=_RC.format(name=environment.name),
    )
    exchange = make_exchange()
    try:
        leased = lease_devices(spec, wait=environment.options.gpu_wait, engines=engines, environ=environ)
        with egress_gate(spec, exchange, environ) as gate, leased as lease:
            final, variables = write_secrets(lease.spec, environment.options.secrets, exchange, environ)
            ended = run_shell(
                engines.select(options.engine, final),
                final,
                exchange,
                call_document(final, {}, secrets=variables),
                shell,
                on_running=lease.extend_to,
                complain=lambda line: options.on_line and options.on_line(final.task, "stderr", line),
            )
            if gate is not None and options.on_line and (refused := gate.take_refused()):
                options.on_line(final.task, "stderr", refusal_line(refused))
            return ended
    finally:
        exchange.remove()


def _spec(environment: TaskEnvironment, options: RunnerOptions) -> TaskSpec:
    """Return the specification that a task of the environment would have, without a time limit."""
    settings, state = environment.options, options.state
    check_needs(settings, options.environ)
    image = state.images.reference(environment.built_image, progress=options.progress, builder=options.builder)
    code = _code(environment)
    spec = make_spec(f"{environment.name}.shell", settings, image, code, bundles=state.bundles)
    return replace(spec, timeout=None)


def _code(environment: TaskEnvironment) -> Code:
    """Return the source trees of the environment's first task that has some, without a function."""
    no_function = Code(module="", qualname="")
    for task in environment.tasks.values():
        with contextlib.suppress(SpecError):  # the function goes by value
            return replace(no_function, roots=locate(task.function).roots)
    return no_function
