"""flyte-images doctor: what works on this machine, and the fix for what does not."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import click

from .doctor_checks import Finding
from .interrupt import Activity
from .options import builder_option, json_option

_MARKS = {
    "ok": ("✓", "ok", "32"),
    "absent": ("-", "--", "2"),
    "warning": ("!", "!!", "33"),
    "failed": ("✗", "xx", "31"),
}


@click.command("doctor")
@builder_option
@click.option("--clean", is_flag=True, help="Remove what programs that have ended have left on this machine.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, builder: str | None, clean: bool, as_json: bool) -> None:
    """Look at engine, limits, GPUs, package index, bases, cache and leftovers; nothing is changed without --clean.

    Leftovers are what a killed program, a crashed engine or a crash of the machine has left: containers, cgroups,
    directories, layers kept for caches that are gone. Each bears the mark of a process, and that process has ended.
    Every command removes them now and then; --clean does it now, and says what was removed.

    Exit code 0: builds and tasks can work. 3: there is no engine. 1: something else that is needed does not work.
    """
    activity: Activity = ctx.obj
    activity.doing = "the look at this machine"
    findings: list[Finding] = []
    for finding in _all(builder, clean):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps({"findings": [asdict(finding) for finding in findings]}, indent=2))
    failed = {finding.area for finding in findings if finding.state == "failed"}
    ctx.exit(3 if "buildkit" in failed else 1 if failed else 0)


def _all(builder: str | None, clean: bool) -> Iterator[Finding]:
    from . import doctor_checks

    yield from doctor_checks.program(os.environ)
    yield from doctor_checks.engines(os.environ, builder)
    yield from doctor_checks.docker(os.environ, builder)
    yield from doctor_checks.runners()
    yield from doctor_checks.reach()
    yield from doctor_checks.gpus(os.environ)
    yield from doctor_checks.index(os.environ)
    yield from doctor_checks.settings(os.environ)
    yield from doctor_checks.bases(os.environ)
    yield from doctor_checks.cache(os.environ)
    yield from doctor_checks.tools(os.environ)
    yield from doctor_checks.leftovers(os.environ, clean=clean)


def _print(finding: Finding) -> None:
    from ..progress.terminal_text import clean

    mark, plain, colour = _MARKS[finding.state]
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    shown = mark if unicode else plain
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        shown = f"\x1b[{colour}m{shown}\x1b[0m"
    click.echo(f"{shown} {finding.area:<9} {clean(finding.what)}")
    if finding.fix:
        for number, line in enumerate(finding.fix.splitlines()):
            click.echo(f"{'':12}{'fix: ' if number == 0 else '     '}{clean(line)}")
