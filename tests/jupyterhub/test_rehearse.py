"""`hublatch rehearse`: a class of test users clicks at a real hub, and nothing of them stays behind."""

import os
import subprocess

import pytest

import launching
from latch import BINARY

PEOPLE = 12


@pytest.fixture(scope="module")
def latch(start_hub, start_hublatch, tmp_path_factory):
    latch = launching.start(start_hub, start_hublatch, tmp_path_factory.mktemp("rehearsal"))
    yield latch
    latch.stop()
    latch.hub.kill()


def rehearse(latch, *words):
    environment = {**os.environ, "HUBLATCH_API_URL": latch.management, "HUBLATCH_API_KEY": latch.key}
    config = latch.folder / "hublatch.toml"
    command = [BINARY, "rehearse", "--config", config, *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def rehearsing(latch):
    users = latch.hub.api("GET", "/users?limit=200")
    return [user["name"] for user in users if user["name"].startswith("rehearse-")]


def test_a_class_at_once_is_logged_in_and_leaves_nothing_behind(latch):
    outcome = rehearse(latch, "--users", str(PEOPLE), "--at-once")
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.startswith(f"{PEOPLE} of {PEOPLE} logged in")
    assert "the last after" in outcome.stdout and "failed" not in outcome.stdout
    assert rehearsing(latch) == []
    assert latch.process.log.count('"event":"redeemed"') == PEOPLE


def test_servers_are_started_with_the_hubs_own_spawner(latch):
    outcome = rehearse(latch, "--users", "2", "--at-once", "--start-servers")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "\nserver: half within" in outcome.stdout
    assert rehearsing(latch) == []


def test_a_hub_where_somebody_works_is_left_alone(latch):
    browser = latch.browser()
    assert browser.open_server(latch.issue("worker", path="lab")["url"]).status == 200
    outcome = rehearse(latch, "--users", "1", "--at-once")
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert "worker" in outcome.stderr and "--force" in outcome.stderr
    assert rehearsing(latch) == []


def test_those_who_stay_outside_are_told_and_make_it_fail(latch):
    outcome = rehearse(latch, "--users", "3", "--at-once", "--force", "--patience", "0")
    assert outcome.returncode == 1
    assert outcome.stdout.startswith("0 of 3 logged in") and "3 × not in after 0 s" in outcome.stdout
    assert rehearsing(latch) == []
