"""Zero to JupyterHub with hublatch in place of configurable-http-proxy: its arguments, its probes, and no files."""

import hashlib
import json
import subprocess
import time

import pytest
import yaml

from engine import ROOT, binary

# What Zero to JupyterHub (main of 2026-07-24, default values) starts in the container `chp`.
ARGUMENTS = ["--ip=", "--api-ip=", "--api-port=8001", "--default-target=http://hub:8081"]
ARGUMENTS += ["--error-target=http://hub:8081/hub/error", "--port=8000"]
KEY = "hk_" + "k" * 43
TOKEN = "the-token-of-the-secret-hub"


@pytest.fixture(scope="module")
def proxy(engine, images, tmp_path_factory):
    """The container as the pod has it: uid 65534, no rights, no volumes, all that it knows in variables."""
    folder = tmp_path_factory.mktemp("init")
    init = [binary(), "init", "--dir", folder / "new", "--public-url", "https://h.example", "--hub-url", "http://hub"]
    subprocess.run(init, check=True, capture_output=True)
    chp = yaml.safe_load((ROOT / "config/helm/z2jh-proxy.yaml").read_text())["proxy"]["chp"]
    digest = "sha256:" + hashlib.sha256(KEY.encode()).hexdigest()
    variables = {
        "CONFIGPROXY_AUTH_TOKEN": TOKEN,
        "HUBLATCH_CONFIG_TOML": chp["extraEnv"]["HUBLATCH_CONFIG_TOML"].replace("@DIGEST@", digest),
        "HUBLATCH_ASSERTION__KEY": (folder / "new/assertion.key.pem").read_text(),
        # What Kubernetes adds for the Services of the namespace.
        "HUB_SERVICE_PORT": "8081",
        "PROXY_API_SERVICE_HOST": "10.0.0.1",
    }
    name = "z2jh-proxy"
    settings = [word for key, value in variables.items() for word in ("--env", f"{key}={value}")]
    settings += ["--user", "65534", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"]
    command = ["--entrypoint", "configurable-http-proxy", f"{images}-hublatch", *ARGUMENTS]
    engine.docker("run", "--detach", "--name", name, *settings, *command)
    yield Container(engine, name)
    engine.docker("rm", "--force", name)


class Container:
    def __init__(self, engine, name):
        self.engine, self.name = engine, name
        (details,) = json.loads(engine.docker("inspect", name))
        self.address = details["NetworkSettings"]["IPAddress"]
        deadline = time.monotonic() + 60
        while self.ask("GET", 8000, "/_chp_healthz")[0] != 200:
            assert time.monotonic() < deadline and engine.state(name)["Running"], engine.logs(name)
            time.sleep(0.2)

    def ask(self, method, port, path, headers=(), body=None):
        """Status and text, asked from inside the engine's network."""
        command = [*self.engine.inside(), "curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "10"]
        command += ["--request", method, "--write-out", "\n%{http_code}", f"http://{self.address}:{port}{path}"]
        command += [word for header in headers for word in ("--header", header)]
        if body is not None:
            command += ["--data", json.dumps(body), "--header", "Content-Type: application/json"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30)
        text, _, status = ran.stdout.rpartition("\n")
        return int(status or 0), text


def test_the_probes_of_the_chart_are_answered(proxy):
    assert proxy.ask("GET", 8000, "/_chp_healthz")[0] == 200


def test_the_hub_writes_its_routes_by_its_token_alone(proxy):
    token = [f"Authorization: token {TOKEN}"]
    route = {"target": "http://hub:8081", "hub": True, "jupyterhub": True}
    assert proxy.ask("POST", 8001, "/api/routes/", body=route)[0] == 403
    assert proxy.ask("POST", 8001, "/api/routes/", token, route)[0] == 201
    status, text = proxy.ask("GET", 8001, "/api/routes", token)
    assert status == 200 and json.loads(text)["/"]["hub"] is True


def test_applications_ask_for_links_at_the_same_service_with_their_key(proxy):
    order = {"username": "alice", "path": "lab"}
    key = [f"Authorization: token {KEY}"]
    status, text = proxy.ask("POST", 8001, "/api/v1/links", key, order)
    assert status == 201, text
    assert json.loads(text)["url"].startswith("https://hub.example.org/hub/login?login_token=hl_")
    assert proxy.ask("POST", 8001, "/api/v1/links", [f"Authorization: token {TOKEN}"], order)[0] == 401
    assert proxy.ask("GET", 8001, "/api/routes", key)[0] == 403


def test_browsers_reach_neither_api(proxy):
    key = [f"Authorization: token {KEY}"]
    assert proxy.ask("POST", 8000, "/api/v1/links", key, {"username": "alice"})[0] != 201
    assert proxy.ask("GET", 8000, "/api/routes", [f"Authorization: token {TOKEN}"])[0] != 200
