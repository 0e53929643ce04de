"""Alerts and dashboard: a real Prometheus scrapes a real hublatch, and is asked every expression."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import suppress

import pytest
import yaml

from engine import ROOT, binary

ALERTS = ROOT / "config/prometheus/alerts.yaml"
DASHBOARD = ROOT / "config/grafana/hublatch.json"
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a metric's name may end in beside its own name.
SUFFIXES = ["_total", "_bucket", "_sum", "_count", "_info", ""]
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def alerts():
    (group,) = yaml.safe_load(ALERTS.read_text())["groups"]
    return group["rules"]


def dashboard():
    """The expressions, with what Grafana would put into them."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    for target in (target for panel in panels for target in panel["targets"]):
        yield target["expr"].replace("$__rate_interval", "1m").replace("$job", ".+").replace("$instance", ".+")


EXPRESSIONS = [*(rule["expr"] for rule in alerts()), *dashboard()]


def families():
    """Names that the source registers: some have no series before something happens."""
    source = "".join(file.read_text() for file in [ROOT / "src/metrics.rs", *(ROOT / "src/metrics").glob("*.rs")])
    return set(re.findall(r'"([a-z][a-z_]+)"', source))


def known(name):
    bare = {name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)}
    own = families()
    return any(each.removeprefix("hublatch_") in own or each in own or without_unit(each) in own for each in bare)


def without_unit(name):
    return re.sub(r"_(seconds|bytes)$", "", name.removeprefix("hublatch_").removeprefix("process_"))


def metrics_in(text):
    return set(re.findall(r"\b(?:hublatch|process)_[a-z_]+\b", text))


def get(url):
    with opener.open(url, timeout=10) as response:
        return response.read().decode()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@pytest.fixture(scope="module")
def processes():
    running = []
    yield running
    for process in reversed(running):
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def wait_for(what, url, condition=lambda text: True):
    deadline = time.monotonic() + 60
    while True:
        with suppress(OSError):
            text = get(url)
            if condition(text):
                return text
        assert time.monotonic() < deadline, f"{what} does not answer as expected at {url}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def management(processes, tmp_path_factory):
    """A hublatch before no hub at all: its metrics are there all the same."""
    folder = tmp_path_factory.mktemp("hublatch") / "etc"
    urls = ["--public-url", "http://127.0.0.1:8000", "--hub-url", f"http://127.0.0.1:{free_port()}"]
    subprocess.run([binary(), "init", "--dir", folder, *urls], check=True, capture_output=True)
    port = free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("HUBLATCH_")}
    listen = {"HUBLATCH_PUBLIC__LISTEN": "127.0.0.1:0", "HUBLATCH_MANAGEMENT__LISTEN": f"127.0.0.1:{port}"}
    command = [binary(), "serve", "--config", folder / "hublatch.toml"]
    with (folder / "log").open("wb") as log:
        processes.append(subprocess.Popen(command, env={**kept, **listen}, stdin=subprocess.DEVNULL, stderr=log))
    wait_for("hublatch", f"http://127.0.0.1:{port}/metrics")
    return f"127.0.0.1:{port}"


@pytest.fixture(scope="module")
def prometheus(processes, management, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    scrape = {"job_name": "hublatch", "static_configs": [{"targets": [management]}]}
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump({**config, "rule_files": [str(ALERTS)]}))
    port = free_port()
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with (folder / "log").open("wb") as log:
        processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
    url = f"http://127.0.0.1:{port}"
    up = url + "/api/v1/query?" + urllib.parse.urlencode({"query": 'up{job="hublatch"} == 1'})
    wait_for("Prometheus", up, lambda text: json.loads(text)["data"]["result"])
    return url


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_prometheus_understands_every_expression(prometheus, expression):
    answer = json.loads(get(prometheus + "/api/v1/query?" + urllib.parse.urlencode({"query": expression})))
    assert answer["status"] == "success"


def test_prometheus_evaluates_every_rule(prometheus):
    def evaluated(text):
        (group,) = json.loads(text)["data"]["groups"]
        return all(rule["health"] == "ok" for rule in group["rules"])

    wait_for("its rules", prometheus + "/api/v1/rules", evaluated)


def test_a_hub_that_is_not_there_is_told_though_nobody_asks_for_anything(prometheus):
    def pending(text):
        return {alert["labels"]["alertname"] for alert in json.loads(text)["data"]["alerts"]} == {"HublatchHubUnreachable"}

    wait_for("the alert", prometheus + "/api/v1/alerts", pending)


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_of_an_expression_exists(expression):
    named = metrics_in(expression)
    assert all(known(name) for name in named), [name for name in named if not known(name)]


def test_what_hublatch_shows_is_known_to_this_test_as_well(management):
    shown = set(re.findall(r"^([a-z_]+)(?:\{| )", get(f"http://{management}/metrics"), re.M))
    assert len(shown) > 20 and [name for name in shown if not known(name)] == []
    assert not known("hublatch_no_such_total")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_metric_of_a_document_exists(document):
    text = re.sub(r"^ *```.*?^ *```$", "", document.read_text(), flags=re.M | re.S)
    for cell in re.findall(r"`(hublatch_[a-z_]+)", text):
        assert known(cell) or cell == "hublatch_authenticator", cell


def test_alerts_fire_when_they_should_and_not_before():
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "alerts_test.yaml"]):
        ran = subprocess.run(["promtool", *command], cwd=ALERTS.parent, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_says_what_to_do():
    for rule in alerts():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"] and rule["annotations"]["description"]
