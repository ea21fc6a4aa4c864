"""Network: how far a hostile task reaches. All that is sent stays on this machine, on loopback or in namespaces."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network

import pytest

import flyte_images as flyte
from flyte_images.runner.engines import EngineName
from flyte_images_runtime.egress import netlink
from flyte_images_runtime.egress.fence import Fence, fence_off
from tests.adversarial import network_tasks as tasks
from tests.fakes.servers import NEAR, cable, inside, saying_hello

pytestmark = pytest.mark.engine


class _Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server on this machine's loopback."""
    with ThreadingHTTPServer(("127.0.0.2", 0), _Hello) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("engine", ["docker", "oci"])
def test_a_task_reaches_what_its_network_names_and_nothing_else(engine: EngineName, port: int) -> None:
    """Network: names go through the caller's proxy, refusals are counted and told, everything else is unreachable."""
    said: list[str] = []
    run = flyte.run.using(engine=engine, on_line=lambda _task, _stream, line: said.append(line))
    named = tasks.through_the_proxy.override(network=["127.0.0.2", "localhost", "*.example.com:443"])
    asked = [f"127.0.0.2:{port}", f"localhost:{port}", "evil.example:443", "a.example.com:80", "169.254.169.254:80"]
    done = run(named, asked)
    assert [answer.split(" ")[1] for answer in done.result] == ["200", "403", "403", "403", "403"]
    assert done.result[0].endswith("hello")
    leads = f"localhost:{port} (leads to "
    refused = {name.split(" (")[0] + " (" * name.startswith(leads): count for name, count in done.refused.items()}
    assert refused == dict.fromkeys(
        [f"localhost:{port} (", "evil.example:443", "a.example.com:80", "169.254.169.254:80"], 1
    )
    assert said[-1].startswith("network= refused ") and "evil.example:443" in said[-1]
    assert done.logs.text.splitlines()[-1] == said[-1]
    direct = run(tasks.past_the_proxy.override(network=["127.0.0.2"]), tasks.FAR, port)
    assert set(direct.result.values()) <= tasks.AT_ONCE


def test_warm_calls_reach_the_same_and_each_tells_its_own(port: int) -> None:
    """Network: the way out is the container's, what was refused is the call's."""
    run = flyte.run.using(engine="oci", on_line=None)
    warm = tasks.through_the_proxy.override(network=["127.0.0.2"], reusable=True)
    first, second = run(warm, ["evil.example:443"] * 2), run(warm, [f"127.0.0.2:{port}"])
    assert (first.refused, second.refused) == ({"evil.example:443": 2}, {})
    assert second.result[0].endswith("hello")


def test_a_name_server_on_this_machine_is_reached_at_its_port_alone() -> None:
    """Network: with DNS on an address of this machine, nothing else of that address is reached."""
    ends: list[str] = []
    fence = Fence((ip_network(f"{NEAR}/32"),), (ip_address(NEAR),))
    with cable() as (namespace, hardware), ExitStack() as stack:
        for port in (53, 54):
            stack.enter_context(saying_hello(stack.enter_context(socket.create_server((NEAR, port)))))

        def try_each() -> None:
            with netlink.netlink() as link:
                fence_off(link, socket.if_nametoindex("eth0"), fence, hardware)
            ends.extend(tasks.attempt(NEAR, port, device) for port in (53, 54) for device in ("", "eth0"))

        inside(namespace, try_each)
    assert ends[:3] == ["reached", "reached", "ENETUNREACH"]
    assert ends[3] in ("ETIMEDOUT", "EHOSTUNREACH")
