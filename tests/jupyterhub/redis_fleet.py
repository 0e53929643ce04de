"""A real Redis with two replicas and three Sentinels, each a process of its own, nothing of it on disk."""

import os
import shutil
import signal
import subprocess

from processes import PATIENCE, Process, free_port, wait_until

SERVICE = "mymaster"
FORGETFUL = ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0", "--bind", "127.0.0.1"]


class RedisFleet:
    def __init__(self, folder):
        assert shutil.which("redis-server"), "redis-server is missing: run tests/install.sh redis"
        self._folder, self._processes = folder, []
        primary = free_port()
        self._servers = {primary: self._start(primary, FORGETFUL)}
        for port in (free_port(), free_port()):
            self._servers[port] = self._start(port, [*FORGETFUL, "--replicaof", "127.0.0.1", str(primary)])
        wait_until(lambda: ask(primary, "PING") == ["PONG"], PATIENCE, "Redis")
        self._sentinels = [free_port() for _ in range(3)]
        for port in self._sentinels:
            config = folder / f"sentinel-{port}.conf"
            config.write_text(
                f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
                f"sentinel down-after-milliseconds {SERVICE} 1000\nsentinel failover-timeout {SERVICE} 3000\n"
            )
            self._start(port, [str(config), "--sentinel"])
        wait_until(self._knows_all, PATIENCE, "the Sentinels to know all")
        self.url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in self._sentinels)}/{SERVICE}"

    def _start(self, port, options):
        # A file of its own configuration comes first.
        first = [options.pop(0)] if options[0].endswith(".conf") else []
        process = Process(f"redis-{port}", self._folder, ["redis-server", *first, "--port", str(port), *options], {})
        self._processes.append(process)
        return process

    def _knows_all(self):
        def facts(port):
            lines = ask(port, "SENTINEL", "MASTER", SERVICE)
            return dict(zip(lines[::2], lines[1::2]))

        wanted = {"num-slaves": "2", "num-other-sentinels": "2", "flags": "master"}
        return all(wanted.items() <= facts(port).items() for port in self._sentinels)

    def primary(self):
        """The port of the one of which the Sentinels say so."""
        said = ask(self._sentinels[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return int(said[1]) if len(said) == 2 else None

    def kill_primary(self):
        """As a power cut does; the port that it had."""
        port = self.primary()
        os.kill(self._servers[port].pid, signal.SIGKILL)
        return port

    def stop(self):
        for process in self._processes:
            process.kill()


def ask(port, *command):
    """The lines of the answer; none if it does not answer."""
    done = subprocess.run(["redis-cli", "-p", str(port), *command], capture_output=True, text=True, timeout=PATIENCE)
    return done.stdout.splitlines() if done.returncode == 0 else []
