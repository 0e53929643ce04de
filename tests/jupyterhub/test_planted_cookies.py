"""A session id that somebody has planted in the browser is not the session of whoever logs in there (T-FIX)."""

import pytest

from browser import raw

PLANTED = "0123456789abcdef0123456789abcdef"
# What Python's strip() takes away, and a header may hold.
SPELLINGS = ["", " ", "\t", "\xa0", "\x85", " \xa0\t\x85"]


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


def test_the_hub_alone_would_keep_it(hub):
    """Or else the test above would show nothing."""
    from assertion import good

    for before in SPELLINGS:
        proof = [("REMOTE_USER", "fixie"), ("X-Hublatch-Assertion", good(hub.key, "fixie"))]
        cookie = ("Cookie", f"a=b;{before}jupyterhub-session-id={PLANTED}")
        answer = raw("GET", hub.public_url + "/hub/login", [*proof, cookie])
        assert answer.status == 302
        if PLANTED in sessions(answer) or not sessions(answer):
            break
    else:
        pytest.fail("the hub takes no planted session id, however it is written")
