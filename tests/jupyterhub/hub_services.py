"""Services of a real hub with the smallest roles, as the README names them, and calls with tokens of any kind."""

import base64
import json
import secrets
import urllib.error
import urllib.parse
import urllib.request

from processes import PATIENCE

# The smallest role for each feature that needs one; the README has the same table.
ROLES = {"hub_tokens": [], "token_exchange": ["tokens"]}


class Services:
    """Services of a hub, each with a token; `extra` is for `start_hub`."""

    def __init__(self, **scopes):
        self.tokens = {name: secrets.token_hex(16) for name in scopes}
        services = [{"name": name, "api_token": token} for name, token in self.tokens.items()]
        roles = [{"name": name, "services": [name], "scopes": wanted} for name, wanted in scopes.items() if wanted]
        lines = f"c.JupyterHub.services += {services!r}\nc.JupyterHub.load_roles += {roles!r}\n"
        self.extra = lines.replace("{", "{{").replace("}", "}}")

    def __getitem__(self, name):
        return self.tokens[name]


class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.body = answer.status, answer.headers, answer.read()

    @property
    def json(self):
        return json.loads(self.body or "null")

    def __repr__(self):
        return f"<{self.status} {self.body[:300]!r}>"


def call(url, method="GET", token=None, body=None, form=None, headers=None):
    """One request, whatever its answer. `token`: as at the Hub API; `form`: a dict, posted as one."""
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"token {token}"
    data = None
    if body is not None:
        data, headers["Content-Type"] = json.dumps(body).encode(), "application/json"
    if form is not None:
        data, headers["Content-Type"] = urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded"
    request = urllib.request.Request(url, method=method, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return Answer(answer)
    except urllib.error.HTTPError as error:
        return Answer(error)


def basic(name, key):
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{key}".encode()).decode()}


def metric(latch, name):
    """The value of a metric of hublatch's, 0 if it is not there yet."""
    text = call(f"{latch.management}/metrics").body.decode()
    return next((float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name + " ")), 0.0)
