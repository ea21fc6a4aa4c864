"""flyte-images doctor: check this machine, and print a fix for each problem."""

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
@click.option("--clean", is_flag=True, help="Remove leftovers of programs that have ended.")
@json_option
@click.pass_context
def command(ctx: click.Context, *, builder: str | None, clean: bool, as_json: bool) -> None:
    """Check engines, limits, GPUs, package index, bases, cache and leftovers. Changes nothing without --clean.

    Leftovers remain after a killed program, a crashed engine or a crash of the machine: containers, cgroups,
    directories, and layers kept for caches that were removed. Each carries the id of a process that has ended. Every
    command removes leftovers from time to time; --clean removes them now and lists them.

    Exit code 0: builds and tasks work. 3: no engine works. 1: something else that is needed does not work.
    """
    activity: Activity = ctx.obj
    activity.doing = "checks of this machine"
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

    mark, plain, color = _MARKS[finding.state]
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    symbol = mark if unicode else plain
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        symbol = f"\x1b[{color}m{symbol}\x1b[0m"
    click.echo(f"{symbol} {finding.area:<9} {clean(finding.what)}")
    if finding.fix:
        for number, line in enumerate(finding.fix.splitlines()):
            click.echo(f"{'':12}{'fix: ' if number == 0 else '     '}{clean(line)}")
