"""A Flask application with one button: whoever is logged in here gets into the notebook.

    pip install flask ./examples/clients/python
    HUBLATCH_API_URL=... HUBLATCH_API_KEY_FILE=... SECRET_KEY=... flask --app examples/clients/python/examples/flask_app.py run

A logout ends the sessions at the hub as well: in hublatch.toml the app needs scopes = ["issue", "read", "revoke", "end"].
"""

import os

from flask import Flask, abort, redirect, request, session
from hublatch_client import Hublatch, HublatchError

app = Flask(__name__)
app.secret_key = os.environ["SECRET_KEY"]
latch = Hublatch.from_environment()


# In the place of your own login: here everybody may be anybody.
@app.post("/login")
def login():
    session["user"] = request.form["name"]
    return redirect("/", 303)


@app.get("/")
def page():
    if "user" not in session:
        return '<form method="post" action="/login"><label>Name <input name="name" value="alice"></label> <button>Log in</button></form>'
    return '<form method="post" action="/notebook"><button>To my notebook</button></form>'


# A POST: a link is made by a person's click, and by no prefetch. Protect it against other sites as all your forms
# (here the session's cookie does, which Flask can be told to set with SameSite=Lax).
@app.post("/notebook")
def notebook():
    if "user" not in session:
        abort(401)
    try:
        link = latch.link(session["user"], path="lab")
    except HublatchError as error:
        # For the operator: the code, and the id by which hublatch's log has the call.
        app.logger.error("hublatch: %s (request %s)", error, error.request_id)
        return "The notebooks do not answer right now. Please try again.", 503
    # 303: the browser goes on with a GET, and the response is kept by nobody.
    response = redirect(link["url"], 303)
    response.headers["Cache-Control"] = "no-store"
    return response


@app.post("/logout")
def logout():
    user = session.pop("user", None)
    if user:
        try:
            latch.end_sessions(user)
        except HublatchError as error:
            # They are logged out here in any case.
            app.logger.error("hublatch: the sessions of a user may go on: %s (request %s)", error, error.request_id)
    return redirect("/", 303)


app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
