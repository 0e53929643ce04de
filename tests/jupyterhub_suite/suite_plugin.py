"""Makes HublatchProxy the proxy class of JupyterHub's MockHub, where the run is in `class` mode."""

import os


def pytest_configure(config):
    if os.environ.get("HUBLATCH_SUITE_MODE") != "class":
        return
    from hublatch.proxy import HublatchProxy
    from jupyterhub.tests.mocking import MockHub

    # How traitlets finds a default that is computed.
    MockHub._proxy_class_default = lambda self: HublatchProxy
