"""What README.md, docs/ and the other documents say is there: files, headings, commands, keys, metrics."""

import re
import subprocess
import textwrap

import pytest

from processes import ROOT
from latch import BINARY
from readme import DOCUMENTS

ALL = [*DOCUMENTS, ROOT / "SECURITY.md", ROOT / "CONTRIBUTING.md", ROOT / "tests/README.md", ROOT / "python/README.md"]
NAMES = [str(document.relative_to(ROOT)) for document in ALL]


def fenced(text, language):
    """The blocks of that language, without the indentation of the list that they stand in."""
    blocks = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S)
    return [textwrap.dedent(block) for _, block in blocks]


def prose(text):
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.M | re.S)


def anchors(text):
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    return {*plain, *re.findall(r'<a id="([^"]+)">', text)}


def reports(command, text):
    """What the running binary says; faults as well."""
    ran = subprocess.run([BINARY, *command], input=text, capture_output=True, text=True, timeout=60)
    return ran.stdout + ran.stderr


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files_and_headings_that_exist(name):
    document = ROOT / name
    text = document.read_text()
    for target in re.findall(r"\]\(([^)]+)\)", prose(text)):
        if target.startswith(("http:", "https:")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text()), f"{name}: {target}"


@pytest.mark.parametrize("name", NAMES)
def test_no_merge_has_left_its_marks(name):
    marks = re.findall(r"^(?:<{7}|={7}|>{7})(?: .*)?$", (ROOT / name).read_text(), re.M)
    assert marks == []


def test_the_readme_fits_on_three_screens():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize("name", NAMES)
def test_every_key_that_a_toml_block_has_is_known(name, tmp_path):
    for number, block in enumerate(fenced((ROOT / name).read_text(), "toml")):
        file = tmp_path / f"{number}.toml"
        file.write_text(block)
        said = reports(["check", "--config", str(file)], None)
        wrong = [line for line in said.splitlines() if "no such" in line or "not valid TOML" in line]
        assert not wrong, f"{block}\n{said}"


@pytest.mark.parametrize("name", NAMES)
def test_every_python_block_compiles(name):
    for block in fenced((ROOT / name).read_text(), "python"):
        compile(block, name, "exec")


def test_every_command_of_ours_that_is_named_exists():
    known = set(re.findall(r"^  ([a-z]+) ", reports(["--help"], None).split("Commands:")[1], re.M))
    for name in NAMES:
        text = (ROOT / name).read_text()
        code = re.findall(r"`([^`\n]+)`", prose(text)) + "\n".join(fenced(text, "console")).splitlines()
        for line in code:
            found = re.match(r"(?:\$ )?(?:[A-Z_]+=\S+ )*hublatch ([a-z]+)(.*)", line)
            if not found:
                continue
            command, rest = found.groups()
            assert command in known, f"{name}: {line}"
            help_text = reports([command, "--help"], None)
            for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
                assert option in help_text, f"{name}: {line}: {option}"


def test_make_targets_that_are_named_exist():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.M))
    for name in NAMES:
        for target in re.findall(r"`make ([a-z-]+)", (ROOT / name).read_text()):
            assert target in targets, f"{name}: make {target}"


def test_every_error_code_of_the_api_has_its_line_to_which_doc_url_leads():
    files = [ROOT / "src/api/error.rs", ROOT / "src/api/oauth.rs", *(ROOT / "src/api/error").glob("*.rs"), *(ROOT / "src/api/oauth").glob("*.rs")]
    source = "".join(file.read_text() for file in files)
    codes = set(re.findall(r'StatusCode::[A-Z_]+, "([a-z_]+)"', source))
    codes |= set(re.findall(r'(?:code: |OAuthError::new\(|Self::new\()"([a-z_]+)"', source))
    codes |= set(re.findall(r'Fault::\w+(?:\(_\))? => "([a-z_]+)"', source))
    assert len(codes) > 60, codes
    rows = re.findall(r'^\| <a id="([a-z_]+)"></a>`([a-z_]+)` \| [0-9, ]+ \| .+ \|$', (ROOT / "docs/errors.md").read_text(), re.M)
    assert [anchor for anchor, code in rows if anchor != code] == []
    explained = [code for _, code in rows]
    assert len(explained) == len(set(explained)), "a code that is there twice"
    assert sorted(codes - set(explained)) == []


def test_every_page_is_explained():
    table = re.findall(r"^//! \| `([a-z_]+)` \|", (ROOT / "src/pages/page.rs").read_text(), re.M)
    assert len(table) > 20, table
    text = (ROOT / "docs/operations.md").read_text()
    assert sorted(code for code in table if f"`{code}`" not in text) == []


def test_the_functions_of_a_requests_life_are_there():
    text = (ROOT / "docs/architecture.md").read_text()
    rows = re.findall(r"`(src/[a-z0-9_/]+\.rs)`: ((?:`[a-z_]+`(?:, )?)+)", text)
    assert len(rows) > 8, rows
    for file, names in rows:
        source = (ROOT / file).read_text()
        for name in re.findall(r"`([a-z_]+)`", names):
            assert re.search(rf"\bfn {name}\b", source), f"{file}: {name}"
