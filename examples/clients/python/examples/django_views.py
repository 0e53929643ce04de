"""Django: a view that leads whoever is logged in into the notebook, and the end of the sessions there at a logout.

urls.py:    path("notebook", django_views.notebook)
apps.py:    user_logged_out.connect(django_views.end_sessions)
settings:   HUBLATCH_URL = "http://127.0.0.1:8010"; HUBLATCH_KEY = Path("/run/secrets/hublatch.key").read_text()

A logout ends the sessions at the hub as well: in hublatch.toml the app needs scopes = ["issue", "read", "revoke", "end"].
"""

import functools
import logging

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST
from hublatch_client import Hublatch, HublatchError

log = logging.getLogger(__name__)


@functools.lru_cache
def latch():
    return Hublatch(settings.HUBLATCH_URL, settings.HUBLATCH_KEY)


@require_POST
@login_required
@never_cache
def notebook(request):
    try:
        link = latch().link(request.user.get_username(), path="lab")
    except HublatchError as error:
        log.error("hublatch: %s (request %s)", error, error.request_id)
        return HttpResponse("The notebooks do not answer right now. Please try again.", status=503)
    return HttpResponse(status=303, headers={"Location": link["url"]})


def end_sessions(sender, request, user, **kwargs):
    # Django calls this before it ends its own session: what fails here must keep nobody logged in.
    if user is None:
        return
    try:
        latch().end_sessions(user.get_username())
    except HublatchError as error:
        log.error("hublatch: the sessions of a user may go on: %s (request %s)", error, error.request_id)
