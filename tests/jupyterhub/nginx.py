"""Real nginx: one that guards an application by `auth_request`, as the README says, and a TLS front as we ship it."""

import os
import shutil
import subprocess

from browser import raw
from hub_services import call
from processes import PATIENCE, ROOT, Process, free_port, wait_until

CONFIG = """
{user}
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{servers}
}}
"""

GUARD = """
  server {{
    listen 127.0.0.1:{port};
    location /docs/ {{
      auth_request /_hub;
      auth_request_set $hub_user $upstream_http_remote_user;
      auth_request_set $hub_groups $upstream_http_remote_groups;
      proxy_set_header Remote-User $hub_user;
      proxy_set_header Remote-Groups $hub_groups;
      proxy_pass http://127.0.0.1:{application_port};
    }}
    location = /_hub {{
      internal;
      proxy_pass {management}/api/v1/forward-auth?group=staff&scope=access:services!service=docs;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }}
  }}

  server {{
    listen 127.0.0.1:{application_port};
    location / {{
      return 200 "user=$http_remote_user groups=$http_remote_groups path=$request_uri";
    }}
  }}
"""


class Nginx:
    def __init__(self, folder, management):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._write(folder, GUARD.format(port=port, application_port=free_port(), management=management))

    def _write(self, folder, servers):
        self.folder = folder
        # The tests' folder is the tests' own: as root, nginx would give its workers to a user who may not read it.
        user = "user root root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(CONFIG.format(user=user, folder=folder, servers=servers))

    def start(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        command = [program, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]
        self.process = Process("nginx", self.folder, command, {})
        wait_until(self._answers, PATIENCE, "nginx to answer")
        return self

    def _answers(self):
        assert self.process.exit_code() is None, f"nginx ended at once:\n{self.process.log}"
        try:
            return call(f"{self.url}/")
        except OSError:
            return False

    def stop(self):
        self.process.stop()


class Front(Nginx):
    """config/nginx/hublatch.conf, with addresses and files of the test in the place of its own."""

    def __init__(self, folder, port, hublatch):
        self.url = f"https://127.0.0.1:{port}"
        certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=front"
        subprocess.run([*command.split(), "-out", certificate, "-keyout", key], check=True, capture_output=True)
        text = (ROOT / "config/nginx/hublatch.conf").read_text()
        for written, ours in (
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            ("listen [::]:443 ssl", f"listen [::1]:{port} ssl"),
            ("listen 80;", f"listen 127.0.0.1:{free_port()};"),
            ("listen [::]:80;", f"listen [::1]:{free_port()};"),
            ("server 127.0.0.1:8000;", f"server {hublatch};"),
            ("/etc/nginx/tls/fullchain.pem", str(certificate)),
            ("/etc/nginx/tls/privkey.pem", str(key)),
            ("/var/log/nginx/", f"{folder}/"),
        ):
            assert text.count(written) == 1 or written == "/var/log/nginx/", written
            text = text.replace(written, ours)
        self._write(folder, text)

    def _answers(self):
        assert self.process.exit_code() is None, f"nginx ended at once:\n{self.process.log}"
        try:
            return raw("GET", f"{self.url}/hub/api/").status == 200
        except OSError:
            return False
