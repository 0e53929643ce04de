"""What a JupyterHub behind hublatch needs: paste from here into your own jupyterhub_config.py.

Tried with JupyterHub 4.1 and 6.1. Put hublatch_authenticator.py, which `hublatch init` writes, where the hub's Python
finds it: beside this file with PYTHONPATH set to the folder, or in the site-packages of the hub's environment.
"""

c = get_config()  # noqa: F821

# --- Who may log in -------------------------------------------------------------------------------------------------

c.JupyterHub.authenticator_class = "hublatch_authenticator.HublatchAuthenticator"
# The public half of hublatch's assertion key. `hublatch init` writes it beside the private one, which the hub must
# not have. To change keys, put both public keys into the file, change hublatch's key, then take the old one out: the
# file is read again whenever it changes.
c.HublatchAuthenticator.public_key_file = "/etc/hublatch/assertion.pub.pem"
# hublatch's `assertion.audience`. Several hubs behind one key: a name for each.
c.HublatchAuthenticator.audience = "jupyterhub"

# The hub's own lists still count. allow_all means: whomever hublatch proves.
c.Authenticator.allow_all = True  # JupyterHub 5 and later; 4.1 allows all unless allowed_users is set
# c.Authenticator.allowed_users = {"alice", "bob"}
# c.Authenticator.blocked_users = {"mallory"}
# c.Authenticator.admin_users = {"carol"}  # the only way to be an admin: a link never makes one

# The `groups` and `claims` of a link.
# c.Authenticator.manage_groups = True  # a link without groups then takes the user out of every group
# c.Authenticator.enable_auth_state = True  # needs JUPYTERHUB_CRYPT_KEY; claims are auth_state["claims"]

# --- Where requests come from ---------------------------------------------------------------------------------------

# The hub's own public proxy is what hublatch's `hub.url` names; nobody else needs to reach it.
c.JupyterHub.bind_url = "http://127.0.0.1:8400/"
# hublatch's address, so that the hub logs the visitor's address and not hublatch's.
c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]

# The hub on a unix socket, which keeps local processes other than its own proxy away from it. Notebooks then
# reach the Hub API through hublatch's public address (host and port only, "/hub/api" is appended).
# c.JupyterHub.hub_bind_url = "http+unix://%2Frun%2Fjupyterhub%2Fhub.sock/"
# c.Spawner.hub_connect_url = "http://127.0.0.1:8000"

# --- What hublatch asks the hub itself ------------------------------------------------------------------------------

# hublatch's own service, whose token is its `hub.api_token_file`, with no more than the features in use need
# (docs/hub-tokens.md): "tokens" for hub tokens in exchange for an application's, more for launches.
# c.JupyterHub.services = [{"name": "hublatch", "api_token": open("/etc/hublatch/hub.token").read().strip()}]
# c.JupyterHub.load_roles = [{"name": "hublatch", "services": ["hublatch"], "scopes": ["tokens"]}]

# --- Without our authenticator --------------------------------------------------------------------------------------

# Any authenticator that reads the user's name from a header works behind hublatch as well, with no [assertion]
# section in hublatch.toml. WARNING: the header is then the only proof. Whoever reaches the hub's port or its public
# proxy without passing hublatch can be anybody, admins included, and notebooks do reach that port. Use it only where
# neither users nor their notebooks can, or make the header's name a long secret (`login.user_header`).
# c.JupyterHub.authenticator_class = "jhub_remote_user_authenticator.remote_user_auth.RemoteUserAuthenticator"
