"""A session id that somebody has planted in the browser is not the session of whoever logs in there (T-FIX).

With an authenticator that is not ours: ours begins a new session by itself.
"""

import pytest

from browser import raw
from test_header_authenticators import AUTHENTICATORS

PLANTED = "0123456789abcdef0123456789abcdef"
# What Python's strip() takes away, and a header may hold.
SPELLINGS = ["", " ", "\t", "\xa0", "\x85", " \xa0\t\x85"]


@pytest.fixture(scope="module")
def bare(start_hub):
    authenticator, _ = AUTHENTICATORS["jhub_remote_user_authenticator 0.1.0"]
    return start_hub(authenticator=authenticator)


@pytest.fixture(scope="module")
def latch(bare, start_hublatch):
    return start_hublatch(bare, {"assertion": None})


def sessions(answer):
    lines = [line for line in answer.all("Set-Cookie") if line.startswith("jupyterhub-session-id=")]
    return [line.split("=", 1)[1].split(";")[0] for line in lines]


def click(latch, cookie):
    return raw("GET", latch.issue("fixie", next="/hub/home")["url"], [("Cookie", cookie)])


@pytest.mark.parametrize("behind", SPELLINGS)
@pytest.mark.parametrize("before", SPELLINGS)
def test_a_planted_session_id_is_not_kept(latch, before, behind):
    answer = click(latch, f"theme=dark;{before}jupyterhub-session-id{behind}={PLANTED}; a=b")
    assert answer.status == 302
    [session] = sessions(answer)
    assert session and session != PLANTED


def test_the_hub_alone_keeps_some_of_them(bare):
    """Or else the test above would show nothing."""
    kept = []
    for before in SPELLINGS:
        cookie = ("Cookie", f"a=b;{before}jupyterhub-session-id={PLANTED}")
        answer = raw("GET", bare.public_url + "/hub/login", [("REMOTE_USER", "fixie"), cookie])
        assert answer.status == 302
        if sessions(answer) in ([], [PLANTED]):
            kept.append(before)
    assert "" in kept and "\xa0" in kept, kept
