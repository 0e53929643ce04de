"""Options, variables, signals, and how it ends."""

import os
import signal
import subprocess

import pytest

from conftest import COMMAND, IS_CHP, NODE, PATIENCE, better
from http1 import Client
from processes import free_port, wait_until


def run(*args, env=None):
    environment = {**os.environ, "PATH": f"{NODE}:{os.environ['PATH']}", **(env or {})}
    return subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=PATIENCE, env=environment, check=False)


def test_help_names_the_options():
    done = run("--help")
    assert done.returncode == 0
    for option in ("--ip", "--port", "--api-ip", "--api-port", "--default-target", "--error-target", "--host-routing"):
        assert option in done.stdout


def test_version_is_printed():
    assert run("--version").returncode == 0


def test_an_unknown_option_is_an_error():
    done = run("--no-such-option")
    assert done.returncode != 0
    assert "no-such-option" in done.stdout + done.stderr


def test_error_target_and_error_path_exclude_each_other():
    done = run("--error-target", "http://127.0.0.1:1", "--error-path", "/tmp", "--port", str(free_port()))
    assert done.returncode != 0


def test_a_redirect_port_needs_a_certificate():
    done = run("--redirect-port", str(free_port()), "--port", str(free_port()), "--api-port", str(free_port()))
    assert done.returncode != 0


def test_a_taken_port_is_an_error(start):
    if IS_CHP:
        pytest.skip("configurable-http-proxy goes on without the port")
    taken = start()
    done = run("--ip", "127.0.0.1", "--port", str(taken.port), "--api-port", str(free_port()))
    assert done.returncode != 0


def test_what_jupyterhub_types(start, origin, certificate):
    key, cert = certificate
    hub = f"{origin.url}/hub/error"
    proxy = start(
        "--error-target", hub, "--log-level", "info", "--ssl-key", key, "--ssl-cert", cert, scheme="https"
    )  # fmt: skip
    proxy.add("/", origin.url, hub=True, jupyterhub=True)
    answer = proxy.public("GET", "/x")
    assert answer.json["origin"] == "origin"
    assert dict(map(lambda pair: (pair[0].lower(), pair[1]), answer.json["headers"]))["x-forwarded-proto"] == "https"


def test_what_zero_to_jupyterhub_types(origin, tmp_path):
    from processes import Process

    port, api_port = free_port(), free_port()
    args = ["--ip=", "--api-ip=", f"--api-port={api_port}", f"--default-target={origin.url}"]
    args += [f"--error-target={origin.url}/hub/error", f"--port={port}", "--log-level=debug"]
    env = {"PATH": f"{NODE}:{os.environ['PATH']}", "CONFIGPROXY_AUTH_TOKEN": "t"}
    process = Process("proxy", tmp_path, [*COMMAND, *args], env)
    try:
        wait_until(Client(port).connects, PATIENCE, "it to listen")
        assert Client(port)("GET", "/x").json["origin"] == "origin"
        assert Client(api_port)("GET", "/api/routes", [("Authorization", "token t")]).status == 200
        assert Client(port)("GET", "/_chp_healthz").status == 200
    finally:
        process.kill()


def test_an_empty_ip_after_a_blank_is_all_interfaces(origin, tmp_path):
    from processes import Process

    port, api_port = free_port(), free_port()
    args = ["--ip", "", "--port", str(port), "--api-ip", "127.0.0.1", "--api-port", str(api_port)]
    env = {"PATH": f"{NODE}:{os.environ['PATH']}", "CONFIGPROXY_AUTH_TOKEN": "t"}
    process = Process("proxy", tmp_path, [*COMMAND, *args], env)
    try:
        wait_until(Client(port).connects, PATIENCE, "it to listen")
    finally:
        process.kill()


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_the_ports_are_free_at_once_after_the_first_signal(start, stop):
    proxy = start()
    os.kill(proxy.process.pid, stop)
    wait_until(lambda: not proxy.public.connects() and not proxy.api.connects(), 1, "both ports to be free")
    proxy.process.wait(PATIENCE)


def test_it_ends_within_a_second_of_the_second_signal(start, origin):
    proxy = start("--default-target", origin.url)
    connection = proxy.public.connect()
    connection.send_request("GET", "/x?silent", [("Host", "x")])
    os.kill(proxy.process.pid, signal.SIGTERM)
    wait_until(lambda: not proxy.public.connects(), 5, "the port to be free")
    if proxy.process.exit_code() is None:
        os.kill(proxy.process.pid, signal.SIGTERM)
    proxy.process.wait(2)
    connection.close()


def test_the_pid_file_is_written_and_removed(start, tmp_path):
    file = tmp_path / "proxy.pid"
    proxy = start("--pid-file", str(file))
    assert int(file.read_text()) == proxy.process.pid
    proxy.process.stop()
    assert not file.exists()


@pytest.mark.parametrize(
    "args",
    [
        ["--log-level", "debug"],
        ["--log-level", "warn"],
        ["--log-level", "error"],
        ["--timeout", "60000", "--proxy-timeout", "60000"],
        ["--keep-alive-timeout", "65000"],
        ["--ssl-protocol", "TLSv1_2"],
        ["--ssl-ciphers", "HIGH"],
        ["--ssl-allow-rc4"],
        ["--insecure"],
        ["--client-ssl-request-cert", "--client-ssl-reject-unauthorized"],
    ],
)
def test_options_of_configurable_http_proxy_are_taken(start, origin, args):
    proxy = start(*args, "--default-target", origin.url)
    assert proxy.public("GET", "/x").status == 200
    proxy.process.kill()


def test_without_a_token_the_api_on_loopback_is_open_and_says_so(start):
    proxy = start(token=None)
    assert proxy.api("GET", "/api/routes").status == 200
    wait_until(lambda: "not authenticated" in proxy.process.log, PATIENCE, "the log to say that there is no token")


def test_unix_sockets_to_listen_on(origin, tmp_path):
    from processes import Process

    public, api = str(tmp_path / "p.sock"), str(tmp_path / "a.sock")
    env = {"PATH": f"{NODE}:{os.environ['PATH']}", "CONFIGPROXY_AUTH_TOKEN": "t"}
    process = Process("proxy", tmp_path, [*COMMAND, "--socket", public, "--api-socket", api, "--default-target", origin.url], env)
    try:
        wait_until(lambda: os.path.exists(public) and os.path.exists(api), PATIENCE, "the sockets")
        assert Client(0, path=public)("GET", "/x", host="h").json["origin"] == "origin"
        assert Client(0, path=api)("GET", "/api/routes", [("Authorization", "token t")], host="h").status == 200
    finally:
        process.kill()


def test_the_lines_that_other_programs_wait_for(start, origin):
    proxy = start("--default-target", origin.url)
    proxy.add("/a", origin.url)
    wait_until(lambda: "Route added /a" in proxy.process.log, 5, "the line of the new route")
    log = proxy.process.log
    assert "Proxying" in log and "Route added / " in log and "Adding route /a -> " in log


class TestMetrics:
    @pytest.fixture(scope="class")
    @classmethod
    def measured(cls, start, origin):
        port = free_port()
        proxy = start("--metrics-ip", "127.0.0.1", "--metrics-port", str(port), "--default-target", origin.url)
        proxy.metrics = Client(port)
        return proxy

    def test_the_names(self, measured):
        measured.public("GET", "/x")
        measured.routes()
        text = measured.metrics("GET", "/metrics").text
        for name in ("api_route_get", "api_route_add", "api_route_delete", "requests_web", "requests_ws", "requests_proxy"):
            assert f"\n{name}" in "\n" + text, name
        assert 'requests_proxy{status="200"}' in text or 'requests_proxy_total{status="200"}' in text

    def test_nothing_else_is_there(self, measured):
        assert measured.metrics("GET", "/").status == 404


class TestTls:
    def test_https_targets_are_verified(self, start, new_origin, certificate):
        secure = new_origin("secure", certificate=certificate)
        known = start("--client-ssl-ca", certificate[1])
        known.add("/s", secure.url)
        # 5.3 compares the certificate with the client's Host; ours with the target's.
        assert known.public("GET", "/s", host="localhost").json["origin"] == "secure"
        unknown = start()
        unknown.add("/s", secure.url)
        assert unknown.public("GET", "/s", host="localhost").status == 503

    def test_a_client_certificate_is_shown_to_targets(self, start, new_origin, certificate):
        key, cert = certificate
        secure = new_origin("secure", certificate=certificate, client_ca=cert)
        proxy = start("--client-ssl-ca", cert, "--client-ssl-key", key, "--client-ssl-cert", cert)
        proxy.add("/s", secure.url)
        assert proxy.public("GET", "/s", host="localhost").json["origin"] == "secure"

    def test_the_api_can_demand_a_client_certificate(self, start, certificate):
        key, cert = certificate
        args = ["--api-ssl-key", key, "--api-ssl-cert", cert, "--api-ssl-ca", cert]
        proxy = start(*args, "--api-ssl-request-cert", "--api-ssl-reject-unauthorized")
        authorization = [("Authorization", f"token {proxy.token}")]
        own = Client(proxy.api_port, authorization, tls=True, certificate=certificate)
        assert own("GET", "/api/routes").status == 200
        with pytest.raises((OSError, EOFError)):
            Client(proxy.api_port, authorization, tls=True)("GET", "/api/routes")

    def test_the_redirect_port(self, start, certificate, origin):
        key, cert = certificate
        port = free_port()
        args = ["--ssl-key", key, "--ssl-cert", cert, "--redirect-port", str(port), "--default-target", origin.url]
        proxy = start(*args, scheme="https")
        plain = Client(port)
        wait_until(plain.connects, PATIENCE, "the redirect port")
        answer = plain("GET", "/x?y=1", host="hub.test")
        assert answer.status in better(chp=[301], ours=[301, 308])
        assert answer.header("Location") == f"https://hub.test:{proxy.port}/x?y=1"

    def test_the_redirect_port_may_name_another(self, start, certificate):
        key, cert = certificate
        port = free_port()
        start("--ssl-key", key, "--ssl-cert", cert, "--redirect-port", str(port), "--redirect-to", "443", scheme="https")
        wait_until(Client(port).connects, PATIENCE, "the redirect port")
        location = Client(port)("GET", "/x", host="hub.test").header("Location")
        assert location in better(chp=["https://hub.test:443/x"], ours=["https://hub.test:443/x", "https://hub.test/x"])
