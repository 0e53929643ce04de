"""What the tests of deployments share: one Docker engine with the images of this tree."""

import tempfile
from pathlib import Path

import pytest

from engine import ROOT, Engine, binary, missing, only, run

# The name under which compose.yaml's services are built (Compose names them so).
PROJECT = "hublatch-demo"


@pytest.fixture(scope="session")
def engine():
    assert not missing("dockerd", "slirp4netns", "mmdebstrap", "ip", "nsenter"), "run tests/install.sh deploy, as root"
    # A socket's path has at most 107 bytes, so not below target/.
    with tempfile.TemporaryDirectory(prefix="hublatch-engine-") as runtime:
        engine = Engine(Path(runtime))
        try:
            yield engine
        finally:
            engine.end()


@pytest.fixture(scope="session")
def images(engine, tmp_path_factory):
    """The images of compose.yaml, made of the binary that was built outside."""
    run(ROOT / "docker/images.sh", "--no-pull", env=engine.env)
    context = tmp_path_factory.mktemp("context")
    run(ROOT / "docker/stage.sh", binary(), context / "image")
    (context / "docker").mkdir()
    (context / "docker/init.sh").write_bytes((ROOT / "docker/init.sh").read_bytes())
    (context / "docker/init.sh").chmod(0o755)
    dockerfile = ROOT / "docker/Dockerfile"
    prebuilt = ["--build-arg", "FILES=prebuilt", "--build-arg", "BASE=debian:bookworm-slim", "--file", dockerfile]
    engine.docker("build", "--quiet", *prebuilt, "--target", "init", "--tag", f"{PROJECT}-init", context)
    engine.docker("build", "--quiet", *prebuilt, "--tag", f"{PROJECT}-hublatch", context)
    for name in ("hub", "portal"):
        file = ROOT / f"docker/{name}/Dockerfile"
        engine.docker("build", "--quiet", "--file", file, "--tag", f"{PROJECT}-{name}", ROOT, timeout=900)
    return PROJECT


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    """The Debian package of that binary."""
    folder = tmp_path_factory.mktemp("deb")
    run(ROOT / "config/debian/build.sh", binary(), folder)
    return only(folder, "hublatch_*.deb")
