"""The hosts that `network=[...]` names, and the addresses to which a name may lead."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

import flyte_images as flyte
from flyte_images.errors import SpecError
from flyte_images_runtime.egress.addresses import bridged_networks, own_addresses
from flyte_images_runtime.egress.allowlist import Allowlist, parse
from flyte_images_runtime.egress.upstream import upstream_for


@pytest.mark.parametrize(
    ("entry", "asked", "named"),
    [
        ("example.org", "example.org:443", True),
        ("Example.ORG.", "EXAMPLE.org.:443", True),
        ("example.org", "a.example.org:443", False),
        ("example.org", "notexample.org:443", False),
        ("*.example.com", "a.b.example.com:1", True),
        ("*.example.com", "example.com:1", False),
        ("*.example.com", "evilexample.com:1", False),
        ("example.org:443", "example.org:80", False),
        ("bücher.example", "xn--bcher-kva.example:443", True),
        ("192.0.2.1", "192.0.2.1:80", True),
        ("192.0.2.1", "3221225985:80", False),
        ("10.0.0.0/8:80", "10.1.2.3:80", True),
        ("10.0.0.0/8:80", "10.1.2.3:81", False),
        ("[2001:db8::1]:80", "2001:db8:0::1:80", True),
        ("2001:db8::1", "2001:db8::2:80", False),
    ],
)
def test_an_entry_matches_its_hosts_and_ports(entry: str, asked: str, named: bool) -> None:
    host, _, port = asked.rpartition(":")
    assert Allowlist.of([entry]).names(host, int(port)) is named


INSIDE = (
    *(
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "9.9.9.9",
        "::1",
    ),
    *("::1", "fe80::1", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::"),
)


@pytest.mark.parametrize("address", INSIDE)
def test_a_name_does_not_lead_to_internal_addresses(address: str) -> None:
    """Network: an allowed name on an attacker's name server reaches nothing in this network."""
    own = {ipaddress.ip_address("9.9.9.9")}
    found = ipaddress.ip_address(address)
    assert not Allowlist.of(["example.org"]).leads_to(found, 443, own)
    assert Allowlist.of(["example.org", address]).leads_to(found, 443, own)


def test_a_name_leads_to_public_addresses() -> None:
    for text in ("8.8.8.8", "2001:4860:4860::8888", "64:ff9b::808:808"):
        assert Allowlist.of(["example.org"]).leads_to(ipaddress.ip_address(text), 443, set())


@pytest.mark.parametrize(
    "entry", ["", "*", "a b", "http://example.org", "example.org/x", "*.*.org", "a.*.org", "10.0.0.1/8", "1.2.3", "x:0"]
)
def test_text_that_is_not_an_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        parse(entry)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (["https://example.org"], "`https://example.org` is not a name"),
        (["example.org:x"], "`x` is not a port"),
        (["outbound", "example.org"], "`outbound` cannot be in a list"),
        ([7], "7 is not a name"),
        (7, "7 is not a name"),
        ("example.org", "network='example.org' is not known"),
    ],
)
def test_a_mistake_is_an_error_with_the_users_line(network: object, said: str) -> None:
    with pytest.raises(SpecError) as refused:
        flyte.TaskEnvironment(name="n", network=network)  # type: ignore[arg-type]
    assert said in str(refused.value) and refused.value.location is not None
    assert refused.value.location.file == __file__


def test_a_list_of_names_has_only_these_names() -> None:
    assert flyte.TaskEnvironment(name="n", network=["a.example"]).options.network == ("a.example",)
    assert flyte.TaskEnvironment(name="m", network=[]).options.network == "none"


def test_this_machines_addresses_and_bridges_are_read(tmp_path: Path) -> None:
    net = tmp_path / "proc/net"
    net.mkdir(parents=True)
    (tmp_path / "sys/class/net/docker0/bridge").mkdir(parents=True)
    (net / "fib_trie").write_text(
        "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 172.17.0.1\n        /32 host LOCAL\n"
        "     |-- 172.17.255.255\n        /32 link BROADCAST\n"
    )
    (net / "if_inet6").write_text("fe800000000000000000000000000001 02 40 20 80 eth0\n")
    (net / "route").write_text(
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        "eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
    )
    assert {str(one) for one in own_addresses(tmp_path / "proc")} == {"172.17.0.1", "fe80::1"}
    assert {str(one) for one in bridged_networks(tmp_path / "proc", tmp_path / "sys")} == {"172.17.0.0/16"}


def test_connections_go_through_this_machines_own_proxy() -> None:
    environ = {"HTTP_PROXY": "proxy.lan:1", "https_proxy": "http://me:p%40w@proxy.lan", "NO_PROXY": "in.lan, .x.lan"}
    found = upstream_for("example.org", 443, environ)
    assert found is not None and found.connect("example.org", 443) == (
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nProxy-Authorization: Basic bWU6cEB3\r\n\r\n"
    )
    assert (plain := upstream_for("example.org", 80, environ)) is not None and (plain.host, plain.port) == (
        "proxy.lan",
        1,
    )
    assert [upstream_for(one, 443, environ) for one in ("in.lan", "a.in.lan", "a.x.lan", "127.0.0.1")] == [None] * 4
    with pytest.raises(OSError, match="socks5://"):
        upstream_for("example.org", 443, {"ALL_PROXY": "socks5://proxy.lan"})
