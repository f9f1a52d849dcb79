//! The binary's output.

use std::process::{Command, Stdio};

#[test]
fn a_reader_that_has_gone_ends_the_run_without_a_word() {
    let mut run = Command::new(env!("CARGO_BIN_EXE_rookeeper-sim"))
        .args(["replay", "tests/scenarios/leader-killed.txt"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary was built");
    drop(run.stdout.take());
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(1));
}
