"""The container of docs/install.md, on the network of the machine: in a module of its own, so that no stack has its ports."""

import sys

from engine import ROOT, run

sys.path.insert(0, str(ROOT / "tests/jupyterhub"))
from readme import block  # noqa: E402


def test_the_container_of_the_documents_makes_its_keys_and_runs_on_them(engine, images, tmp_path):
    engine.docker("tag", f"{images}-hublatch", "hublatch")
    text = block("container").replace("-v /etc/hublatch:", f"-v {tmp_path}:").replace("-m 750 /etc/hublatch", f"-m 750 {tmp_path}")
    *lines, last = text.splitlines()
    # Debian's client, as the engine's.
    env = {**engine.env, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
    try:
        run("sh", "-ec", "\n".join(lines), env=env)
        run("sh", "-c", f"for try in $(seq 100); do {last} && exit 0; sleep 0.2; done; docker logs hublatch; exit 1", env=env)
        assert (tmp_path / "app.key").stat().st_uid == 65532
        assert engine.docker("inspect", "--format", "{{.State.Running}} {{.RestartCount}}", "hublatch").strip() == "true 0"
    finally:
        engine.docker("rm", "--force", "hublatch")
