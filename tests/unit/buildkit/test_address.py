"""Each address has one spelling, and no address can add an option or a shell to a command."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flyte_images.buildkit.address import Command, Docker, Tcp, Tls, Unix, parse, parse_docker_host
from flyte_images.errors import SpecError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/b.sock", Unix("/run/b.sock")),
        ("unix:///run/a%20b.sock", Unix("/run/a b.sock")),
        ("tcp://10.0.0.5:1234", Tcp("10.0.0.5", 1234)),
        ("tcp://[::1]:1234", Tcp("::1", 1234)),
        (
            "tcp://h:1?cacert=/c&cert=/d&key=/k&servername=s",
            Tcp("h", 1, Tls(ca="/c", cert="/d", key="/k", server_name="s")),
        ),
        ("docker+unix:///var/run/docker.sock", Docker(Unix("/var/run/docker.sock"))),
        ("docker+tcp://h", Docker(Tcp("h", 2375))),
        ("docker+tcp://h?cacert=/c", Docker(Tcp("h", 2376, Tls(ca="/c")))),
    ],
)
def test_addresses(text: str, address: object) -> None:
    assert parse(text) == address


def test_docker_over_ssh_dials_the_remote_socket() -> None:
    address = parse_docker_host("ssh://me@host/run/user/1000/docker.sock")
    assert isinstance(address, Command)
    assert address.argv[-5:] == ("docker", "--host", "unix:///run/user/1000/docker.sock", "system", "dial-stdio")
    assert address.argv[-6] == "host"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "buildkitd",
        "http://x:1",
        "unix://run/b.sock",
        "unix:///b.sock?x=1",
        "tcp://h",
        "tcp://:1234",
        "tcp://h:1/path",
        "tcp://h:99999",
        "tcp://h:1?cacrt=/c",
        "tcp://h:1?cert=/c",
        "docker-container://",
        "docker-container://-it",
        "docker-container://a/b",
        "docker-container://a?context=--host",
        "docker-container://a;b",
        "kube-pod://p?namespace=$(x)",
        "podman-container://a?context=c",
        "ssh://-oProxyCommand=x",
        "ssh://-l@host",
        "ssh://me:password@host",
        "docker+kube-pod://p",
    ],
)
def test_a_text_that_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.hint or text in str(caught.value)


SCHEMES = ("docker-container", "podman-container", "nerdctl-container", "kube-pod", "ssh", "docker+ssh")


@given(
    st.sampled_from(SCHEMES),
    st.text(max_size=20),
    st.sampled_from(("context", "namespace", "container")),
    st.text(max_size=20),
)
def test_nothing_in_an_address_becomes_an_option(scheme: str, name: str, option: str, value: str) -> None:
    try:
        address = parse(f"{scheme}://{name}?{option}={value}")
    except SpecError:
        return
    command = address.api if isinstance(address, Docker) else address
    assert isinstance(command, Command)
    known = {"exec", "-i", "--", "-T", "-o", "-l", "-p", "--context", "--namespace", "--host", "--addr"}
    for word in command.argv:
        assert not word.startswith("-") or word.partition("=")[0] in known | {"--container"}, command.argv
