//! French.
//!
//! Before `;`, `?` and `!` stands a narrow no-break space (U+202F), before `:` a no-break space (U+00A0).

use super::{Catalog, Confirm, Message};

const OPEN_AGAIN: &str = "Retournez dans l’application et ouvrez de nouveau le notebook : \
     chaque lien ne fonctionne qu’une seule fois, et pendant peu de temps.";
const RELOAD: &str = "Attendez quelques secondes, puis rechargez cette page. Si le lien ne fonctionne plus alors, \
     retournez dans l’application et ouvrez de nouveau le notebook.";
const TRY_AGAIN: &str = "Attendez quelques secondes, puis réessayez. Le travail enregistré n’est pas perdu.";
const START_OVER: &str =
    "Attendez quelques secondes, puis retournez dans l’application et ouvrez de nouveau le notebook.";

pub(super) const WORDS: Catalog = Catalog {
    link_unknown: Message {
        title: "Ce lien est inconnu",
        what: "Il est incomplet, ou si ancien qu’il a été oublié.",
        advice: OPEN_AGAIN,
    },
    link_expired: Message {
        title: "Ce lien a expiré",
        what: "Il a été ouvert après la fin de sa validité.",
        advice: OPEN_AGAIN,
    },
    link_used: Message {
        title: "Ce lien a déjà été utilisé",
        what: "Il a déjà servi à une connexion, et il ne peut servir qu’une seule fois.",
        advice: OPEN_AGAIN,
    },
    link_revoked: Message {
        title: "Ce lien a été révoqué",
        what: "L’application qui l’a créé, ou ses responsables, l’ont annulé.",
        advice: OPEN_AGAIN,
    },
    link_not_allowed: Message {
        title: "Ce lien n’est pas autorisé",
        what: "L’application qui l’a créé ne peut pas, ou ne peut plus, vous donner cet accès.",
        advice: "Adressez-vous aux responsables de l’application.",
    },
    link_bound: Message {
        title: "Ce lien appartient à un autre navigateur",
        what: "Il ne fonctionne que dans le navigateur où il a été demandé, et il y reste valable.",
        advice: "Ouvrez l’adresse des notebooks dans ce navigateur : l’application créera alors un lien pour lui. \
             Si cette page revient, autorisez les cookies pour cette adresse.",
    },
    link_needs_state: Message {
        title: "Ce lien ne peut pas être utilisé ici",
        what: "Ici, un lien ne fonctionne que dans le navigateur qui l’a demandé, et celui-ci n’a été créé pour aucun navigateur.",
        advice: "Ouvrez l’adresse des notebooks dans ce navigateur : l’application créera alors un lien pour lui.",
    },
    link_required: Message {
        title: "Veuillez commencer dans l’application",
        what: "Les notebooks s’ouvrent par un lien dans l’application, et cette adresse a été ouverte sans lien.",
        advice: "Allez dans l’application et ouvrez-y le notebook. Si vous travailliez ici auparavant, \
             votre session est terminée ; le travail enregistré n’est pas perdu.",
    },
    hub_unavailable: Message {
        title: "Les notebooks ne répondent pas pour le moment",
        what: "La connexion n’a pas eu lieu, et votre lien peut encore servir.",
        advice: RELOAD,
    },
    store_unavailable: Message {
        title: "Votre lien ne peut pas être vérifié pour le moment",
        what: "Le service qui connaît les liens ne répond pas ; la connexion n’a donc pas eu lieu.",
        advice: RELOAD,
    },
    logout_failed: Message {
        title: "La session précédente n’a pas pu être fermée",
        what: "Une autre personne est connectée dans ce navigateur. Pour que rien ne se mélange, \
             votre connexion n’a pas eu lieu.",
        advice: START_OVER,
    },
    login_failed: Message {
        title: "La connexion n’a pas abouti",
        what: "Les notebooks ont cessé de répondre en cours de route, et votre lien ne peut plus servir.",
        advice: START_OVER,
    },
    bad_gateway: Message {
        title: "Les notebooks sont injoignables",
        what: "Le serveur derrière cette adresse ne répond pas en ce moment.",
        advice: TRY_AGAIN,
    },
    gateway_timeout: Message {
        title: "Les notebooks mettent trop de temps à répondre",
        what: "Le serveur derrière cette adresse n’a pas répondu à temps.",
        advice: TRY_AGAIN,
    },
    too_many_tries: Message {
        title: "Trop de liens inconnus",
        what: "De nombreux liens que personne ne connaît ont été ouverts depuis votre réseau, \
             et celui-ci est lui aussi inconnu.",
        advice: "Attendez une minute, puis retournez dans l’application et ouvrez de nouveau le notebook.",
    },
    server_starting: Message {
        title: "Votre serveur démarre",
        what: "Dès qu’il sera prêt, la suite s’affichera d’elle-même.",
        advice: "Cela peut prendre quelques minutes. Vous pouvez laisser cette page ouverte ou y revenir plus tard.",
    },
    server_failed: Message {
        title: "Votre serveur n’a pas démarré",
        what: "La connexion a réussi, mais le serveur demandé n’a pas pu être démarré.",
        advice: "Démarrez-le de nouveau. Si cela ne suffit pas, montrez cette page aux responsables de l’application.",
    },
    server_stopped: Message {
        title: "Votre serveur est à l’arrêt",
        what: "Il a été arrêté, ou il s’est arrêté de lui-même.",
        advice: "Le travail enregistré n’est pas perdu. Démarrez-le de nouveau pour continuer.",
    },
    server_limit: Message {
        title: "Il n’y a pas de place pour votre serveur en ce moment",
        what: "Trop de serveurs sont en marche ou en cours de démarrage.",
        advice: "Attendez un peu, puis démarrez-le de nouveau.",
    },
    server_refused: Message {
        title: "Votre serveur ne peut pas être démarré",
        what: "La connexion a réussi, mais le serveur demandé a été refusé.",
        advice: "Démarrez-le de nouveau dans une minute, ou retournez dans l’application et ouvrez de nouveau le notebook.",
    },
    not_waiting: Message {
        title: "Il n’y a rien à attendre ici",
        what: "Cette page appartient à une autre connexion, ou elle est trop ancienne.",
        advice: "Retournez dans l’application et ouvrez de nouveau le notebook.",
    },
    login_refused: Message {
        title: "Vous ne pouvez pas vous connecter ici",
        what: "Les notebooks n’acceptent pas cette connexion.",
        advice: "Adressez-vous aux responsables de l’application.",
    },
    logged_out: Message {
        title: "Déconnexion réussie",
        what: "Votre session dans ce navigateur est terminée.",
        advice: "Pour continuer à travailler, retournez dans l’application et ouvrez de nouveau le notebook.",
    },
    server_not_running: Message {
        title: "Ce serveur est à l’arrêt",
        what: "Il a été arrêté, ou il n’a pas encore été démarré.",
        advice: "Démarrez-le de nouveau depuis l’application. Le travail enregistré n’est pas perdu.",
    },
    page_not_found: Message {
        title: "Cette page n’existe pas",
        what: "Il n’y a rien à cette adresse.",
        advice: "Allez dans l’application et ouvrez-y le notebook.",
    },
    unavailable: Message {
        title: "Le service est trop sollicité",
        what: "Il est surchargé, ou sur le point de redémarrer.",
        advice: "Attendez quelques secondes, puis rechargez cette page.",
    },
    rejected: Message {
        title: "Cette requête a été refusée",
        what: "Cette adresse ne l’accepte pas, pour la raison suivante :",
        advice: "Retournez dans l’application et ouvrez de nouveau le notebook. Si cette page revient, \
             montrez-la aux responsables de l’application.",
    },
    rejections: &[
        ("method_not_allowed", "Cette méthode n’est pas autorisée ici."),
        ("bad_host", "La requête doit avoir exactement un en-tête Host lisible."),
        (
            "authority_is_not_host",
            "La cible de la requête et son en-tête Host désignent des hôtes différents.",
        ),
        ("bad_target", "La cible de la requête n’est pas un chemin."),
        (
            "bad_path",
            "Le chemin contient un segment à points, une barre oblique inversée ou un caractère de contrôle.",
        ),
        ("link_damaged", "Le lien a été abîmé en route : ouvrez-le dans l’application elle-même."),
        ("bad_login_query", "Le lien contient plus d’une connexion ou plus d’une destination."),
        ("bad_next", "La destination de ce lien n’est pas autorisée."),
        ("not_a_navigation", "Un lien de connexion doit être ouvert comme une page à part entière."),
        ("login_is_no_upgrade", "Une connexion ne peut pas passer à un autre protocole."),
        ("bad_login_form", "Le formulaire de connexion est illisible."),
        ("bad_framing", "La longueur du corps de la requête est ambiguë."),
        ("body_too_large", "Le corps de cette requête est trop volumineux."),
        ("body_stalled", "Le corps de cette requête s’est fait attendre trop longtemps."),
        ("body_incomplete", "Le corps de cette requête s’est interrompu."),
    ],
    confirm: Confirm {
        title: "Continuer en tant que {user}",
        title_unnamed: "Continuer",
        what: "Une session va s’ouvrir dans ce navigateur au nom de {user}.",
        what_unnamed: "Une session va s’ouvrir dans ce navigateur.",
        advice: "Si vous n’avez rien demandé, fermez cette page : il ne se passera rien.",
        switch: "Une session est ouverte en ce moment au nom de {current}. Si vous continuez, elle se fermera et une \
             autre s’ouvrira au nom de {user}.",
        switch_advice: "Enregistrez d’abord ce qui est ouvert au nom de {current}. Si vous n’avez rien demandé, \
             fermez cette page : rien ne changera.",
    },
    back: "Retour à l’application",
    back_to: "Retour à {app}",
    start_again: "Démarrer de nouveau",
    so_far: "Ce qui s’est passé jusqu’ici",
    again: "Réessayer",
    error: "Erreur {status}, {code}",
};
