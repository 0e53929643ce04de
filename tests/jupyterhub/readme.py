"""Blocks of the README, as an operator pastes them."""

import re

from processes import ROOT


def block(name):
    """The text of the fenced block below `<!-- tested: NAME -->`."""
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"<!-- tested: {re.escape(name)} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, f"the README has no block {name!r}"
    return found[1]


