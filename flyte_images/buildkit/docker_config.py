"""What Docker's and buildx's own settings say of where engines and builders are. Reads their files, dials nothing."""

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
    """The settings of the user whose environment this is."""

    environ: Mapping[str, str]

    @property
    def directory(self) -> Path:
        """Where Docker keeps its settings: DOCKER_CONFIG, else ~/.docker."""
        return Path(self.environ.get("DOCKER_CONFIG") or Path(self.environ.get("HOME") or "/") / ".docker")

    def host(self, value: str) -> Docker:
        """The Docker Engine at an address as DOCKER_HOST has it, with TLS if DOCKER_TLS_VERIFY says so."""
        tls = None
        if self.environ.get("DOCKER_TLS_VERIFY"):
            tls = _tls(Path(self.environ.get("DOCKER_CERT_PATH") or self.directory))
        return Docker(parse_docker_host(value, tls=tls))

    def context(self, name: str) -> Docker:
        """The Docker Engine of a Docker context."""
        if name == _DEFAULT:
            return Docker(_SOCKET)
        key = hashlib.sha256(name.encode()).hexdigest()
        file = self.directory / "contexts" / "meta" / key / "meta.json"
        meta = _json(file)
        if meta is None:
            raise EngineError(f"there is no Docker context `{name}`", hint="`docker context ls` shows them")
        endpoint = meta.get("Endpoints", {}).get("docker", {})
        certificates = self.directory / "contexts" / "tls" / key / "docker"
        tls = _tls(certificates, verify=not endpoint.get("SkipTLSVerify")) if certificates.is_dir() else None
        return Docker(parse_docker_host(endpoint.get("Host") or str(_SOCKET), tls=tls))

    def current_context(self) -> str | None:
        """The context that `docker context use` has set, if it is not the default one."""
        name = (_json(self.directory / "config.json") or {}).get("currentContext")
        return name if name and name != _DEFAULT else None

    def builder(self, name: str) -> Address:
        """The BuildKit of a buildx builder; a builder of Docker's own bears its context's name."""
        instance = _json(self._buildx / "instances" / name) if "/" not in name else None
        if instance is None:
            try:
                return self.context(name)
            except EngineError:
                raise EngineError(
                    f"there is no builder `{name}`",
                    hint="`docker buildx ls` shows them; an address has `://` in it",
                ) from None
        nodes = instance.get("Nodes") or [{}]
        return self._node(name, str(instance.get("Driver")), nodes[0])

    def current_builder(self) -> str | None:
        """The builder that `docker buildx use` has set, if it is one of its own."""
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
                known = {key: options[key] for key in ("cacert", "cert", "key", "servername") if options.get(key)}
                return parse(f"{endpoint}?{urlencode(known)}" if known else endpoint)
        raise EngineError(f"the builder `{name}` has an unknown driver `{driver}`")

    def _engine(self, endpoint: str) -> Docker:
        return self.host(endpoint) if "://" in endpoint else self.context(endpoint or _DEFAULT)


def _deployment(name: str, endpoint: str, options: Mapping[str, str]) -> Command:
    """kubectl finds a pod of the deployment by itself."""
    query = parse_qs(urlsplit(endpoint).query)
    deployment = query.get("deployment", [name])[0]
    config = ("--kubeconfig", query["kubeconfig"][0]) if "kubeconfig" in query else ()
    namespace = ("--namespace", options["namespace"]) if options.get("namespace") else ()
    inside = ("exec", "-i", f"deployment/{deployment}", "--", "buildctl", "dial-stdio")
    return Command(("kubectl", *config, *namespace, *inside), f"buildx builder {name}")


def _tls(directory: Path, *, verify: bool = True) -> Tls:
    """The files of a directory as Docker lays them out; each may be missing."""
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
