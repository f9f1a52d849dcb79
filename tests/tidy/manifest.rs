//! Who may import whom, read from the manifests.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Floor by floor, what of ours a crate may import (ARCHITECTURE.md, "Floors").
const ALLOWED: &[(&str, &[&str])] = &[
    ("jute", &[]),
    ("tree", &["jute"]),
    ("zab", &["jute"]),
    ("session", &["jute"]),
    ("store", &["jute"]),
    ("replica", &["jute", "tree", "zab"]),
    ("archive", &["jute", "tree", "zab", "store", "replica"]),
    ("sim", &["jute", "tree", "zab", "session", "store", "replica", "archive"]),
    ("server", &["jute", "tree", "zab", "store", "replica", "archive"]),
    ("bench", &["jute"]),
    ("rookeeper", &["server", "bench"]),
];

/// Crates without a world: at most [`PURE_DEPENDENCIES_MAX`] dependencies, none of [`WORLDLY`].
pub const PURE: &[&str] = &["jute", "tree", "zab", "session", "replica"];

const PURE_DEPENDENCIES_MAX: usize = 6;

/// Crates that do I/O, keep time, draw random numbers or parse command lines.
const WORLDLY: &[&str] = &[
    "tokio",
    "mio",
    "socket2",
    "rustix",
    "libc",
    "nix",
    "rand",
    "getrandom",
    "fastrand",
    "clap",
    "tracing",
    "log",
    "axum",
    "hyper",
    "rustls",
    "anyhow",
    "crossbeam-channel",
    "parking_lot",
];

/// Crates that may use tokio.
const TOKIO: &[&str] = &["server"];

/// Names under `[dependencies]` (and its target-specific forms) of a manifest.
pub fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies" || section.ends_with(".dependencies");
            if let Some(name) = section.strip_prefix("dependencies.") {
                names.push(name.to_owned());
            }
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let end = line.find(['=', '.', ' ']).unwrap_or(line.len());
            names.push(line[..end].to_owned());
        }
    }
    names
}

/// What is wrong with the dependencies of the crate in folder `krate`.
fn faults(krate: &str, dependencies: &[String]) -> Vec<String> {
    let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == krate) else {
        return vec![format!("crates/{krate} has no floor: give it one in {}", file!())];
    };
    let mut faults = Vec::new();
    for dependency in dependencies {
        if let Some(ours) = dependency.strip_prefix("rookeeper-")
            && !allowed.contains(&ours)
        {
            faults.push(format!("crates/{krate} must not import {ours}"));
        }
        if PURE.contains(&krate) && WORLDLY.contains(&dependency.as_str()) {
            faults.push(format!("crates/{krate} is pure and must not import {dependency}"));
        }
        if dependency == "tokio" && !TOKIO.contains(&krate) {
            faults.push(format!("crates/{krate} must not import tokio"));
        }
    }
    if PURE.contains(&krate) && dependencies.len() > PURE_DEPENDENCIES_MAX {
        faults.push(format!("crates/{krate} has {} dependencies", dependencies.len()));
    }
    faults
}

/// Fails with every fault of the manifests under `root`.
pub fn check(root: &Path) {
    let mut crates = BTreeMap::new();
    for entry in fs::read_dir(root.join("crates")).expect("crates can be listed") {
        let path = entry.expect("crates can be listed").path();
        if let Ok(manifest) = fs::read_to_string(path.join("Cargo.toml")) {
            let name =
                path.file_name().expect("an entry has a name").to_string_lossy().into_owned();
            crates.insert(name, dependencies(&manifest));
        }
    }
    for (name, _) in ALLOWED.iter().filter(|(name, _)| PURE.contains(name)) {
        assert!(crates.contains_key(*name), "crates/{name} is gone");
    }
    let faults: Vec<String> = crates.iter().flat_map(|(name, deps)| faults(name, deps)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn forbidden_imports_are_seen() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nrookeeper-server.workspace = true\n\
                    tokio = { version = \"1\" }\n[dev-dependencies]\nrand = \"0.10\"\n";
    let found = dependencies(manifest);
    assert_eq!(found, ["rookeeper-server", "tokio"]);
    assert_eq!(faults("tree", &found).len(), 3);
    assert_eq!(faults("rookeeper", &found).len(), 1, "tokio is the server's");
    assert_eq!(faults("rookeeper", &found[..1]), Vec::<String>::new());
    assert_eq!(faults("unheard-of", &found).len(), 1);
    let many: Vec<String> = (0..7).map(|number| format!("d{number}")).collect();
    assert_eq!(faults("jute", &many).len(), 1);
}
