//! Tells the binary which commit it is built from and when that was made, so that one commit gives
//! one binary. A tree without git says so instead.

use std::process::Command;

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).env("TZ", "UTC").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !text.is_empty()).then_some(text)
}

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".into());
    let date = git(&["log", "-1", "--format=%cd", "--date=format-local:%Y-%m-%d %H:%M"]);
    let date = date.map_or_else(|| "unknown".into(), |date| format!("{date} UTC"));
    println!("cargo:rustc-env=ROOKEEPER_COMMIT={commit}");
    println!("cargo:rustc-env=ROOKEEPER_DATE={date}");
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
}
