//! What a running hublatch cannot change, and what becomes of a configuration that does.

use super::Config;

/// Keys of a new configuration that differ from the running one's and cannot be brought into force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unchangeable {
    /// Addresses. Whether a listener speaks TLS, and what browsers type, is written to fit them, so nothing else of such
    /// a configuration may come into force without them.
    pub refused: Vec<&'static str>,
    /// All others: they keep the value that they had at start, and the rest comes into force.
    pub kept: Vec<&'static str>,
}

impl Config {
    /// What of `new` needs a restart while this one runs.
    pub fn unchangeable(&self, new: &Self) -> Unchangeable {
        let (public, new_public) = (&self.public, &new.public);
        let status = |config: &Self| config.status.as_ref().map(|status| status.listen.clone());
        let routing = |config: &'_ Self| {
            config.routes.as_ref().map_or((None, false, None, None), |routes| {
                let target = routes.default_target.clone();
                (routes.api_listen.clone(), routes.host_routing, routes.state.clone(), target)
            })
        };
        let hub_api =
            |config: &'_ Self| config.routes.as_ref().and_then(|routes| routes.hub_api_listen.clone());
        let changed = |keys: &[(&'static str, bool)]| {
            keys.iter().filter(|(_, changed)| *changed).map(|(key, _)| *key).collect()
        };
        Unchangeable {
            refused: changed(&[
                ("public.listen", public.listen != new_public.listen),
                ("public.redirect_listen", public.redirect_listen != new_public.redirect_listen),
                ("management.listen", self.management.listen != new.management.listen),
                ("status", status(self) != status(new)),
                ("[routes]", self.routes.is_some() != new.routes.is_some()),
                ("routes.api_listen", routing(self).0 != routing(new).0),
                ("routes.hub_api_listen", hub_api(self) != hub_api(new)),
            ]),
            kept: changed(&[
                ("routes.host_routing", routing(self).1 != routing(new).1),
                ("routes.state", routing(self).2 != routing(new).2),
                ("routes.default_target", routing(self).3 != routing(new).3),
                ("public.threads", public.threads != new_public.threads),
                ("store", self.store != new.store),
                ("log.format", self.log.format != new.log.format),
                ("log.level", self.log.level != new.log.level),
            ]),
        }
    }

    /// Takes from `old`, which runs, what cannot be brought into force without a restart.
    pub fn carry_over(&mut self, old: &Self) {
        self.public.threads = old.public.threads;
        self.store = old.store.clone();
        self.log.format = old.log.format;
        self.log.level = old.log.level.clone();
        if let (Some(routes), Some(old)) = (&mut self.routes, &old.routes) {
            routes.host_routing = old.host_routing;
            routes.state.clone_from(&old.state);
            routes.default_target.clone_from(&old.default_target);
        }
    }
}
