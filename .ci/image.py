"""Writes a container image as an archive for `docker load`, without an engine: of one layout, always the same bytes.

What it runs and as whom stands in docker/Dockerfile alone: the last stage of it is read here.
"""

import datetime
import gzip
import hashlib
import io
import json
import re
import shlex
import tarfile

# One engine's name for what `uname -m` says.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SECONDS = {"s": 1, "m": 60}


def settings(dockerfile, arguments):
    """The configuration that the last stage of a Dockerfile makes, as far as ours use it."""
    stage = re.split(r"^FROM .*$", dockerfile.replace("\\\n", " "), flags=re.M)[-1]
    made = {"Env": [], "Labels": {}, "ExposedPorts": {}}
    known = {}
    for line in stage.splitlines():
        word, _, rest = line.strip().partition(" ")
        rest = re.sub(r"\$\{(\w+)\}", lambda found: known[found.group(1)], rest)
        if word == "ARG":
            name, _, default = rest.partition("=")
            known[name] = arguments.get(name, default)
        elif word == "LABEL":
            made["Labels"].update(pair.split("=", 1) for pair in shlex.split(rest))
        elif word == "ENV":
            made["Env"].append(rest)
        elif word == "EXPOSE":
            made["ExposedPorts"][f"{rest}/tcp"] = {}
        elif word == "USER":
            made["User"] = rest
        elif word == "HEALTHCHECK":
            made["Healthcheck"] = health(rest)
        elif word in ("ENTRYPOINT", "CMD"):
            made[{"ENTRYPOINT": "Entrypoint", "CMD": "Cmd"}[word]] = json.loads(rest)
        elif word not in ("", "COPY") and not word.startswith("#"):
            raise SystemExit(f"image: what does {word} mean? {line}")
    return made


def health(text):
    """HEALTHCHECK --interval=10s … CMD [...], with the nanoseconds that engines count."""
    options, _, command = text.partition("CMD ")
    made = {"Test": ["CMD", *json.loads(command)]}
    for name, number, unit in re.findall(r"--([a-z-]+)=(\d+)([sm])", options):
        key = "".join(part.capitalize() for part in name.split("-"))
        made[key] = int(number) * SECONDS[unit] * 10**9
    return made


def layer(folder, date):
    """The files of a folder as a tar archive: root's, sorted, all of one time."""
    buffer = io.BytesIO()

    def plain(info):
        info.uid = info.gid = 0
        info.uname = info.gname = "root"
        info.mtime = date
        # Whatever the umask was.
        if not info.issym():
            info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
        return info

    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
    return buffer.getvalue()


def write(archive, folder, dockerfile, *, name, date, machine, arguments):
    """Writes the image of `folder`, called `name`, into `archive` (.tar.gz)."""
    files = layer(folder, date)
    digest = hashlib.sha256(files).hexdigest()
    config = {
        "architecture": ARCHITECTURES[machine],
        "os": "linux",
        "created": stamp(date),
        "config": settings(dockerfile, arguments),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": stamp(date), "created_by": "make release"}],
    }
    text = json.dumps(config, sort_keys=True).encode()
    names = {"Config": f"{hashlib.sha256(text).hexdigest()}.json", "Layers": [f"{digest}/layer.tar"]}
    manifest = json.dumps([{**names, "RepoTags": [name]}]).encode()
    with archive.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as outer:
            for entry, data in [(names["Layers"][0], files), (names["Config"], text), ("manifest.json", manifest)]:
                info = tarfile.TarInfo(entry)
                info.size, info.mtime = len(data), date
                outer.addfile(info, io.BytesIO(data))


def stamp(date):
    """Seconds since 1970 as RFC 3339 has them."""
    return datetime.datetime.fromtimestamp(date, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
