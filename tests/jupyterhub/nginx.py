"""A real nginx that guards an application by `auth_request`, configured as the README says."""

import os
import shutil

from hub_services import call
from processes import Process, free_port, wait_until

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
}}
"""


class Nginx:
    def __init__(self, folder, management):
        self.folder = folder
        port, application_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        # The tests' folder is the tests' own: as root, nginx would give its workers to a user who may not read it.
        user = "user root root;" if os.geteuid() == 0 else ""
        names = {
            "user": user,
            "folder": folder,
            "port": port,
            "application_port": application_port,
            "management": management,
        }
        (folder / "nginx.conf").write_text(CONFIG.format(**names))

    def start(self):
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        command = [program, "-p", self.folder, "-c", self.folder / "nginx.conf", "-e", self.folder / "error.log"]
        self.process = Process("nginx", self.folder, command, {})
        wait_until(self._answers, 20, "nginx to answer")
        return self

    def _answers(self):
        assert self.process.exit_code() is None, f"nginx ended at once:\n{self.process.log}"
        try:
            return call(f"{self.url}/")
        except OSError:
            return False

    def stop(self):
        self.process.stop()
