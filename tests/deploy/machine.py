"""A machine of the tests' own: a container whose first process is systemd."""

import subprocess
import time

from engine import DOCKER

IMAGE = "hublatch-systemd"
DOCKERFILE = """FROM debian:bookworm-slim
RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \\
    systemd systemd-sysv dbus libpam-systemd python3 openssl curl procps && rm -rf /var/lib/apt/lists
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
"""


def build(engine, dockerfile, tag, context="-"):
    """An image of the text of a Dockerfile."""
    command = [DOCKER, "build", "--quiet", "--tag", tag, *(["--file", "-", context] if context != "-" else ["-"])]
    done = subprocess.run(command, input=dockerfile, env=engine.env, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]


class Machine:
    """`given`: a folder of this machine, which it sees as /given."""

    def __init__(self, engine, given, image=IMAGE):
        self.engine, self.name = engine, image
        build(engine, DOCKERFILE, IMAGE)
        rights = ["--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"]
        places = [word for path in ("/run", "/run/lock", "/tmp") for word in ("--tmpfs", f"{path}:exec")]
        places += ["--volume", "/sys/fs/cgroup/systemd:/sys/fs/cgroup/systemd:rw", "--volume", f"{given}:/given:ro"]
        # One that an earlier run has left.
        subprocess.run([DOCKER, "rm", "--force", self.name], env=engine.env, capture_output=True, check=False)
        engine.docker("run", "--detach", "--name", self.name, *rights, *places, image)
        self.until("systemd to start", "systemctl is-system-running | grep -q -e running -e degraded")

    def sh(self, script, check=True, timeout=600):
        """What a script says; a failure of it is one of the test."""
        command = [DOCKER, "exec", self.name, "sh", "-c", script]
        done = subprocess.run(command, env=self.engine.env, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"{script}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def is_true(self, script):
        return self.sh(f"{{ {script}; }} >/dev/null 2>&1 && echo yes", check=False).strip() == "yes"

    def shown(self, unit, *names):
        """Properties of a unit."""
        lines = self.sh(f"systemctl show {unit} --property={','.join(names)}").splitlines()
        values = dict(line.split("=", 1) for line in lines)
        return [values[name] for name in names]

    def until(self, what, script, seconds=90):
        deadline = time.monotonic() + seconds
        while not self.is_true(script):
            assert time.monotonic() < deadline, f"{what}: {self.sh('journalctl --no-pager -n 80', check=False)}"
            time.sleep(0.2)

    def end(self):
        self.engine.docker("rm", "--force", self.name)
