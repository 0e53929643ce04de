"""`make release`, as far as nothing is built: what is cut, refused, remapped, taken out and summed up."""

import gzip
import importlib.util
import json
import os
import re
import subprocess
import zipfile

import pytest

from engine import ROOT, binary, only, run

spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
release = importlib.util.module_from_spec(spec)
spec.loader.exec_module(release)

CHANGELOG = "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 - 2026-01-01\n\n- Old.\n"


def test_what_is_unreleased_becomes_the_version_and_the_heading_stays():
    wanted = "# Changelog\n\n## Unreleased\n\n## 0.2.0 - 2026-02-03\n\n- New.\n\n## 0.1.0 - 2026-01-01\n\n- Old.\n"
    assert release.cut(CHANGELOG, "0.2.0", "2026-02-03") == wanted


@pytest.mark.parametrize(
    ("changelog", "number"),
    [(CHANGELOG, "0.1.0"), (CHANGELOG.replace("- New.\n\n", ""), "0.2.0"), ("# Changelog\n", "0.2.0")],
    ids=["released before", "nothing new", "no heading"],
)
def test_nothing_is_cut_that_is_no_release(changelog, number):
    with pytest.raises(SystemExit):
        release.cut(changelog, number, "2026-02-03")


def test_the_changelog_and_the_version_of_this_tree_can_be_cut():
    number = release.version((ROOT / "Cargo.toml").read_text())
    cut = release.cut((ROOT / "CHANGELOG.md").read_text(), number, "2026-02-03")
    assert release.unfit(cut, number, "") == ""


def test_a_tree_with_changes_or_without_its_heading_is_not_released():
    assert "not committed" in release.unfit(CHANGELOG, "0.1.0", " M src/lib.rs\n")
    assert "no heading for 0.2.0" in release.unfit(CHANGELOG, "0.2.0", "")
    assert release.unfit(CHANGELOG, "0.1.0", "") == ""


def test_no_folder_of_this_machine_is_left_in_what_the_compiler_writes(tmp_path):
    env = release.environment({"HOME": "/home/me", "PATH": "/bin", "RUSTFLAGS": "-C debuginfo=0"}, ROOT)
    assert env["RUSTFLAGS"].split() == [
        "-C",
        "debuginfo=0",
        "--remap-path-prefix=/home/me/.cargo=/cargo",
        f"--remap-path-prefix={ROOT}=/hublatch",
    ]
    assert f"-ffile-prefix-map={ROOT}=/hublatch" in env["CFLAGS"] and env["SOURCE_DATE_EPOCH"].isdigit()
    # Two folders, one binary.
    made = []
    for name in ("one", "another-of-another-length"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "main.rs").write_text('fn main() { panic!("{}", file!()) }')
        flags = [f"--remap-path-prefix={folder}=/hublatch", "-Ccodegen-units=1", "-o", folder / "out"]
        subprocess.run(["rustc", folder / "main.rs", *flags], cwd=folder, check=True)
        made.append((folder / "out").read_bytes())
        assert str(tmp_path).encode() not in made[-1]
    assert made[0] == made[1]


def test_the_image_is_built_with_every_file_that_the_source_includes():
    stage = (ROOT / "docker/Dockerfile").read_text().split(" AS build\n")[1].split("\nFROM ")[0]
    copied = [word for line in re.findall(r"^COPY (.+)$", stage, re.M) for word in line.split()[:-1]]
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    included = set()
    for file in (ROOT / "src").rglob("*.rs"):
        for path in re.findall(r'include_(?:str|bytes)!\(\s*"([^"]+)"', file.read_text()):
            included.add(os.path.relpath(file.parent / path, ROOT))
    assert len(included) > 20
    for places in (copied, let_in):
        assert not [path for path in included if not any(f"{path}/".startswith(f"{place}/") for place in places)]


def wheel(path, names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return path


def test_the_bill_of_materials_and_the_program_are_taken_out_of_the_wheel(tmp_path):
    inside = ["hublatch-0.1.0.dist-info/sboms/hublatch.cyclonedx.json", "hublatch-0.1.0.data/scripts/hublatch", "hublatch/__init__.py"]
    release.bill_of_materials(wheel(tmp_path / "a.whl", inside), tmp_path)
    assert (tmp_path / "hublatch.cyclonedx.json").exists()
    program = release.unpacked(tmp_path / "a.whl", tmp_path / "program")
    assert program.read_text() == "x" and program.stat().st_mode & 0o111
    with pytest.raises(SystemExit):
        release.bill_of_materials(wheel(tmp_path / "b.whl", inside[1:]), tmp_path)


def bill(folder, number):
    package = f"path+file:///home/me/{folder}#hublatch@0.1.0"
    return json.dumps({
        "serialNumber": f"urn:uuid:{number}",
        "metadata": {"timestamp": number, "component": {"bom-ref": package}},
        "dependencies": [{"ref": package}, {"ref": "registry+https://example.org#serde@1"}],
    })


def test_two_wheels_of_one_commit_become_the_same(tmp_path):
    made = []
    for folder, mode in (("one", 0o664), ("another", 0o600)):
        file = tmp_path / f"{folder}.whl"
        with zipfile.ZipFile(file, "w") as archive:
            entries = {
                "h.dist-info/RECORD": "old",
                "h.dist-info/sboms/hublatch.cyclonedx.json": bill(folder, folder),
                "h.data/scripts/hublatch": "program",
                "hublatch/__init__.py": "",
            }
            for name, text in entries.items() if folder == "one" else reversed(entries.items()):
                info = zipfile.ZipInfo(name)
                info.external_attr = (mode | (0o100 if "scripts" in name else 0)) << 16
                archive.writestr(info, text)
        release.normalise(file, 1_700_000_000)
        made.append(file.read_bytes())
    assert made[0] == made[1]
    assert b"/home/me" not in made[0]
    # pip checks every file by RECORD.
    subprocess.run(["python3", "-m", "zipfile", "-t", tmp_path / "one.whl"], check=True, capture_output=True)
    with zipfile.ZipFile(tmp_path / "one.whl") as archive:
        lines = archive.read("h.dist-info/RECORD").decode().splitlines()
        assert lines[-1] == "h.dist-info/RECORD,," and len(lines) == 4
        for line in lines[:-1]:
            name = line.split(",")[0]
            assert release.recorded(name, archive.read(name)) == line + "\n"
        assert archive.getinfo("h.data/scripts/hublatch").external_attr >> 16 == 0o100755


def archived(folder, file):
    dockerfile = (ROOT / "docker/Dockerfile").read_text()
    options = {"name": "hublatch-of-an-archive:0.1.0", "date": 1_700_000_000, "machine": os.uname().machine}
    release.image.write(file, folder, dockerfile, arguments={}, **options)
    return file.read_bytes()


def test_of_one_layout_the_image_is_always_the_same(tmp_path):
    made = []
    for umask in (0o022, 0o077):
        folder = tmp_path / f"{umask}"
        before = os.umask(umask)
        (folder / "usr/bin").mkdir(parents=True)
        (folder / "usr/bin/program").write_text("x")
        (folder / "usr/bin/program").chmod(0o777 & ~umask)
        (folder / "usr/bin/name").symlink_to("program")
        os.umask(before)
        made.append(archived(folder, tmp_path / "image.tar.gz"))
    assert made[0] == made[1] and len(gzip.decompress(made[0])) > 1000


def test_the_image_of_an_archive_is_the_one_that_the_dockerfile_makes(engine, images, tmp_path):
    run(ROOT / "docker/stage.sh", binary(), tmp_path / "image")
    archived(tmp_path / "image", tmp_path / "image.tar.gz")
    engine.docker("load", "--input", tmp_path / "image.tar.gz")
    loaded, built = (
        json.loads(engine.docker("inspect", name))[0]["Config"] for name in ("hublatch-of-an-archive:0.1.0", f"{images}-hublatch")
    )
    assert set(loaded["Env"]) <= set(built["Env"]), "the tests' base has more"
    for key in ("User", "Entrypoint", "Cmd", "ExposedPorts", "Healthcheck", "Labels"):
        assert loaded[key] == built[key], key
    # Its files are whole: with the C library of another image the program runs.
    container = engine.docker("create", "hublatch-of-an-archive:0.1.0").strip()
    engine.docker("cp", f"{container}:/usr/local/bin/hublatch", tmp_path / "hublatch")
    assert (tmp_path / "hublatch").read_bytes() == binary().read_bytes()
    engine.docker("rm", container)


def test_the_sums_are_those_that_sha256sum_checks(tmp_path):
    (tmp_path / "a.whl").write_text("a")
    (tmp_path / "b.deb").write_text("b")
    for _ in range(2):
        release.checksums(tmp_path)
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.splitlines()) == (0, ["a.whl: OK", "b.deb: OK"])
    (tmp_path / "a.whl").write_text("changed")
    assert subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True).returncode == 1


@pytest.mark.weekly
@pytest.mark.timeout(7200)
def test_two_releases_in_two_folders_are_the_same(engine, tmp_path_factory):
    made = []
    for name in ("one", "a-folder-of-another-name"):
        tree = tmp_path_factory.mktemp("release") / name
        run("git", "clone", "--quiet", ROOT, tree)
        # What a version of a release has.
        run(tree / ".ci/release.py", "cut", "2026-01-01")
        author = ["-c", "user.name=release", "-c", "user.email=release@example.org"]
        dated = {**os.environ, "GIT_AUTHOR_DATE": "1767225600 +0000", "GIT_COMMITTER_DATE": "1767225600 +0000"}
        run("git", "-C", tree, *author, "commit", "--quiet", "--all", "--message", "cut", env=dated)
        run("make", "-C", tree, "release", timeout=3600)
        made_here = only(tree / "target", "release-[0-9]*")
        run("sh", "-c", "cd $0 && sha256sum --check --strict --quiet SHA256SUMS", made_here)
        made.append(made_here)
    sums = [(folder / "SHA256SUMS").read_text() for folder in made]
    print(sums[0])
    assert sums[0] == sums[1]
    assert {"deb", "whl", "gz", "tgz", "json"} <= {line.rsplit(".", 1)[1] for line in sums[0].splitlines() if "." in line}
    image = only(made[0], "*-image-*.tar.gz")
    engine.docker("load", "--input", image)
    number = release.version((ROOT / "Cargo.toml").read_text())
    assert engine.docker("run", "--rm", f"hublatch:{number}", "--version").startswith(f"hublatch {number}")


@pytest.mark.weekly
@pytest.mark.timeout(3600)
def test_make_image_builds_a_static_program_on_nothing(engine):
    run(ROOT / "docker/images.sh", "--no-pull", "rust", env=engine.env)
    run("make", "-C", ROOT, "image", env=engine.env, timeout=3000)
    assert engine.docker("run", "--rm", "hublatch", "--version").startswith("hublatch ")
    (image,) = json.loads(engine.docker("inspect", "hublatch"))
    assert len(image["Config"]["Labels"]["org.opencontainers.image.revision"]) == 40
    assert image["Size"] < 40_000_000, "it holds more than the program and its licences"
