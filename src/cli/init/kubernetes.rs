//! `hublatch init --kubernetes NAME`: the objects and the values that the Helm chart wants.

use zeroize::Zeroizing;

use super::{AUTHENTICATOR, InitArgs, quoted};
use crate::token::AppKey;

/// objects.yaml with a Secret `name` and a `ConfigMap` `name`-hub for the hub, and values.yaml for the chart.
pub(super) fn files(
    name: &str,
    args: &InitArgs,
    private: &str,
    public: &str,
    key: &AppKey,
) -> (Zeroizing<String>, String) {
    let (private, public, code) = (block(private), block(public), block(AUTHENTICATOR));
    let objects = Zeroizing::new(format!(
        "# For hublatch: the key that signs each login, and the key of the app \"portal\".
apiVersion: v1
kind: Secret
metadata: {{name: {name}}}
stringData:
  assertion.key: |
{}
  app.key: {}
---
# For the hub: what it knows hublatch by.
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-hub}}
data:
  assertion.pub.pem: |
{public}
  hublatch_authenticator.py: |
{}
",
        private.as_str(),
        key.expose(),
        code.as_str(),
        public = public.as_str(),
    ));
    let digest = key.digest();
    let (url, hub) = (quoted(&args.public_url), quoted(&args.hub_url));
    let mut extra = String::new();
    for (section, field, value) in [("login", "app_url", &args.app_url), ("pages", "name", &args.name)] {
        if let Some(value) = value {
            extra.push_str(&block(&format!("[{section}]\n{field} = {}\n", quoted(value))));
            extra.push('\n');
        }
    }
    let extra = if extra.is_empty() { String::new() } else { format!("extraConfig: |\n{extra}") };
    let token = if args.launch {
        "  apiToken: {secretName: hub}  # of Zero to JupyterHub: hub.services.hublatch\n"
    } else {
        ""
    };
    let values = format!(
        "# For the chart config/helm/hublatch.
publicUrl: {url}
hub:
  url: {hub}
{token}assertion:
  secretName: {name}
apps: |
  [[apps]]
  name = \"portal\"
  keys = [\"{digest}\"]
{extra}"
    );
    (objects, values)
}

/// The lines of `text`, indented as a block of YAML.
fn block(text: &str) -> Zeroizing<String> {
    let mut indented = Zeroizing::new(String::with_capacity(text.len() * 2));
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            indented.push('\n');
        }
        if !line.is_empty() {
            indented.push_str("    ");
            indented.push_str(line);
        }
    }
    indented
}
