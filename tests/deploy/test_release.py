"""`make release`, as far as nothing is built: what is cut, refused, remapped, taken out and summed up."""

import importlib.util
import subprocess
import zipfile

import pytest

from engine import ROOT

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


def test_the_sums_are_those_that_sha256sum_checks(tmp_path):
    (tmp_path / "a.whl").write_text("a")
    (tmp_path / "b.deb").write_text("b")
    for _ in range(2):
        release.checksums(tmp_path)
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.splitlines()) == (0, ["a.whl: OK", "b.deb: OK"])
    (tmp_path / "a.whl").write_text("changed")
    assert subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True).returncode == 1
