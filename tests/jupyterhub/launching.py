"""Hubs that hublatch may start servers at, set up by the README's own blocks."""

from pathlib import Path

from hublatch import merged
from readme import block

# Beside the README's service there is the test's own, which looks at what came of it.
HARNESS = """
c.JupyterHub.services.append({"name": "test", "api_token": "TEST_TOKEN"})
c.JupyterHub.load_roles.append({"name": "test", "services": ["test"], "scopes": [
    "admin:users", "admin:servers", "tokens", "read:hub"]})
import sys
sys.path.insert(0, "TESTS")
c.JupyterHub.spawner_class = "spawners.Moody"
"""


def role(token_file):
    return block("hub role").replace("/etc/hublatch/hub.token", str(token_file))


def start(start_hub, start_hublatch, folder, api_only=False, extra="", role_text=None, changes=None):
    """A hub with the README's role (and its API-only block), and hublatch before it with the README's keys."""
    token_file = folder / "hub.token"
    token_file.touch(mode=0o600)
    token_file.write_text("0123456789abcdef" * 4)
    text = role_text or role(token_file)
    if role_text:
        text = text.replace("/etc/hublatch/hub.token", str(token_file))
    if api_only:
        # The hub's address is the test's; the braces are those of str.format.
        text += block("api-only hub").replace("http://127.0.0.1:8081", "INTERNAL_URL")
    text += HARNESS.replace("TESTS", str(Path(__file__).parent)) + extra
    text = text.replace("{", "{{").replace("}", "}}")
    text = text.replace("INTERNAL_URL", "{internal_url}").replace("TEST_TOKEN", "{api_token}")
    hub = start_hub(extra=text)
    keys = {"hub": {"api_token_file": str(token_file)}, "login": {"app_url": "http://app.localhost/"}}
    if api_only:
        written = block("api-only hublatch")
        assert "api_only = true" in written and "api_token_file = " in written
        keys["hub"]["api_only"] = True
    latch = start_hublatch(hub, merged(keys, changes or {}))
    latch.hub = hub
    return latch
