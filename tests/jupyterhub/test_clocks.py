"""Clocks that are stepped, slowed or stopped: whichever of the two says that a link is over is believed (T-CLOCK)."""

import os
import signal
import time
from pathlib import Path

import pytest

from latch import Hublatch
from processes import wait_until

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)


@pytest.fixture
def faked(hub, tmp_path):
    """A hublatch whose wall clock, and that alone, is what a file says."""
    assert FAKETIME, "libfaketime is missing: run tests/install.sh tests"
    latch = Hublatch(tmp_path, hub)
    latch.wall = tmp_path / "wall"
    latch.env = by_the_clock_of(latch.wall)
    latch.start()
    yield latch
    latch.stop()


def by_the_clock_of(file):
    """The environment of a process whose wall clock is what the file says; its monotonic one is that of the machine."""
    file.write_text("+0s")
    return {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def refused(latch, link):
    browser = latch.browser()
    page = browser.open(link["url"])
    assert browser.user() is None
    return page.status == 403 and "expired" in page.text


def admits(latch, link):
    browser = latch.browser()
    browser.open(link["url"])
    return browser.user() == link["username"]


def step(latch, offset):
    """In one piece: at any moment hublatch may look what time it is."""
    new = latch.wall.with_suffix(".new")
    new.write_text(offset)
    os.replace(new, latch.wall)


def test_a_link_works_while_nobody_touches_the_clock(faked):
    assert admits(faked, faked.issue("tick", next="/hub/home"))


def test_a_wall_clock_that_is_set_forward_ends_every_link(faked):
    links = [faked.issue("tick", next="/hub/home", expires_in=300) for _ in range(2)]
    step(faked, "+1h")
    assert all(refused(faked, link) for link in links)
    assert {faked.status(link) for link in links} == {"expired"}


def test_a_wall_clock_that_is_set_back_brings_no_link_to_life(faked):
    link = faked.issue("tick", next="/hub/home")
    step(faked, "+1h")
    late = faked.issue("tick", next="/hub/home")
    assert refused(faked, link)
    step(faked, "+0s")
    # The one was refused before; the other would be issued an hour from now.
    assert refused(faked, late)


def test_a_wall_clock_that_is_set_back_ends_what_was_issued_before(faked):
    link = faked.issue("tick", next="/hub/home")
    step(faked, "-1h")
    assert refused(faked, link)


def test_a_step_of_a_second_ends_nothing(faked):
    link = faked.issue("tick", next="/hub/home")
    step(faked, "-1s")
    assert admits(faked, link)


def test_a_wall_clock_that_goes_slow_prolongs_no_life(faked):
    step(faked, "+0s x0.1")
    link = faked.issue("tick", next="/hub/home", expires_in=3)
    end = time.monotonic() + 3
    wait_until(lambda: time.monotonic() > end, 60, "the life of the link")
    assert refused(faked, link)


def test_a_process_that_was_stopped_for_31_seconds_has_not_lived_meanwhile(start_hublatch, hub):
    latch = start_hublatch(hub)
    short, long = (latch.issue("tick", next="/hub/home", expires_in=life) for life in (30, 300))
    os.kill(latch.process.pid, signal.SIGSTOP)
    try:
        time.sleep(31)
    finally:
        os.kill(latch.process.pid, signal.SIGCONT)
    assert refused(latch, short)
    assert admits(latch, long)
