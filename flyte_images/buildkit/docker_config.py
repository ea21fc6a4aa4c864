"""Docker's and buildx's settings -> the addresses of engines and builders. Reads files, connects to nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flyte_images_layers.record import record

from ..errors import EngineError
from .address import Address, Command, Docker, Tls, Unix, parse, parse_docker_host

_DEFAULT = "default"
_SOCKET = Unix("/var/run/docker.sock")


@record
class DockerSettings:
    """The settings of the user with this environment."""

    environ: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """The directory of Docker's settings: DOCKER_CONFIG, else ~/.docker."""
        return Path(self.environ.get("DOCKER_CONFIG") or Path(self.environ.get("HOME") or "/") / ".docker")

    def host(self, value: str) -> Docker:
        """Return the Docker Engine of a DOCKER_HOST value, with TLS if DOCKER_TLS_VERIFY is set."""
        tls = None
        if self.environ.get("DOCKER_TLS_VERIFY"):
            tls = _tls(Path(self.environ.get("DOCKER_CERT_PATH") or self.directory))
        return Docker(parse_docker_host(value, tls=tls))

    def context(self, name: str) -> Docker:
        """Return the Docker Engine of a Docker context. Raises EngineError for an unknown context."""
        if name == _DEFAULT:
            return Docker(_SOCKET)
        key = hashlib.sha256(name.encode()).hexdigest()
        file = self.directory / "contexts" / "meta" / key / "meta.json"
        meta = _json(file)
        if meta is None:
            raise EngineError(f"there is no Docker context `{name}`", hint="`docker context ls` lists the contexts")
        endpoint = meta.get("Endpoints", {}).get("docker", {})
        certificates = self.directory / "contexts" / "tls" / key / "docker"
        tls = _tls(certificates, verify=not endpoint.get("SkipTLSVerify")) if certificates.is_dir() else None
        return Docker(parse_docker_host(endpoint.get("Host") or str(_SOCKET), tls=tls))

    def current_context(self) -> str | None:
        """Return the context that `docker context use` has set, or None for the default context."""
        name = (_json(self.directory / "config.json") or {}).get("currentContext")
        return name if name and name != _DEFAULT else None

    def builder(self, name: str) -> Address:
        """Return the BuildKit of a buildx builder; Docker's built-in builders have the names of Docker contexts.

        Raises EngineError for an unknown builder.
        """
        instance = _json(self._buildx / "instances" / name) if "/" not in name else None
        if instance is None:
            try:
                return self.context(name)
            except EngineError:
                raise EngineError(
                    f"there is no builder `{name}`",
                    hint="`docker buildx ls` lists the builders; an address contains `://`",
                ) from None
        nodes = instance.get("Nodes") or [{}]
        return self._node(name, str(instance.get("Driver")), nodes[0])

    def current_builder(self) -> str | None:
        """Return the builder that `docker buildx use` has set, or None for the default builder."""
        name = (_json(self._buildx / "current") or {}).get("Name")
        return name if name and name != _DEFAULT else None

    @property
    def _buildx(self) -> Path:
        return Path(self.environ.get("BUILDX_CONFIG") or self.directory / "buildx")

    def _node(self, name: str, driver: str, node: Mapping[str, Any]) -> Address:
        endpoint, options = str(node.get("Endpoint", "")), node.get("DriverOpts") or {}
        match driver:
            case "docker":
                return self._engine(endpoint)
            case "docker-container":
                at = ("--host", endpoint) if "://" in endpoint else ("--context", endpoint or _DEFAULT)
                inside = ("exec", "-i", f"buildx_buildkit_{node['Name']}", "buildctl", "dial-stdio")
                return Command(("docker", *at, *inside), f"buildx builder {name}")
            case "kubernetes":
                return _deployment(name, endpoint, options)
            case "remote":
                tls = {key: options[key] for key in ("cacert", "cert", "key", "servername") if options.get(key)}
                return parse(f"{endpoint}?{urlencode(tls)}" if tls else endpoint)
        raise EngineError(f"the builder `{name}` has an unknown driver `{driver}`")

    def _engine(self, endpoint: str) -> Docker:
        return self.host(endpoint) if "://" in endpoint else self.context(endpoint or _DEFAULT)


def _deployment(name: str, endpoint: str, options: Mapping[str, str]) -> Command:
    """Return the command to reach a builder in Kubernetes; kubectl finds a pod of the deployment."""
    query = parse_qs(urlsplit(endpoint).query)
    deployment = query.get("deployment", [name])[0]
    config = ("--kubeconfig", query["kubeconfig"][0]) if "kubeconfig" in query else ()
    namespace = ("--namespace", options["namespace"]) if options.get("namespace") else ()
    inside = ("exec", "-i", f"deployment/{deployment}", "--", "buildctl", "dial-stdio")
    return Command(("kubectl", *config, *namespace, *inside), f"buildx builder {name}")


def _tls(directory: Path, *, verify: bool = True) -> Tls:
    """Return the certificates of a directory with Docker's file names; each file may be missing."""
    ca, cert, key = (str(directory / f"{name}.pem") for name in ("ca", "cert", "key"))
    has_client = Path(cert).exists() and Path(key).exists()
    return Tls(
        ca=ca if Path(ca).exists() else None,
        cert=cert if has_client else None,
        key=key if has_client else None,
        verify=verify,
    )


def _json(file: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise EngineError(f"cannot read `{file}`: {error}") from None
