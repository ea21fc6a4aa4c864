"""A function is code by module and name; the container sees the caller's own code and no installed package."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flyte_images_runtime.errors import SpecError
from flyte_images_runtime.task.code import locate

_SHOW = """from flyte_images_runtime.task.code import locate
import json, dataclasses
print(json.dumps(dataclasses.asdict(locate(f))))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "src" / "shop" / "models"
    package.mkdir(parents=True)
    (tmp_path / "src" / "shop" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "price.py").write_text("def f(): ...\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "helper.py").write_text("x = 1\n")
    return tmp_path


def located(project: Path, *argv: str) -> dict[str, object]:
    runtime = Path(sys.modules["flyte_images_runtime"].__path__[0]).parent
    path = f"{project / 'src'}:{project / 'other'}:{runtime}"
    done = subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, cwd=project, env={"PYTHONPATH": path}, check=True
    )
    code: dict[str, object] = json.loads(done.stdout)
    return code


def test_a_module_of_a_package_needs_the_packages_parent(project: Path) -> None:
    code = located(project, "-c", f"import helper\nfrom shop.models.price import f\n{_SHOW}")
    assert (code["module"], code["qualname"], code["file"]) == ("shop.models.price", "f", None)
    assert code["roots"] == [str(project / "src"), str(project / "other")]


def test_a_program_is_imported_under_its_files_name(project: Path) -> None:
    (project / "my-train.v2.py").write_text(f"def f(): ...\n{_SHOW}")
    code = located(project, "my-train.v2.py")
    assert code["module"] == "my_train_v2"
    assert code["file"] == str(project / "my-train.v2.py")
    assert code["roots"] == [str(project)]


def test_python_m_keeps_the_modules_name(project: Path) -> None:
    (project / "src" / "shop" / "job.py").write_text(f"def f(): ...\n{_SHOW}")
    code = located(project, "-m", "shop.job")
    assert (code["module"], code["file"]) == ("shop.job", None)
    assert code["roots"] == [str(project / "src")]


def test_installed_packages_are_not_roots() -> None:
    assert locate(json.dumps).roots == () or all("lib/python" not in root for root in locate(json.dumps).roots)
    assert locate(pytest.main).module == "_pytest.config"
    assert not any("site-packages" in root for root in locate(pytest.main).roots)


def test_a_function_that_cannot_be_imported_is_an_error() -> None:
    def nested() -> None: ...

    with pytest.raises(SpecError, match="inside a function"):
        locate(nested)
    with pytest.raises(SpecError, match="inside a function"):
        locate(lambda: None)
    scope: dict[str, object] = {"__name__": "nowhere"}
    exec("def f(): ...", scope)
    with pytest.raises(SpecError, match="not defined in a file"):
        locate(scope["f"])  # type: ignore[arg-type]


def test_a_programs_arguments_are_part_of_the_code(project: Path) -> None:
    (project / "train.py").write_text(f"import sys\nsize = int(sys.argv[1])\ndef f(): ...\n{_SHOW}")
    assert located(project, "train.py", "7", "--fast")["argv"] == ["7", "--fast"]
    assert located(project, "-c", f"from shop.models.price import f\n{_SHOW}", "7")["argv"] == []
