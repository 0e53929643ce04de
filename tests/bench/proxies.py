"""The proxies under measurement, each with the fairest configuration for the same work.

The same work is: HTTP/1.1 with kept connections to the origin, bodies streamed both ways, WebSockets, the same
forwarding headers set and a client's `REMOTE_USER` removed, no access log, one process or thread, generous timeouts and
connection counts. What differs from a proxy's defaults is said beside it.
"""

import base64
import hashlib
import json
import re
import secrets
import subprocess
from pathlib import Path

import clients
import tools
from process import Process, free_port

NGINX = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 19000;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error.log error;
events {{ worker_connections 18000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  sendfile on; tcp_nodelay on;
  keepalive_requests 1000000000;    # the default closes a connection after 1000
  client_max_body_size 0;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream origin {{
    server 127.0.0.1:{origin};
    keepalive 256;                  # the default keeps none
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    {tls}
    location / {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $connection_upgrade;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Port $server_port;
      proxy_set_header X-Scheme $scheme;
      proxy_set_header REMOTE_USER "";
      proxy_request_buffering off;  # uploads stream
      proxy_max_temp_file_size 0;   # downloads never go over the disk
      proxy_read_timeout 3600s; proxy_send_timeout 3600s;
    }}
    location /events {{
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Connection "";
      proxy_buffering off;          # elsewhere buffering stays on: without it nginx reads downloads in pieces of 4 KiB
    }}
  }}
}}
"""
NGINX_TLS = """listen 127.0.0.1:{tls_port} ssl http2 backlog=4096;
    ssl_certificate {folder}/tls/certificate.pem; ssl_certificate_key {folder}/tls/key.pem;
    ssl_protocols TLSv1.2 TLSv1.3;"""

HAPROXY = """
global
  nbthread 1
  maxconn 9000
defaults
  mode http
  option http-keep-alive
  http-reuse always                 # the default shares connections to the origin more carefully
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
  timeout tunnel 3600s
frontend public
  bind 127.0.0.1:{port} backlog 4096
  {tls}
  http-request del-header REMOTE_USER
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-Proto http if !{{ ssl_fc }}
  http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
  http-request set-header X-Scheme http if !{{ ssl_fc }}
  http-request set-header X-Scheme https if {{ ssl_fc }}
  http-request set-header X-Forwarded-Port %[dst_port]
  use_backend events if {{ path /events }}
  default_backend origin
backend origin
  server origin 127.0.0.1:{origin}
backend events
  option http-no-delay              # without it events wait for company
  server origin 127.0.0.1:{origin}
"""
HAPROXY_TLS = "bind 127.0.0.1:{tls_port} ssl crt {folder}/tls/both.pem alpn h2,http/1.1 ssl-min-ver TLSv1.2"

HUBLATCH = """
[public]
listen = "127.0.0.1:{listen}"
url = "{scheme}://127.0.0.1:{listen}"
threads = 1
{tls}
[management]
listen = "127.0.0.1:{management}"
[hub]
url = "http://127.0.0.1:{origin}"
[limits]
drain_timeout = "0s"
[log]
level = "warn"
access = {access}
audit = "{folder}/audit.log"
[[apps]]
name = "bench"
keys = ["sha256:{digest}"]
rate = "100000/s"
"""
# In the place of the hub's own proxy, and no other one behind it.
HUBLATCH_ROUTES = """
[hub]
[routes]
api_listen = "127.0.0.1:{routes}"
"""
HUBLATCH_TLS = 'tls = {{ certificate = "{folder}/tls/certificate.pem", private_key = "{folder}/tls/key.pem" }}'


class Proxy:
    """A running proxy. `port` speaks plain HTTP; `tls_port` is None where it has no TLS.

    `tls_process` is the process that answers there, if it is another one.
    """

    def __init__(self, name, version, process, port, tls_port=None, tls_process=None, h2=False, management=None):
        self.name, self.version, self.process, self.port = name, version, process, port
        self.tls_port, self.tls_process, self.h2 = tls_port, tls_process or process, h2
        self.management = management

    def stop(self):
        for process in {self.process, self.tls_process}:
            process.stop()


def origin(folder, name="origin", core=1):
    """The server behind the proxies; on the proxies' core it is the measure of what no proxy at all costs."""
    port = free_port()
    process = Process(name, [tools.built(folder, "origin"), port], folder / f"{name}.log", core)
    return Proxy(name, "", process.wait_for_port(port), port)


class Together:
    """Several processes that serve one request one after the other, measured as one."""

    def __init__(self, processes):
        self._processes = processes

    def cpu_seconds(self):
        return sum(process.cpu_seconds() for process in self._processes)

    def stop(self):
        for process in self._processes:
            process.stop()


def direct(folder, _origin_port, **_options):
    return origin(folder, "direct", core=0)


def nginx(folder, origin_port, name="nginx", **_options):
    port, tls_port = free_port(), free_port()
    home = made(folder / name)
    names = {"folder": folder, "origin": origin_port, "port": port, "tls_port": tls_port}
    (home / "nginx.conf").write_text(NGINX.format(**names, tls=NGINX_TLS.format(**names)))
    version = tools.first_line(["nginx", "-v"]).rpartition("/")[2]
    process = Process(name, [tools.path("nginx"), "-e", home / "start.log", "-c", home / "nginx.conf"], home / "log")
    return Proxy(name, version, process.wait_for_port(port), port, tls_port, h2=True)


def haproxy(folder, origin_port, **_options):
    port, tls_port = free_port(), free_port()
    home = made(folder / "haproxy")
    names = {"folder": folder, "origin": origin_port, "port": port, "tls_port": tls_port}
    (home / "haproxy.cfg").write_text(HAPROXY.format(**names, tls=HAPROXY_TLS.format(**names)))
    version = re.search(r"version ([\d.]+)", tools.first_line(["haproxy", "-v"]))[1]
    process = Process("HAProxy", [tools.path("haproxy"), "-db", "-f", home / "haproxy.cfg"], home / "log")
    return Proxy("HAProxy", version, process.wait_for_port(port), port, tls_port, h2=True)


def nginx_and_chp(folder, origin_port, **_options):
    """From browser to notebook as most hubs are installed: nginx, and JupyterHub's own proxy behind it."""
    behind = chp(folder, origin_port, name="CHP-behind", with_tls=False)
    front = nginx(folder, behind.port, name="nginx-front")
    version = f"{front.version} and {behind.version}"
    return Proxy("nginx+CHP", version, Together([front.process, behind.process]), front.port)


def chp(folder, origin_port, name="CHP", with_tls=True, **_options):
    """JupyterHub's own proxy. It has one listener, so TLS is a second process; it has no HTTP/2."""
    node = tools.ROOT / "target/node"
    home = made(folder / name)
    version = json.loads((node / "node_modules/configurable-http-proxy/package.json").read_text())["version"]

    def start(port, name, more):
        command = [node / "bin/node", node / "bin/configurable-http-proxy", "--ip", "127.0.0.1", "--port", port,
                   "--api-ip", "127.0.0.1", "--api-port", free_port(), "--log-level", "error",
                   "--default-target", f"http://127.0.0.1:{origin_port}", *more]
        token = {"CONFIGPROXY_AUTH_TOKEN": secrets.token_hex(16)}
        return Process(name, command, home / name, cwd=home, env=token).wait_for_port(port)

    port, tls_port = free_port(), free_port()
    plain = start(port, name, [])
    if not with_tls:
        return Proxy(name, version, plain, port)
    tls = start(tls_port, "CHP-TLS", ["--ssl-cert", folder / "tls/certificate.pem", "--ssl-key", folder / "tls/key.pem"])
    return Proxy(name, version, plain, port, tls_port, tls)


def hublatch(folder, origin_port, binary=None, name="hublatch", access_log=False, with_tls=False, wrapper=(), routed=False):
    """One process for http and, where it can, another for https: it speaks one of the two on a public listener.

    `routed`: it holds the routing table, in which the hub and one notebook server are."""
    # Without the commit: cargo tells that of the first build in this folder.
    version = tools.first_line([binary, "--version"]).rpartition(" ")[2].partition("+")[0]
    key = "hk_" + base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()

    def start(name, tls):
        home = made(folder / name)
        port, management = free_port(), free_port()
        text = HUBLATCH.format(
            listen=port, management=management, origin=origin_port, folder=home, scheme="https" if tls else "http",
            tls=HUBLATCH_TLS.format(folder=folder) if tls else "", access="true" if access_log else "false",
            digest=hashlib.sha256(key.encode()).hexdigest(),
        )
        if routed:
            routes = free_port()
            text = text.replace(f'[hub]\nurl = "http://127.0.0.1:{origin_port}"\n', HUBLATCH_ROUTES.format(routes=routes))
        if access_log:
            text = text.replace('level = "warn"', 'level = "info"')
        config = home / "hublatch.toml"
        config.write_text(text)
        config.chmod(0o600)
        process = Process(name, [*wrapper, binary, "serve", "--config", config], home / "log")
        process.wait_for_port(port, 60)
        if routed:
            clients.add_routes(routes, {"/": origin_port, "/user/alice": origin_port})
        return process, port, management

    process, port, management = start(name, tls=False)
    tls_process, tls_port, _ = start(f"{name}-tls", tls=True) if with_tls else (None, None, None)
    return Proxy(name, version, process, port, tls_port, tls_process, h2=with_tls, management=(management, key))


def hublatch_has_tls(binary, folder):
    """Whether this build takes `public.tls`: judged by its own `check`."""
    home = made(folder / "check")
    text = HUBLATCH.format(listen=8000, management=8001, origin=8400, folder=home, scheme="https", access="false",
                           tls=HUBLATCH_TLS.format(folder=folder), digest=hashlib.sha256(b"bench").hexdigest())
    (home / "hublatch.toml").write_text(text)
    return subprocess.run([binary, "check", "--config", home / "hublatch.toml"], capture_output=True).returncode == 0


def made(folder):
    Path(folder).mkdir(parents=True, exist_ok=True)
    return folder
