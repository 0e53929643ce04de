//! German.

use super::{Catalog, Confirm, Message};

const OPEN_AGAIN: &str = "Gehen Sie zurück zur Anwendung und öffnen Sie das Notebook noch einmal: \
     Jeder Link gilt nur einmal und nur für kurze Zeit.";
const RELOAD: &str = "Warten Sie einige Sekunden und laden Sie diese Seite neu. Gilt der Link dann nicht mehr, \
     gehen Sie zurück zur Anwendung und öffnen Sie das Notebook noch einmal.";
const TRY_AGAIN: &str =
    "Warten Sie einige Sekunden und versuchen Sie es noch einmal. Was gespeichert ist, geht nicht verloren.";
const START_OVER: &str = "Warten Sie einige Sekunden, gehen Sie dann zurück zur Anwendung und öffnen Sie das Notebook \
     noch einmal.";

pub(super) const WORDS: Catalog = Catalog {
    link_unknown: Message {
        title: "Dieser Link ist nicht bekannt",
        what: "Er ist unvollständig, oder er ist so alt, dass er nicht mehr gespeichert ist.",
        advice: OPEN_AGAIN,
    },
    link_expired: Message {
        title: "Dieser Link ist abgelaufen",
        what: "Er wurde erst geöffnet, als er nicht mehr gültig war.",
        advice: OPEN_AGAIN,
    },
    link_used: Message {
        title: "Dieser Link wurde schon benutzt",
        what: "Mit ihm hat sich bereits jemand angemeldet, und das geht nur einmal.",
        advice: OPEN_AGAIN,
    },
    link_revoked: Message {
        title: "Dieser Link wurde zurückgezogen",
        what: "Die Anwendung, die ihn ausgestellt hat, oder deren Betreiber hat ihn für ungültig erklärt.",
        advice: OPEN_AGAIN,
    },
    link_not_allowed: Message {
        title: "Dieser Link ist nicht zulässig",
        what: "Die Anwendung, die ihn ausgestellt hat, darf Ihnen diesen Zugang nicht oder nicht mehr gewähren.",
        advice: "Wenden Sie sich an die Betreiber der Anwendung.",
    },
    link_bound: Message {
        title: "Dieser Link gehört zu einem anderen Browser",
        what: "Er gilt nur in dem Browser, in dem er angefordert wurde, und dort gilt er weiterhin.",
        advice: "Öffnen Sie die Adresse der Notebooks in diesem Browser: Die Anwendung stellt dann einen Link für ihn \
             aus. Erscheint diese Seite wieder, erlauben Sie Cookies für diese Adresse.",
    },
    link_needs_state: Message {
        title: "Dieser Link kann hier nicht benutzt werden",
        what: "Hier gilt ein Link nur in dem Browser, der ihn angefordert hat, und dieser wurde für keinen Browser ausgestellt.",
        advice: "Öffnen Sie die Adresse der Notebooks in diesem Browser: Die Anwendung stellt dann einen Link für ihn \
             aus.",
    },
    link_required: Message {
        title: "Bitte beginnen Sie in der Anwendung",
        what: "Notebooks werden über einen Link in der Anwendung geöffnet; diese Adresse wurde ohne Link aufgerufen.",
        advice: "Gehen Sie zur Anwendung und öffnen Sie das Notebook dort. Falls Sie hier schon gearbeitet haben, \
             ist Ihre Sitzung beendet; was gespeichert ist, geht nicht verloren.",
    },
    hub_unavailable: Message {
        title: "Die Notebooks antworten gerade nicht",
        what: "Sie wurden nicht angemeldet, und Ihr Link ist noch nicht verbraucht.",
        advice: RELOAD,
    },
    store_unavailable: Message {
        title: "Ihr Link kann gerade nicht geprüft werden",
        what: "Der Dienst, der die Links kennt, antwortet nicht; deshalb wurde niemand angemeldet.",
        advice: RELOAD,
    },
    logout_failed: Message {
        title: "Die frühere Sitzung konnte nicht beendet werden",
        what: "In diesem Browser ist jemand anderes angemeldet. Damit sich nichts vermischt, wurden Sie nicht \
             angemeldet.",
        advice: START_OVER,
    },
    login_failed: Message {
        title: "Die Anmeldung wurde nicht abgeschlossen",
        what: "Die Notebooks haben mittendrin nicht mehr geantwortet, und Ihr Link ist jetzt verbraucht.",
        advice: START_OVER,
    },
    bad_gateway: Message {
        title: "Die Notebooks sind nicht erreichbar",
        what: "Der Server hinter dieser Adresse antwortet im Moment nicht.",
        advice: TRY_AGAIN,
    },
    gateway_timeout: Message {
        title: "Die Notebooks brauchen zu lange",
        what: "Der Server hinter dieser Adresse hat nicht rechtzeitig geantwortet.",
        advice: TRY_AGAIN,
    },
    too_many_tries: Message {
        title: "Zu viele unbekannte Links",
        what: "Aus Ihrem Netzwerk wurden viele Links geöffnet, die niemand kennt, und auch dieser ist nicht bekannt.",
        advice: "Warten Sie eine Minute, gehen Sie dann zurück zur Anwendung und öffnen Sie das Notebook noch einmal.",
    },
    server_starting: Message {
        title: "Ihr Server startet",
        what: "Sobald er bereit ist, geht es von selbst weiter.",
        advice: "Das kann einige Minuten dauern. Sie können diese Seite offen lassen oder später zu ihr zurückkehren.",
    },
    server_failed: Message {
        title: "Ihr Server ist nicht gestartet",
        what: "Sie sind angemeldet, aber der gewünschte Server ließ sich nicht starten.",
        advice: "Starten Sie ihn noch einmal. Hilft das nicht, zeigen Sie diese Seite den Betreibern der Anwendung.",
    },
    server_stopped: Message {
        title: "Ihr Server läuft nicht",
        what: "Er wurde angehalten oder hat sich selbst beendet.",
        advice: "Was gespeichert ist, geht nicht verloren. Starten Sie ihn noch einmal, um weiterzuarbeiten.",
    },
    server_limit: Message {
        title: "Für Ihren Server ist gerade kein Platz",
        what: "Es laufen oder starten zu viele Server.",
        advice: "Warten Sie ein wenig und starten Sie ihn dann noch einmal.",
    },
    server_refused: Message {
        title: "Ihr Server kann nicht gestartet werden",
        what: "Sie sind angemeldet, aber der gewünschte Server wurde Ihnen verweigert.",
        advice: "Starten Sie ihn in einer Minute noch einmal, oder gehen Sie zurück zur Anwendung und öffnen Sie das \
             Notebook noch einmal.",
    },
    not_waiting: Message {
        title: "Hier gibt es nichts abzuwarten",
        what: "Diese Seite gehört zu einer anderen Anmeldung, oder sie ist zu alt.",
        advice: "Gehen Sie zurück zur Anwendung und öffnen Sie das Notebook noch einmal.",
    },
    login_refused: Message {
        title: "Sie dürfen sich hier nicht anmelden",
        what: "Die Notebooks nehmen diese Anmeldung nicht an.",
        advice: "Wenden Sie sich an die Betreiber der Anwendung.",
    },
    logged_out: Message {
        title: "Sie sind abgemeldet",
        what: "Ihre Sitzung in diesem Browser ist beendet.",
        advice: "Um weiterzuarbeiten, gehen Sie zurück zur Anwendung und öffnen Sie das Notebook noch einmal.",
    },
    server_not_running: Message {
        title: "Dieser Server läuft nicht",
        what: "Er wurde angehalten oder noch nicht gestartet.",
        advice: "Starten Sie ihn in der Anwendung noch einmal. Was gespeichert ist, geht nicht verloren.",
    },
    page_not_found: Message {
        title: "Diese Seite gibt es nicht",
        what: "Unter dieser Adresse ist nichts zu finden.",
        advice: "Gehen Sie zur Anwendung und öffnen Sie das Notebook dort.",
    },
    unavailable: Message {
        title: "Dieser Dienst ist gerade überlastet",
        what: "Es kommen zu viele Anfragen, oder er wird gleich neu gestartet.",
        advice: "Warten Sie einige Sekunden und laden Sie diese Seite neu.",
    },
    rejected: Message {
        title: "Diese Anfrage wurde abgelehnt",
        what: "Unter dieser Adresse wird sie nicht angenommen, und zwar aus diesem Grund:",
        advice: "Gehen Sie zurück zur Anwendung und öffnen Sie das Notebook noch einmal. Erscheint diese Seite wieder, \
             zeigen Sie sie den Betreibern der Anwendung.",
    },
    rejections: &[
        ("method_not_allowed", "Diese Methode ist hier nicht erlaubt."),
        ("bad_host", "Die Anfrage muss genau einen lesbaren Host-Header haben."),
        ("authority_is_not_host", "Das Ziel der Anfrage und ihr Host-Header nennen verschiedene Rechner."),
        ("bad_target", "Das Ziel der Anfrage ist kein Pfad."),
        (
            "bad_path",
            "Der Pfad enthält ein Punkt-Segment, einen umgekehrten Schrägstrich oder ein Steuerzeichen.",
        ),
        ("link_damaged", "Der Link wurde unterwegs beschädigt: Öffnen Sie ihn in der Anwendung selbst."),
        ("bad_login_query", "Der Link enthält mehr als eine Anmeldung oder mehr als ein Ziel."),
        ("bad_next", "Das Ziel dieses Links ist nicht erlaubt."),
        ("not_a_navigation", "Ein Anmeldelink muss als eigene Seite geöffnet werden."),
        ("login_is_no_upgrade", "Eine Anmeldung kann nicht auf ein anderes Protokoll wechseln."),
        ("bad_login_form", "Das Anmeldeformular kann nicht gelesen werden."),
        ("bad_framing", "Die Länge des Inhalts der Anfrage ist nicht eindeutig."),
        ("body_too_large", "Der Inhalt dieser Anfrage ist zu groß."),
        ("body_stalled", "Vom Inhalt dieser Anfrage kam zu lange nichts an."),
        ("body_incomplete", "Der Inhalt dieser Anfrage kam nicht vollständig an."),
    ],
    confirm: Confirm {
        title: "Weiter als {user}",
        title_unnamed: "Weiter",
        what: "Sie werden in diesem Browser als {user} angemeldet.",
        what_unnamed: "Sie werden in diesem Browser angemeldet.",
        advice: "Wenn Sie das nicht angefordert haben, schließen Sie diese Seite: Dann geschieht nichts.",
        switch: "Sie sind jetzt als {current} angemeldet. Wenn Sie fortfahren, endet diese Sitzung, und Sie werden als \
             {user} angemeldet.",
        switch_advice: "Speichern Sie vorher, was Sie als {current} geöffnet haben. Wenn Sie das nicht angefordert \
             haben, schließen Sie diese Seite: Dann ändert sich nichts.",
    },
    back: "Zurück zur Anwendung",
    back_to: "Zurück zu {app}",
    start_again: "Noch einmal starten",
    so_far: "Was bisher geschehen ist",
    again: "Noch einmal versuchen",
    error: "Fehler {status}, {code}",
};
