"""The Helm chart: linted, rendered, held against the schemas of Kubernetes and against Zero to JupyterHub's policies.

Nothing here is applied to a cluster: there is none."""

import hashlib
import json
import os
import subprocess

import jsonschema
import pytest
import yaml

from engine import ROOT, binary

HELM = ROOT / "target/helm/helm"
CHART = ROOT / "config/helm/hublatch"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
# The oldest that the chart admits, and the newest whose schemas there are.
KUBERNETES = ["1.30", "1.37"]
# The label of whoever asks for links where hublatch is the proxy itself (docs/install.md).
PROXY_API = "hub.jupyter.org/network-access-proxy-api"
DIGEST = "sha256:" + hashlib.sha256(b"a key of this test").hexdigest()


def helm(*arguments):
    return subprocess.run([HELM, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def render(values, *settings):
    """The objects, by kind and name."""
    ran = helm("template", "hl", CHART, "--values", values, *settings)
    assert ran.returncode == 0, ran.stderr
    objects = [each for each in yaml.safe_load_all(ran.stdout) if each]
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def refusal(*settings):
    ran = helm("template", "hl", CHART, "--values", CHART / "ci/minimal-values.yaml", *settings)
    assert ran.returncode != 0, ran.stdout
    return ran.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_it_passes_the_strict_lint(values):
    ran = helm("lint", "--strict", CHART, "--values", values)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_every_object_fits_the_schemas_of_kubernetes(values, version, tmp_path):
    # The Gateway API and the Prometheus operator are no part of Kubernetes, and so of no schema of its.
    foreign = ("HTTPRoute", "ServiceMonitor", "PrometheusRule")
    objects = [each for each in render(values).values() if each["kind"] not in foreign]
    file = tmp_path / "rendered.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    validate = ROOT / "target/venv-deploy/bin/kubernetes-validate"
    ran = subprocess.run([validate, "-k", version, "--strict", file], capture_output=True, text=True)
    assert ran.returncode == 0 and "WARN" not in ran.stdout + ran.stderr, ran.stdout + ran.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_hublatch_accepts_the_rendered_configuration(values, tmp_path):
    text = render(values)["ConfigMap", "hl-hublatch"]["data"]["hublatch.toml"].replace("@DIGEST@", DIGEST)
    init = [binary(), "init", "--dir", tmp_path / "init", "--public-url", "https://h.example", "--hub-url", "http://hub"]
    subprocess.run(init, check=True, capture_output=True)
    # What Kubernetes mounts, and what comes as variables from Secrets.
    tls = tmp_path / "tls"
    tls.mkdir()
    for name in ("crt", "key"):
        text = text.replace(f"/etc/hublatch-tls/tls.{name}", str(tls / f"tls.{name}"))
    openssl = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=hublatch", "-days", "2"]
    openssl += ["-keyout", tls / "tls.key", "-out", tls / "tls.crt"]
    subprocess.run(openssl, check=True, capture_output=True)
    (tls / "tls.key").chmod(0o600)
    file = tmp_path / "hublatch.toml"
    file.write_text(text)
    environment = {
        "PATH": os.environ["PATH"],
        "HUBLATCH_ASSERTION__KEY": (tmp_path / "init/assertion.key.pem").read_text(),
        "HUBLATCH_HUB__API_TOKEN": "a" * 64,
        "HUBLATCH_STORE__PASSWORD": "secret",
    }
    ran = subprocess.run([binary(), "check", "--config", file], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"


def test_what_init_writes_fits_the_chart_and_the_hubs_values(tmp_path):
    urls = ["--public-url", "https://hub.example.org", "--hub-url", "http://proxy-public"]
    more = ["--kubernetes", "hublatch", "--launch", "--app-url", "https://portal.example.org", "--name", "Example"]
    init = [binary(), "init", "--dir", tmp_path / "new", *urls, *more]
    subprocess.run(init, check=True, capture_output=True)
    written = yaml.safe_load_all((tmp_path / "new/objects.yaml").read_text())
    objects = {(each["kind"], each["metadata"]["name"]): each for each in written}
    rendered = render(tmp_path / "new/values.yaml")
    (container,) = rendered["Deployment", "hl-hublatch"]["spec"]["template"]["spec"]["containers"]
    (key,) = [each["valueFrom"]["secretKeyRef"] for each in container["env"] if each["name"] == "HUBLATCH_ASSERTION__KEY"]
    text = rendered["ConfigMap", "hl-hublatch"]["data"]["hublatch.toml"]
    (tmp_path / "hublatch.toml").write_text(text)
    secret = objects["Secret", key["name"]]["stringData"]
    environment = {"HUBLATCH_ASSERTION__KEY": secret[key["key"]], "HUBLATCH_HUB__API_TOKEN": "a" * 64}
    check = [binary(), "check", "--config", tmp_path / "hublatch.toml"]
    ran = subprocess.run(check, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, f"{text}\n{ran.stdout}{ran.stderr}"
    # What z2jh.yaml mounts.
    hub = yaml.safe_load((ROOT / "config/helm/z2jh.yaml").read_text())["hub"]
    data = objects["ConfigMap", hub["extraVolumes"][0]["configMap"]["name"]]["data"]
    assert set(data) == {"assertion.pub.pem", "hublatch_authenticator.py"}
    assert hub["extraEnv"]["PYTHONPATH"] == hub["extraVolumeMounts"][0]["mountPath"]


def test_it_refuses_what_would_be_unsafe_or_would_not_work():
    assert "publicUrl" in refusal("--set", "publicUrl=")
    assert "assertion" in refusal("--set", "assertion.secretName=")
    assert "several replicas need one store" in refusal("--set", "replicas=2")
    assert "several replicas need one store" in refusal("--set", "autoscaling.enabled=true")
    advice = "write a Redis (redis:), or memory:"
    assert advice in refusal("--set", "store.url=redb:///data/tokens.redb")
    variable = "name=HUBLATCH_STORE__URL,extraEnv[0].value=redb:///data/tokens.redb"
    assert advice in refusal("--set", f"extraEnv[0].{variable}")
    assert "does not match pattern" in refusal("--set", "store.url=file:///data/t")
    assert "replicsa" in refusal("--set", "replicsa=2")
    assert "written by the chart" in refusal("--set", "extraConfig=[store]\nurl = 1")
    assert "terminationGracePeriodSeconds" in refusal("--set", "preStopSeconds=60")
    old = helm("template", "hl", CHART, "--values", CHART / "ci/minimal-values.yaml", "--kube-version", "1.29.0")
    assert old.returncode != 0 and "kubeVersion" in old.stderr


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_its_pods_meet_the_restricted_pod_security_standard(values):
    pod = render(values)["Deployment", "hl-hublatch"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    for container in pod["containers"]:
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_no_secret_stands_in_an_object_that_everybody_may_read():
    for values in VALUES:
        text = json.dumps([each for each in render(values).values() if each["kind"] != "Secret"])
        assert "PRIVATE KEY" not in text and "hk_" not in text


def test_a_hub_that_restarts_takes_no_pod_out_of_the_service():
    (container,) = render(VALUES[0])["Deployment", "hl-hublatch"]["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/live", "port": "status"}, "/ready asks the hub"


def test_alerts_and_dashboard_are_those_of_the_repository():
    objects = render(CHART / "ci/full-values.yaml")
    alerts = yaml.safe_load((ROOT / "config/prometheus/alerts.yaml").read_text())
    assert objects["PrometheusRule", "hl-hublatch"]["spec"] == alerts
    dashboard = objects["ConfigMap", "hl-hublatch-dashboard"]["data"]["hublatch.json"]
    assert json.loads(dashboard) == json.loads((ROOT / "config/grafana/hublatch.json").read_text())
    # The alerts look for this job.
    assert objects["ServiceMonitor", "hl-hublatch"]["spec"]["jobLabel"] == "app.kubernetes.io/name"


# ---- NetworkPolicies of both charts, evaluated together ----


class Network:
    """Who may open a connection to whom, by the rules of NetworkPolicy (kubernetes.io/docs/concepts/services-networking)."""

    def __init__(self, values):
        facts = yaml.safe_load((ROOT / "tests/data/z2jh/policies.yaml").read_text())
        objects = render(values)
        deployment = objects["Deployment", "hl-hublatch"]["spec"]["template"]
        container = deployment["spec"]["containers"][0]
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        self.pods = {
            **facts["pods"],
            "hublatch": {"labels": deployment["metadata"]["labels"], "ports": ports},
            "portal": {"labels": {"app": "portal"}, "ports": {}},
            "let in": {"labels": {"app": "portal", PROXY_API: "true"}, "ports": {}},
            "prometheus": {"labels": {"app.kubernetes.io/name": "prometheus"}, "ports": {}},
            "stranger": {"labels": {}, "ports": {}},
        }
        self.policies = [*facts["policies"], objects["NetworkPolicy", "hl-hublatch"]["spec"]]

    def reaches(self, source, target, port):
        return self._allows(source, target, port, "egress", "to") and self._allows(target, source, port, "ingress", "from")

    def _allows(self, subject, peer, port, direction, key):
        labels = self.pods[subject]["labels"]
        chosen = [policy for policy in self.policies if matches(policy["podSelector"], labels) and direction in policy]
        if not chosen:
            return True
        # A named port is one of the pod that is connected to.
        names = self.pods[subject if direction == "ingress" else peer]["ports"]
        for rule in (rule for policy in chosen for rule in policy[direction]):
            wanted = rule.get("ports")
            fits = wanted is None or any(names.get(each["port"], each["port"]) == port for each in wanted)
            peers = rule.get(key)
            known = not peers or any(
                "podSelector" in each and matches(each["podSelector"], self.pods[peer]["labels"]) for each in peers
            )
            if fits and known:
                return True
        return False


def matches(selector, labels):
    assert set(selector) <= {"matchLabels"}, selector
    return selector.get("matchLabels", {}).items() <= labels.items()


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_hublatch_reaches_the_hub_and_its_proxy_and_no_notebook(values):
    network = Network(values)
    assert network.reaches("hublatch", "proxy", 8000)
    assert network.reaches("hublatch", "hub", 8081)
    assert not network.reaches("hublatch", "proxy", 8001)
    assert not network.reaches("hublatch", "notebook", 8888)


@pytest.mark.parametrize("values", VALUES, ids=lambda path: path.stem)
def test_a_notebook_reaches_the_hubs_api_and_nothing_of_ours(values):
    network = Network(values)
    assert network.reaches("notebook", "hub", 8081), "its servers need it; so only the assertion keeps forgers out"
    assert not network.reaches("notebook", "proxy", 8000)
    assert not network.reaches("notebook", "hublatch", 8010)
    assert not network.reaches("notebook", "hublatch", 9100)
    assert not network.reaches("notebook", "hublatch", 8000), "z2jh's notebooks reach z2jh's own pods alone"


def test_a_stranger_reaches_the_public_port_alone():
    network = Network(CHART / "ci/full-values.yaml")
    assert network.reaches("stranger", "hublatch", 8000)
    assert not network.reaches("stranger", "hublatch", 8010)
    assert not network.reaches("stranger", "proxy", 8000)
    assert not network.reaches("stranger", "hub", 8081)
    assert not network.reaches("stranger", "hublatch", 9100)
    assert network.reaches("portal", "hublatch", 8010)
    assert network.reaches("prometheus", "hublatch", 9100)


def test_in_place_of_configurable_http_proxy_applications_with_the_label_reach_its_api():
    assert f'`{PROXY_API}: "true"`' in (ROOT / "docs/install.md").read_text()
    network = Network(VALUES[0])
    assert network.reaches("let in", "proxy", 8001) and network.reaches("hub", "proxy", 8001)
    for other in ("portal", "notebook", "stranger"):
        assert not network.reaches(other, "proxy", 8001), other


# ---- Zero to JupyterHub's side ----


@pytest.mark.parametrize("file", ["z2jh.yaml", "z2jh-front.yaml", "z2jh-autohttps.yaml", "z2jh-proxy.yaml"])
def test_its_values_fit_zero_to_jupyterhubs_own_schema(file):
    beside = (folder / "shared/data/z2jh/values.schema.yaml" for folder in (ROOT.parent, ROOT.parent.parent))
    schema = next((path for path in beside if path.exists()), None)
    if schema is None:
        pytest.skip("Zero to JupyterHub's schema is not at hand (it is not ours to ship)")
    # Values that are added to others need not be whole.
    validator = jsonschema.Draft7Validator(without_required(yaml.safe_load(schema.read_text())))
    values = yaml.safe_load((ROOT / "config/helm" / file).read_text())
    faults = [f"{list(fault.path)}: {fault.message[:200]}" for fault in validator.iter_errors(values)]
    assert not faults
    values["proxyy"] = {}
    assert not validator.is_valid(values), "a misspelt key must be a fault"


def without_required(schema):
    """What is demanded in a choice of several shapes tells them apart, so it stays."""
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not (key == "required" and isinstance(value, list))}
    return {key: value if key == "oneOf" else without_required(value) for key, value in kept.items()}


def test_the_public_key_is_mounted_so_that_a_new_one_arrives():
    hub = yaml.safe_load((ROOT / "config/helm/z2jh.yaml").read_text())["hub"]
    (mount,) = hub["extraVolumeMounts"]
    assert "subPath" not in mount
    assert hub["config"]["HublatchAuthenticator"]["public_key_file"].startswith(mount["mountPath"] + "/")
    assert hub["loadRoles"]["hublatch"]["scopes"] == ["servers", "admin:users"]
