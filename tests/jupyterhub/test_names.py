"""Every name that hublatch accepts is the same name to the hub (T-SCOPE of tests/README.md)."""

import random
import string

FIRST = string.ascii_lowercase + string.digits
OTHER = FIRST + "._@+-"
NAMES, SEED = 100, 2018


def names():
    pick = random.Random(SEED)
    lengths = [1, 2, 63, 64] + [pick.randint(1, 64) for _ in range(NAMES - 4)]
    return [pick.choice(FIRST) + "".join(pick.choices(OTHER, k=length - 1)) for length in lengths]


def test_the_hub_logs_in_exactly_the_name_of_the_link(hub, latch):
    for name in dict.fromkeys(names()):
        browser = latch.browser()
        link = latch.issue(name, next="/hub/home")
        assert link["username"] == name
        browser.open(link["url"])
        assert browser.user() == name, name
        assert hub.has_user(name), name


def test_the_authenticator_does_not_normalise_an_accepted_name(hub):
    """The hub's own rule, asked in a process of its own."""
    import subprocess

    from hub import VENV
    from processes import PATIENCE, ROOT

    script = """
import sys
from hublatch.authenticator import HublatchAuthenticator
from jupyterhub.auth import Authenticator
for name in sys.stdin.read().split("\\n"):
    assert Authenticator().normalize_username(name) == name, name
    assert HublatchAuthenticator.normalize_username(Authenticator(), name) == name, name
print("same")
"""
    done = subprocess.run(
        [VENV["6.1"] / "bin/python", "-c", script],
        input="\n".join(names()),
        env={"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == "same\n", done.stderr
