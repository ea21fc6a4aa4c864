"""An ssh server on the loopback interface: python ssh_server.py HOST_KEY AUTHORIZED_KEYS PROGRAMS; prints its port.

What it is asked to run is run here, with the folder PROGRAMS first on PATH.
"""

from __future__ import annotations

import asyncio
import os
import sys

import asyncssh

PIPE = asyncio.subprocess.PIPE


async def run(session: asyncssh.SSHServerProcess[bytes]) -> None:
    environ = os.environ | {"PATH": f"{sys.argv[3]}:{os.environ['PATH']}"}
    program = await asyncio.create_subprocess_shell(
        session.command or "true", stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environ
    )
    await session.redirect(stdin=program.stdin, stdout=program.stdout, stderr=program.stderr)
    session.exit(await program.wait())


async def serve() -> None:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[sys.argv[1]],
        authorized_client_keys=sys.argv[2],
        process_factory=run,
        encoding=None,
    )
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(serve())
