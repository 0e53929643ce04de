//! Node's URL, which is a browser's: a second opinion on where an address leads.

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// `origin` and `path` of each of `values`, resolved at `place`; the origin is "none" if it is no URL.
pub fn resolve(values: &[String], place: &str) -> Vec<Value> {
    const SCRIPT: &str = "
        const [values, place] = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        console.log(JSON.stringify(values.map((value) => {
          try {
            const url = new URL(value, place);
            return { origin: url.origin, path: url.pathname };
          } catch (error) { return { origin: 'none', path: '' }; }
        })));";
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/venv/bin/node");
    let node = std::env::var_os("NODE").map(PathBuf::from).or_else(|| venv.exists().then_some(venv));
    let input = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(input.path(), json!([values, place]).to_string()).expect("write");
    let output = Command::new(node.unwrap_or_else(|| "node".into()))
        .args(["-e", SCRIPT])
        .stdin(std::fs::File::open(input.path()).expect("open"))
        .output()
        .expect("node runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON of node")
}
