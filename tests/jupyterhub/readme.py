"""Blocks of the README and of docs/, as an operator pastes them."""

import re
import textwrap

from processes import ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def block(name):
    """The text of the one fenced block below `<!-- tested: NAME -->`."""
    pattern = re.compile(rf"<!-- tested: {re.escape(name)} -->\n *```\w+\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    found = [text for document in DOCUMENTS for text in pattern.findall(document.read_text())]
    assert len(found) == 1, f"the documents have {len(found)} blocks {name!r}"
    return textwrap.dedent(found[0])


def section(file, title):
    """The text below one heading of the second level."""
    return (ROOT / file).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
