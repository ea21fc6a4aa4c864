"""Plan -> text for people, plain values for programs. Reads only the current directory, for relative file names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields

from flyte_images_layers.steps import Deb, Wheel

from ..plan.model import Built, Command, Debs, Directory, Files, Plan, PlanStep, Venv, Wheels
from ..progress.terminal_text import clean, size

_LISTED = 6  # packages of one step that are listed by name


def to_text(name: str, plan: Plan) -> str:
    """Return lines with the base of the image, its steps in the order of its layers, and its settings."""
    head = [
        f"{name}  {plan.platform}  {plan.digest}",
        f"base      {plan.base.description or plan.base.reference}",
    ]
    if plan.toolchain is not None and plan.toolchain.digest != plan.base.digest:
        head.append(f"packages are installed by {plan.toolchain.description or plan.toolchain.reference}")
    table = [_row(number, step) for number, step in enumerate(plan.steps, 1)]
    widths = [max((len(row[column]) for row in table), default=0) for column in range(4)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    tail = [f"workdir   {plan.workdir}", *(f"env       {clean(f'{key}={value}')}" for key, value in plan.env)]
    return "\n".join([*head, *rows, *tail])


def to_document(plan: Plan) -> dict[str, object]:
    """Return plain values for JSON (documents.py, PlannedImage)."""
    bases = {
        key: {"reference": base.reference, "digest": base.digest, "python": base.python, "origin": base.origin}
        for key, base in (("base", plan.base), ("toolchain", plan.toolchain))
        if base is not None
    }
    steps = [
        {
            "digest": step.digest,
            "title": step.title,
            "reads": list(step.reads),
            "origin": f"{step.location.file}:{step.location.line}" if step.location else None,
            "kind": step.body.kind,
            **{field.name: _plain(getattr(step.body, field.name)) for field in fields(step.body)},
        }
        for step in plan.steps
    ]
    return {
        "digest": plan.digest,
        "platform": plan.platform,
        **bases,
        "steps": steps,
        "env": dict(plan.env),
        "workdir": plan.workdir,
    }


def kind_of(step: PlanStep) -> str:
    """Return the kind of a step in one or two words."""
    match step.body:
        case Wheels(wheels=wheels):
            return "wheel" if len(wheels) == 1 else f"{len(wheels)} wheels"
        case Built():
            return "source"
        case Debs(debs=debs):
            return "deb" if len(debs) == 1 else f"{len(debs)} debs"
        case Venv():
            return "environment"
        case Command():
            return "command"
        case Files():
            return "files"
        case Directory():
            return "folder"


def bytes_of(step: PlanStep) -> int:
    """Return the bytes that a step fetches, as far as the index gives sizes."""
    return sum(package.size for package in _packages(step))


def label(step: PlanStep) -> str:
    """Return a step in one line."""
    packages = list(_packages(step))
    match step.body:
        case Files(destination=destination) | Directory(path=destination):
            return f"{step.title} -> {destination}" if destination not in step.title else step.title
        case Debs() if len(packages) > _LISTED:
            return f"{step.title} and their dependencies"
        case Wheels(overlap=overlap) if overlap:
            return f"{step.title} ({overlap})"
    if len(packages) > _LISTED:
        first = ", ".join(f"{it.name} {it.version}" for it in packages[:_LISTED])
        return f"{first} and {len(packages) - _LISTED} more"
    return step.title


def _row(number: int, step: PlanStep) -> tuple[str, str, str, str]:
    fetched = bytes_of(step)
    place = f"{os.path.relpath(step.location.file)}:{step.location.line}" if step.location else ""
    what = clean(label(step))
    return f"{number:>4}  {kind_of(step)}", size(fetched).rjust(8) if fetched else "", place, what


def _packages(step: PlanStep) -> Iterator[Wheel | Deb]:
    match step.body:
        case Wheels(wheels=wheels):
            yield from wheels
        case Debs(debs=debs):
            yield from debs


def _plain(value: object) -> object:
    if isinstance(value, (Wheel, Deb)):
        return {field.name: getattr(value, field.name) for field in fields(value) if field.name != "url"}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
