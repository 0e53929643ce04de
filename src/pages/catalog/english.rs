//! English.

use super::{Catalog, Confirm, Message};

const OPEN_AGAIN: &str = "Go back to the application and open the notebook again: each link works only once, and only for a short time.";
const RELOAD: &str = "Wait a few seconds, then reload this page. If the link no longer works by then, \
     go back to the application and open the notebook again.";
const TRY_AGAIN: &str = "Wait a few seconds, then try again. Work that is saved is not lost.";
const START_OVER: &str = "Wait a few seconds, then go back to the application and open the notebook again.";

pub(super) const WORDS: Catalog = Catalog {
    link_unknown: Message {
        title: "This link is not known",
        what: "It is incomplete, or it is so old that it has been forgotten.",
        advice: OPEN_AGAIN,
    },
    link_expired: Message {
        title: "This link has expired",
        what: "It was opened after its time was over.",
        advice: OPEN_AGAIN,
    },
    link_used: Message {
        title: "This link has already been used",
        what: "It has logged somebody in before, and it does so only once.",
        advice: OPEN_AGAIN,
    },
    link_revoked: Message {
        title: "This link has been withdrawn",
        what: "The application that made it, or whoever runs it, has called it back.",
        advice: OPEN_AGAIN,
    },
    link_not_allowed: Message {
        title: "This link is not allowed",
        what: "The application that made it may not, or may no longer, open this for you.",
        advice: "Ask the people who run the application.",
    },
    link_bound: Message {
        title: "This link belongs to another browser",
        what: "It works only in the browser in which it was asked for, and there it still does.",
        advice: "Open the address of the notebooks in this browser: the application then makes a link for it. \
             If this page comes back, allow cookies for this address.",
    },
    link_needs_state: Message {
        title: "This link cannot be used here",
        what: "Links work here only in the browser that has asked for them, and this one was not made for any browser.",
        advice: "Open the address of the notebooks in this browser: the application then makes a link for it.",
    },
    link_required: Message {
        title: "Please start from the application",
        what: "Notebooks open from a link in the application, and this address was opened without one.",
        advice: "Go to the application and open the notebook there. If you were working here before, \
             your session has ended; work that is saved is not lost.",
    },
    hub_unavailable: Message {
        title: "The notebooks do not answer right now",
        what: "You have not been logged in, and your link has not been used up.",
        advice: RELOAD,
    },
    store_unavailable: Message {
        title: "Your link cannot be checked right now",
        what: "The service that knows the links does not answer, so nobody has been logged in.",
        advice: RELOAD,
    },
    logout_failed: Message {
        title: "The earlier session could not be ended",
        what: "Somebody else has a session in this browser. To keep the two apart, you have not been logged in.",
        advice: START_OVER,
    },
    login_failed: Message {
        title: "The login was not finished",
        what: "The notebooks stopped answering in the middle of it, and your link is used up now.",
        advice: START_OVER,
    },
    bad_gateway: Message {
        title: "The notebooks cannot be reached",
        what: "The server behind this address does not answer at the moment.",
        advice: TRY_AGAIN,
    },
    gateway_timeout: Message {
        title: "The notebooks take too long to answer",
        what: "The server behind this address was asked, and no answer came in time.",
        advice: TRY_AGAIN,
    },
    too_many_tries: Message {
        title: "Too many unknown links",
        what: "Many links that nobody knows have been opened from your network, and this one is not known either.",
        advice: "Wait a minute, then go back to the application and open the notebook again.",
    },
    server_starting: Message {
        title: "Your server is starting",
        what: "This page goes on by itself when it is ready.",
        advice: "That can take a few minutes. You may leave this page open, or come back to it.",
    },
    server_failed: Message {
        title: "Your server did not start",
        what: "You are logged in, but the server that you wanted could not be started.",
        advice: "Start it again. If that does not help, show this page to the people who run the application.",
    },
    server_stopped: Message {
        title: "Your server is not running",
        what: "It was stopped, or it has ended by itself.",
        advice: "Work that is saved is not lost. Start it again to go on.",
    },
    server_limit: Message {
        title: "There is no room for your server right now",
        what: "Too many servers are running or starting.",
        advice: "Wait a little, then start it again.",
    },
    server_refused: Message {
        title: "Your server cannot be started",
        what: "You are logged in, but the server that you wanted was refused.",
        advice: "Start it again in a minute, or go back to the application and open the notebook again.",
    },
    not_waiting: Message {
        title: "There is nothing to wait for here",
        what: "This page belongs to another login, or it is too old.",
        advice: "Go back to the application and open the notebook again.",
    },
    login_refused: Message {
        title: "You may not log in here",
        what: "The notebooks do not accept this login.",
        advice: "Ask the people who run the application.",
    },
    logged_out: Message {
        title: "You are logged out",
        what: "Your session in this browser has ended.",
        advice: "To work on, go back to the application and open the notebook again.",
    },
    server_not_running: Message {
        title: "This server is not running",
        what: "It was stopped, or it has not been started yet.",
        advice: "Start it again from the application. Work that is saved is not lost.",
    },
    page_not_found: Message {
        title: "This page does not exist",
        what: "There is nothing at this address.",
        advice: "Go to the application and open the notebook there.",
    },
    unavailable: Message {
        title: "This service is too busy right now",
        what: "It is overloaded, or it is about to restart.",
        advice: "Wait a few seconds, then reload this page.",
    },
    rejected: Message {
        title: "This request was refused",
        what: "This address does not accept it, for this reason:",
        advice: "Go back to the application and open the notebook again. If this page comes back, \
             show it to the people who run the application.",
    },
    // The callers' own sentences are English.
    rejections: &[],
    confirm: Confirm {
        title: "Continue as {user}",
        title_unnamed: "Continue",
        what: "You are about to be logged in as {user} in this browser.",
        what_unnamed: "You are about to start a session in this browser.",
        advice: "If you did not ask for this, close this page: nothing happens.",
        switch: "You are logged in as {current} now. If you continue, that session ends and you are logged in as {user}.",
        switch_advice: "Save what you have open as {current} first. If you did not ask for this, close this page: \
             nothing changes.",
    },
    back: "Back to the app",
    back_to: "Back to {app}",
    start_again: "Start it again",
    so_far: "What has happened so far",
    again: "Try again",
    error: "Error {status}, {code}",
};
