//! The file of an earlier hublatch, as an upgrade finds it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::contract::earlier::{EarlierLink, are_read, bytes};
use super::*;

#[derive(Deserialize)]
struct Written {
    it: EarlierFile,
}

#[derive(Deserialize)]
struct EarlierFile {
    written: String,
    links: Vec<EarlierLink>,
    marker: String,
    bytes: usize,
    rows: BTreeMap<usize, String>,
}

#[test]
fn links_that_an_earlier_version_has_written_are_what_they_were() {
    let text = include_str!("../../../data/earlier/file.json");
    let Written { it: earlier } = serde_json::from_str(text).expect("what make.py writes");
    let written = earlier.written.parse().expect("a time");
    let directory = tempfile::tempdir().expect("a directory");
    let mut rig = File { store: None, clock: Arc::new(ManualClock::at(written)), max_tokens: 10, directory };
    let mut content = vec![0; earlier.bytes];
    for (at, row) in earlier.rows {
        let row = bytes(&row);
        content[at..at + row.len()].copy_from_slice(&row);
    }
    for (path, content) in [(rig.path(), content.as_slice()), (rig.marker(), earlier.marker.as_bytes())] {
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permitted");
    }
    rig.open();
    are_read(rig.store(), &earlier.links, rig.now());
    // And what this one adds is read by it again.
    let link = rig.link();
    rig.insert(&[&link]);
    rig.restart(1);
    assert!(rig.admits(&link));
}
