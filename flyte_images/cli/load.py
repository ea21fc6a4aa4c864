"""Import a user's file and return its images and task environments.

The file is imported as Python would import it from its folder. Its output goes to stderr, as stdout is for data. An
exception of the file becomes one error with the user's line.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from flyte_images_runtime.portable.suggest import did_you_mean

from ..errors import FlyteImagesError, Location, SpecError
from ..image import Image

if TYPE_CHECKING:
    from ..environment import TaskEnvironment


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An image, its display name, and the names by which the user may select it."""

    name: str
    image: Image
    known_as: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The public images and environments of a file, by variable."""

    file: Path
    module: ModuleType
    images: dict[str, Image]
    environments: dict[str, TaskEnvironment]

    def named_images(self) -> list[Named]:
        """Return every image once. An image of environments is named after the first of them."""
        known_as: dict[tuple[Image, str | None, str | None], tuple[list[str], list[str]]] = {}
        for variable, image in self.images.items():
            _, variables = known_as.setdefault((image, image.name, image.registry), ([], []))
            variables.append(variable)
        for variable, environment in self.environments.items():
            image = environment.built_image
            environments, variables = known_as.setdefault((image, image.name, image.registry), ([], []))
            environments.append(environment.name)
            variables.append(variable)
        names = _distinct(name or [*both[0], *both[1]][0] for (_, name, _), both in known_as.items())
        return [
            Named(name=name, image=image, known_as=tuple(dict.fromkeys((*environments, *variables))))
            for name, ((image, _, _), (environments, variables)) in zip(names, known_as.items(), strict=True)
        ]

    def select(self, wanted: Sequence[str]) -> list[Named]:
        """Return the images that are named by variable or environment, or all. Raise SpecError for unknown names."""
        images = self.named_images()
        if not images:
            raise SpecError(
                f"`{shown(self.file)}` has no image and no environment",
                hint="assign one to a variable of the module: image = Image.from_debian_base()",
            )
        chosen: list[Named] = []
        for name in wanted:
            image = next((it for it in images if name in it.known_as), None) or self._private(name)
            if image is None:
                names = [known for it in images for known in it.known_as]
                raise SpecError(
                    f"`{shown(self.file)}` has no image and no environment `{name}`",
                    hint=did_you_mean(name, names) or f"it has {', '.join(f'`{known}`' for known in names)}",
                )
            if image not in chosen:
                chosen.append(image)
        return chosen or images

    def _private(self, name: str) -> Named | None:
        value = getattr(self.module, name, None)
        return Named(name=value.name or name, image=value, known_as=(name,)) if isinstance(value, Image) else None


def load(file: str | os.PathLike[str]) -> Loaded:
    """Import `file` and return what it defines.

    Raise SpecError if the file is missing, is not Python, or raises while it is imported.
    """
    path = Path(file).resolve()
    _check(path)
    module = _imported(path)
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    images = {name: value for name, value in public.items() if isinstance(value, Image)}
    environments: dict[str, TaskEnvironment] = {}
    if declared := sys.modules.get("flyte_images.environment"):  # not imported: the file has no environment
        kind: type[TaskEnvironment] = declared.TaskEnvironment
        environments = {name: value for name, value in public.items() if isinstance(value, kind)}
    return Loaded(file=path, module=module, images=images, environments=environments)


def shown(path: Path) -> str:
    """Return the path relative to the current directory if it is below it, else the full path."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _check(path: Path) -> None:
    if path.is_dir():
        raise SpecError(f"`{shown(path)}` is a folder", hint="name a Python file in it")
    if not path.exists():
        near = [it.name for it in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise SpecError(f"the file `{shown(path)}` does not exist", hint=did_you_mean(path.name, near))
    if path.suffix != ".py":
        raise SpecError(f"`{shown(path)}` is not a Python file", hint="the name must end in .py")


def _imported(path: Path) -> ModuleType:
    """Import a file by path, under the name by which other modules of its folder import it."""
    root, name = _import_name(path)
    sys.path.insert(0, str(root))
    known = sys.modules.get(name)
    if known is not None and getattr(known, "__file__", None) == str(path):
        return known
    try:
        with contextlib.redirect_stdout(sys.stderr):
            if "." in name:
                importlib.import_module(name.rpartition(".")[0])  # relative imports need their package
            return _execute(path, name if known is None else f"{name} (of the command line)")
    except KeyboardInterrupt:
        raise
    except FlyteImagesError as error:  # errors of runtime values have no line
        error.location = error.location or _users_line(error, root)
        raise
    except SyntaxError as error:
        if error.filename and error.lineno:
            what = error.msg[:1].lower() + error.msg[1:]
            raise SpecError(what, location=Location(str(Path(error.filename).resolve()), error.lineno)) from error
        raise SpecError(f"`{shown(path)}` is not Python: {error}") from error
    except BaseException as error:  # SystemExit too: a script that exits defines nothing
        raise SpecError(
            f"importing it raised {type(error).__name__}" + (f": {error}" if str(error) else ""),
            hint=_remedy(error),
            location=_users_line(error, root) or Location(str(path), 1),
        ) from error


def _execute(path: Path, name: str) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it ends in .py
    module = module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_name(path: Path) -> tuple[Path, str]:
    """Return the folder for sys.path and the name of the module in it; for a package, the folder above it."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").is_file():
        root, parts = root.parent, [root.name, *parts]
    return root, ".".join(parts)


def _users_line(error: BaseException, root: Path) -> Location | None:
    """Return the innermost line of the traceback that is in the user's code, below `root`."""
    location, trace = None, error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if file.startswith(str(root) + os.sep) and "site-packages" not in file:
            location = Location(file, trace.tb_lineno)
        trace = trace.tb_next
    return location


def _remedy(error: BaseException) -> str | None:
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        return (
            f"the file is imported on this machine: install {package} here too, or import it inside the task, "
            "which runs in the image"
        )
    if isinstance(error, SystemExit):
        return 'the file is imported, not run: move calls of exit() below `if __name__ == "__main__":`'
    return None


def _distinct(names: Iterable[str]) -> list[str]:
    """Return the names, with a number after each that repeats.

    >>> _distinct(["a", "b", "a"])
    ['a', 'b', 'a-2']
    """
    unique_names: list[str] = []
    for name in names:
        unique, number = name, 2
        while unique in unique_names:
            unique, number = f"{name}-{number}", number + 1
        unique_names.append(unique)
    return unique_names
