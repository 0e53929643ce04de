"""hublatch on the hub's side: the authenticator, the proxy class, and the way to have both beside another login.

Nothing is imported before it is asked for, so that a hub which uses one of them loads only that one.
"""

from importlib import import_module

_HOME = {
    "HublatchAuthenticator": "authenticator",
    "HublatchBesideAuthenticator": "authenticator",
    "beside": "authenticator",
    "HublatchProxy": "proxy",
}

__all__ = sorted(_HOME)


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__():
    return sorted([*globals(), *__all__])
