"""make bench: whole processes side by side, in one run, on an engine and a registry of the bench's own.

    python -m tests.bench [--rounds 5] [--only "flyte-images;flyte;..."] [--cases builds,push,client] [--directory D]

The table goes to stdout, every sample to a JSON file, progress to stderr. A failed sample is named below the table and
the bench goes on; each sample is also appended to a file of JSON lines as it comes.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from . import report
from .bases import prepare_images
from .contenders import REPOSITORY, Dockerfile, Flyte, Ours
from .engine import Engine, engine, registry
from .rounds import Contender, Results, build_rounds, client_rounds, many, pushes

NOTES = """\
Medians of {rounds} interleaved rounds (5 no-op builds in each; {clients} runs of what needs no engine); in brackets the
multiple of the first column. {machine}.

Warm for all: the engine runs, the base image is in it. Cold: no build cache, no cache mounts, no image but the base,
and on the client neither a kept resolution nor index metadata. httpx is added right after, so all but httpx is warm.
All images hold the same packages in /opt/venv, byte-compiled, and a folder of 20 sources; steps that want a network
have the host's. `flyte` is its builder called directly (its command line would ask a registry first, about a second
more), without the `# syntax` line of its template (it would be pulled); its Debian base always installs
build-essential by apt, which `flyte from_base` leaves out. The uv Dockerfile is in tests/bench/contenders.py: one RUN
installs what requirements.txt names, as everywhere; its column `zstd` replaces `--load` and `--push` by an exporter
with zstd, which few people type but which is faster. Pushed: bytes of the new blobs in a registry on the loopback
interface. The twenty images are built by one `flyte-images build`, and by one `docker buildx build` after the other."""


def main() -> None:
    options = _options()
    missing = [name for name in ("docker", "mmdebstrap", "docker-registry") if shutil.which(name) is None]
    if missing:
        sys.exit(
            f"bench: {', '.join(missing)} not found\n\nhint: apt-get install docker-buildx mmdebstrap docker-registry"
        )
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR)  # held as long as this process lives
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"bench: another one is at work in {directory}")
    uv = str(Path(sys.executable).with_name("uv"))
    print(f"bench: load {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores; working in {directory}", file=sys.stderr)
    kept = options.out.with_suffix(".jsonl")
    kept.unlink(missing_ok=True)
    results = Results(kept=kept)
    flyte = Flyte(directory, uv=uv)
    base, uv_image = flyte.images_of_its_template()
    everyone: list[Contender] = [
        Ours(directory),
        flyte,
        Dockerfile(directory, base=base, uv_image=uv_image),
        Dockerfile(directory, base=base, uv_image=uv_image, zstd=True),
        Flyte(directory, uv=uv, slim=True),
    ]
    contenders = [one for one in everyone if not options.only or one.label in options.only.split(";")]
    cases = options.cases.split(",")
    with engine(directory) as own:
        prepare_images(own, directory, base=base, uv_image=uv_image, uv=uv)
        machine = _machine(own, flyte, uv)
        if "client" in cases:
            client_rounds(own, contenders, results, rounds=options.client_rounds)
        if "builds" in cases:
            build_rounds(own, contenders, results, rounds=options.rounds, keep=(base, uv_image))
        if "push" in cases:
            for contender in contenders:
                if not contender.cold_only:
                    with registry(directory) as store, results.going_on(contender.label, "pushes"):
                        pushes(own, store, contender, results)
        if "many" in cases:
            for contender in contenders:
                if isinstance(contender, Ours | Dockerfile):
                    with registry(directory) as store, results.going_on(contender.label, "many images"):
                        many(own, store, contender, results, keep=(base, uv_image))
    machine["load_after"] = round(os.getloadavg()[0], 2)
    document = report.document(results.samples, machine=machine, inside=results.facts, missing=results.missing)
    options.out.write_text(json.dumps(document, indent=1) + "\n")
    facts = f"{machine['cores']} cores, Docker Engine {machine['engine']}, flyte {machine['flyte']}, {machine['date']}"
    notes = NOTES.format(rounds=options.rounds, clients=options.client_rounds, machine=facts)
    table = report.table(results.samples, tuple(one.label for one in contenders))
    content = "\n\n".join(part for part in (table, report.missing_samples(results.missing), notes) if part)
    print(content)
    if options.readme:
        readme = REPOSITORY / "README.md"
        readme.write_text(report.between_marks(readme.read_text(), content))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of builds (default 5)")
    parser.add_argument("--client-rounds", type=int, default=15, help="runs of what needs no engine (default 15)")
    parser.add_argument("--only", help="contenders by their column, separated by semicolons")
    parser.add_argument("--cases", default="client,builds,push,many", help="any of client,builds,push,many")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    parser.add_argument(
        "--directory", type=Path, default=home / "flyte-images-bench", help="where engine and files live"
    )
    parser.add_argument("--readme", action="store_true", help="put the table into README.md")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).with_name("result.json"),
        help="the JSON document; samples as they come go beside it, .jsonl",
    )
    return parser.parse_args()


def _machine(own: Engine, flyte: Flyte, uv: str) -> dict[str, object]:
    def first_line(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip().splitlines()[0]

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "engine": own.version(),
        "buildx": first_line("docker", "buildx", "version").split()[1],
        "uv": first_line(uv, "--version").split()[1],
        "flyte": flyte.version(),
        "load_before": round(os.getloadavg()[0], 2),
        "disk_free_gb": shutil.disk_usage("/").free // 10**9,
    }


if __name__ == "__main__":
    main()
