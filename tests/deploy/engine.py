"""A Docker engine of the tests' own, in a network namespace of its own, so that neither bridges nor iptables rules reach
this machine; builds get out by slirp4netns, which needs no rules either."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "target/deploy"
# Debian's client: it can use BuildKit without a plug-in. Another docker may come first in PATH.
DOCKER = "/usr/bin/docker"
COMPOSE = ROOT / "target/venv-deploy/bin/docker-compose"


class Engine:
    """Its images stay in target/deploy from one run to the next; the processes and the namespace do not."""

    def __init__(self, runtime):
        self.name = f"hublatch-{os.getpid()}"
        self.runtime = runtime
        self.processes = []
        STATE.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.end()
            raise

    def _start(self):
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")
        outwards = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", "--netns-type=path"]
        self._spawn("slirp4netns", [*outwards, f"/run/netns/{self.name}", "tap0"])
        daemon = ["dockerd", "--data-root", STATE / "docker", "--exec-root", self.runtime / "exec"]
        daemon += ["--host", self.socket, "--pidfile", self.runtime / "docker.pid", "--dns", "10.0.2.3"]
        self._spawn("dockerd", [*self.inside(), *daemon])
        deadline = time.monotonic() + 120
        while subprocess.run([DOCKER, "info"], env=self.env, capture_output=True).returncode:
            ended = self.processes[-1].poll()
            assert ended is None and time.monotonic() < deadline, (self.runtime / "dockerd.log").read_text()[-4000:]
            time.sleep(0.2)

    def _spawn(self, name, command):
        log = (self.runtime / f"{name}.log").open("wb")
        self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    @property
    def socket(self):
        return f"unix://{self.runtime}/docker.sock"

    @property
    def env(self):
        """Nothing of another engine's, such as a DOCKER_CONTEXT."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER_", "COMPOSE_"))}
        return {**kept, "DOCKER_HOST": self.socket, "DOCKER_BUILDKIT": "1", "DOCKER": DOCKER}

    def inside(self):
        """What a command begins with that sees the ports which the engine publishes."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def docker(self, *arguments, **options):
        return run(DOCKER, *arguments, env=self.env, **options)

    def logs(self, container):
        """What it wrote to stderr, where hublatch logs."""
        return run("sh", "-c", 'exec "$0" logs "$1" 2>&1 >/dev/null', DOCKER, container, env=self.env)

    def compose(self, file, *arguments, **options):
        return run(COMPOSE, "--file", ROOT / file, *arguments, env=self.env, **options)

    def state(self, container):
        return json.loads(self.docker("inspect", container))[0]["State"]

    def end(self):
        for process in reversed(self.processes):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            with suppress(ProcessLookupError):
                process.kill()
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)
        # A container on the network of the machine leaves that namespace mounted.
        for line in Path("/proc/mounts").read_text().splitlines():
            mounted = line.split()[1]
            if mounted.startswith(f"{self.runtime}/"):
                subprocess.run(["umount", mounted], check=False, capture_output=True)


def run(*command, env=None, timeout=600):
    """The output; or a failure with all that the command said."""
    done = subprocess.run(
        [str(part) for part in command], env=env, timeout=timeout, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def binary():
    """The hublatch that goes into the images: HUBLATCH_BIN, or the one of `make build`."""
    path = Path(os.environ.get("HUBLATCH_BIN", ROOT / "target/release/hublatch"))
    assert path.exists(), f"{path} is missing: run `make build`, or set HUBLATCH_BIN"
    return path


def only(folder, pattern):
    """The one file of a folder that has such a name."""
    found = sorted(folder.glob(pattern))
    assert len(found) == 1, f"{folder} must hold one {pattern}, and has {[file.name for file in found]}"
    return found[0]


def missing(*programs):
    return [program for program in programs if not shutil.which(program)]
