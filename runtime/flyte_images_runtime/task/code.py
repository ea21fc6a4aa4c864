"""A task's function -> Code: the module and the name by which the worker imports it. Reads no file.

The container sees, read-only, the directories from which the caller's own modules were imported. It does not see those
of Python and of installed packages, since the image has its own.
"""

from __future__ import annotations

import functools
import os
import site
import sys
import sysconfig
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..errors import SpecError
from .spec import Code


def locate(function: Callable[..., Any]) -> Code:
    """Return the code by which the worker finds `function`. Raise SpecError if it cannot be imported by name."""
    name = f"`{getattr(function, '__qualname__', function)}`"
    if "<locals>" in function.__qualname__ or "<lambda>" in function.__qualname__:
        raise SpecError(
            f"task {name} is defined inside a function: another process cannot find it by name",
            hint="define it at the top of its module",
        )
    module = sys.modules.get(function.__module__)
    file = getattr(module, "__file__", None)
    if module is None or file is None:
        raise SpecError(
            f"task {name} is not defined in a file (module `{function.__module__}`)",
            hint="write it to a .py file and import it from there",
        )
    name, program = _importable_name(module, os.path.abspath(file))
    first = _root(name, os.path.abspath(file))
    roots = [first, *(root for root in other_roots() if root != first)]
    roots = [root for root in roots if not _is_installed(root)]
    return Code(
        module=name,
        qualname=function.__qualname__,
        roots=tuple(roots),
        file=os.path.abspath(file) if program else None,
        argv=tuple(sys.argv[1:]) if module.__name__ == "__main__" else (),
    )


def _importable_name(module: ModuleType, file: str) -> tuple[str, bool]:
    """Return the name to import, and whether the module is the file of a program: `__main__` is the worker there."""
    if module.__name__ not in ("__main__", "__mp_main__"):
        return module.__name__, "." not in module.__name__ and not _is_installed(os.path.dirname(file))
    spec = getattr(module, "__spec__", None)
    if spec is not None and spec.name:  # python -m package.module
        return str(spec.name), False
    stem = os.path.splitext(os.path.basename(file))[0]
    return "".join(c if c.isalnum() else "_" for c in stem), True


def _root(name: str, file: str) -> str:
    """Return the directory that has to be on sys.path for `import name` to find `file`.

    >>> _root("shop.models.price", "/src/shop/models/price.py"), _root("shop", "/src/shop/__init__.py")
    ('/src', '/src')
    """
    directory = os.path.dirname(file)
    steps = name.count(".") + (os.path.basename(file) == "__init__.py")
    for _ in range(steps):
        directory = os.path.dirname(directory)
    return directory


def other_roots() -> list[str]:
    """Return the directories of the search path from which the caller's other own modules were imported."""
    search_path = {os.path.abspath(entry or ".") for entry in sys.path}
    roots: dict[str, None] = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and (root := _own_root(name, os.path.abspath(file))) in search_path:
            roots[root] = None
    return list(roots)


@functools.lru_cache(maxsize=1 << 14)  # a program has thousands of modules, and each call asks for all of them
def _own_root(name: str, file: str) -> str:
    """Return the directory from which a module of the caller's was imported; an empty text for any other module."""
    if not file.endswith((".py", ".so")) or name in ("__main__", "__mp_main__"):
        return ""
    if name.partition(".")[0] in OUR_PACKAGES or _is_installed(file):
        return ""
    return _root(name, file)


OUR_PACKAGES = ("flyte_images", "flyte_images_runtime", "flyte_images_layers")


def _is_installed(path: str) -> bool:
    """Return whether a path belongs to Python or to an installed package, of this or of any other environment.

    >>> _is_installed("/cache/overlay/lib/python3.11/site-packages/torch/nn"), _is_installed("/home/ada/project")
    (True, False)
    """
    path = path.rstrip("/") + "/"
    return any(f"/{name}/" in path for name in ("site-packages", "dist-packages")) or any(
        path.startswith(base.rstrip("/") + "/") for base in _installed()
    )


@functools.cache
def _installed() -> list[str]:
    paths = sysconfig.get_paths()
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    bases = [paths[name] for name in names] + site.getsitepackages() + [site.getusersitepackages()]
    bases += [sysconfig.get_path("stdlib", vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})]
    bases += [os.path.join(sys.base_prefix, "lib", "python3", "dist-packages")]
    return list(dict.fromkeys(os.path.abspath(base) for base in bases if base))
