"""Secrets and agents in the forms that buildx takes."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from flyte_images.buildkit.session_options import agent, secret
from flyte_images.errors import SpecError


def value(text: str, **environ: str) -> bytes:
    found = secret(text, environ=environ)[1]
    return found() if callable(found) else found


def test_forms_of_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("token").write_bytes(b"from the file\n")
    assert value("id=x,src=token") == value("id=x,type=file,source=token") == value("id=token") == b"from the file\n"
    assert value("id=x,env=T", T="from the variable") == b"from the variable"
    assert value("id=x,type=env,src=T", T="v") == value("id=T,type=env", T="v") == value("id=T", T="v") == b"v"
    assert secret("id=token", environ={})[0] == "token"


def test_a_file_is_read_when_it_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"old")
    _, found = secret(f"id=x,src={file}", environ={})
    file.write_bytes(b"new")
    assert callable(found)
    assert found() == b"new"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "src=f",
        "id=x,src=a,env=b",
        "id=x,sorce=f",
        "id=x,type=vault",
        "id=x,env=GONE",
        "id=x,src=/gone",
        "id=x,src=/",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    with pytest.raises(SpecError):
        secret(text, environ={})


def test_agents(tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "socket"
    key.touch()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert agent(f"github={path}", environ={}) == ("github", path)
        assert agent("default", environ={"SSH_AUTH_SOCK": str(path)}) == ("default", path)
    with pytest.raises(SpecError, match="SSH_AUTH_SOCK is not set"):
        agent("default", environ={})
    with pytest.raises(SpecError) as caught:
        agent(f"default={key}", environ={})
    assert caught.value.hint == f"keys stay with the agent: ssh-add {key}"
