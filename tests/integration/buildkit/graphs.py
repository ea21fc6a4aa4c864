"""Small graphs for these tests, written directly as LLB messages, so that a test covers only the client."""

from __future__ import annotations

import hashlib
import secrets

from flyte_images.llb.pb import ops_pb2 as pb

PLATFORM = pb.Platform(OS="linux", Architecture="amd64")


class Graph:
    """Ops by their digests. Each method adds one and returns its digest."""

    def __init__(self) -> None:
        self.ops: dict[str, bytes] = {}
        self.metadata: dict[str, pb.OpMetadata] = {}
        self.locations: dict[str, tuple[str, int]] = {}

    def add(self, op: pb.Op, name: str = "") -> str:
        kind = op.WhichOneof("op")
        assert kind is not None
        head = pb.Op(inputs=op.inputs, platform=op.platform if op.HasField("platform") else None)
        body = pb.Op(**{kind: getattr(op, kind)})
        data = head.SerializeToString(deterministic=True) + body.SerializeToString(deterministic=True)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.ops[digest] = data
        self.metadata[digest] = pb.OpMetadata(description={"llb.customname": name} if name else {})
        return digest

    def layout(self, digest: str, store: str = "base") -> str:
        source = pb.SourceOp(identifier=f"oci-layout://flyte/base@{digest}", attrs={"oci.store": store})
        return self.add(pb.Op(platform=PLATFORM, source=source))

    def image(self, ref: str) -> str:
        return self.add(pb.Op(platform=PLATFORM, source=pb.SourceOp(identifier=f"docker-image://{ref}")))

    def http(self, url: str, checksum: str) -> str:
        return self.add(pb.Op(source=pb.SourceOp(identifier=url, attrs={"http.checksum": checksum})))

    def tarball(self, source: str, name: str) -> str:
        """The contents of a tarball that is the file `name` of a local source."""
        attrs = {"local.unique": source, "local.sharedkeyhint": source}
        found = self.add(pb.Op(source=pb.SourceOp(identifier=f"local://{source}", attrs=attrs)))
        op = pb.Op()
        op.inputs.add(digest=found)
        unpack = pb.FileActionCopy(
            src=f"/{name}", dest="/", mode=-1, timestamp=-1, attemptUnpackDockerCompatibility=True, createDestPath=True
        )
        op.file.actions.add(input=-1, secondaryInput=0, output=0, copy=unpack)
        return self.add(op)

    def file(self, path: str, data: bytes) -> str:
        op = pb.Op()
        made = pb.FileActionMkFile(path=path, data=data, mode=0o640, timestamp=1_000_000_000)
        op.file.actions.add(input=-1, secondaryInput=-1, output=0, mkfile=made)
        return self.add(op)

    def run(self, base: str, script: str, *mounts: pb.Mount, name: str = "") -> str:
        """Run a shell script over `base`, without a network. Its result is the changed root."""
        return self.command(base, ("/bin/sh", "-ec", script), *mounts, name=name)

    def command(
        self, base: str, argv: tuple[str, ...], *mounts: pb.Mount, env: tuple[str, ...] = ("PATH=/bin",), name: str = ""
    ) -> str:
        op = pb.Op(platform=PLATFORM)
        op.inputs.add(digest=base)
        op.exec.meta.args.extend(argv)
        op.exec.meta.env.extend(env)
        op.exec.meta.cwd = "/"
        op.exec.network = pb.NONE
        op.exec.mounts.add(input=0, dest="/", output=0)
        op.exec.mounts.extend(mounts)
        return self.add(op, name)

    def copy(self, source: str, path: str, dest: str, *, timestamp: int = -1) -> str:
        """A tree of its own with the contents of `path` of another."""
        op = pb.Op()
        op.inputs.add(digest=source)
        copied = pb.FileActionCopy(
            src=path, dest=dest, mode=-1, timestamp=timestamp, dirCopyContents=True, createDestPath=True
        )
        op.file.actions.add(input=-1, secondaryInput=0, output=0, copy=copied)
        return self.add(op)

    def definition(self, head: str) -> bytes:
        last = pb.Op()
        last.inputs.add(digest=head)
        definition = pb.Definition(metadata=self.metadata)
        getattr(definition, "def").extend((*self.ops.values(), last.SerializeToString()))
        for index, (digest, (file, line)) in enumerate(self.locations.items()):
            definition.Source.infos.add(filename=file, data=b"\n" * line)
            place = definition.Source.locations[digest].locations.add(sourceIndex=index).ranges.add()
            place.start.line = place.end.line = line
        return definition.SerializeToString()


def secret(name: str, *, optional: bool = False) -> pb.Mount:
    """The secret `name` as the file /run/secrets/NAME."""
    option = pb.SecretOpt(ID=name, mode=0o400, optional=optional)
    return pb.Mount(input=-1, output=-1, dest=f"/run/secrets/{name}", mountType=pb.SECRET, secretOpt=option)


def salt() -> str:
    """Return a random word: a step with this word is in no engine's cache."""
    return secrets.token_hex(8)
