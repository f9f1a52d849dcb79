//! The style guide as a test: who may import whom, what pure crates must not touch, how long a
//! file, a function and a line may be, which words do not enter.
//!
//! Each rule is a function from a [`Source`] to its faults, and has a test of its own on a sample
//! that breaks it.

mod manifest;
mod rules;
mod source;

use source::{Source, files, root, sources};

/// Applies a rule to every file and fails with all its faults.
fn check(rule: fn(&Source) -> Vec<String>) {
    let faults: Vec<String> = sources().iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn crates_import_only_what_their_floor_allows() {
    manifest::check(&root());
}

#[test]
fn pure_crates_touch_no_world() {
    check(rules::impure);
}

#[test]
fn pure_crates_use_no_randomly_seeded_map() {
    check(rules::random_map);
}

#[test]
fn pure_crates_do_not_recurse() {
    check(rules::recursion);
}

#[test]
fn the_file_system_appears_only_where_it_may() {
    check(rules::file_system);
}

#[test]
fn tokio_appears_only_where_it_may() {
    check(rules::tokio);
}

#[test]
fn production_code_does_not_unwrap() {
    check(rules::unwrap);
}

#[test]
fn nothing_is_left_for_later() {
    check(rules::unfinished);
}

#[test]
fn unsafe_code_is_only_in_named_files() {
    check(rules::unsafe_code);
    rules::unsafe_list_is_used(&sources());
}

#[test]
fn files_fit_a_head() {
    check(rules::long_file);
}

#[test]
fn functions_fit_a_screen() {
    check(rules::long_function);
}

#[test]
fn lines_fit_the_width() {
    check(rules::long_line);
}

#[test]
fn every_crate_says_what_it_is() {
    check(rules::crate_head);
}

#[test]
fn no_path_of_a_machine_is_in_the_tree() {
    // The words are put together here, so that this file does not contain them.
    let banned: Vec<String> =
        ["work", "root", "home"].iter().map(|folder| format!("/{folder}/")).collect();
    let root = root();
    let mut faults = Vec::new();
    for path in files(&root, &["rs", "md", "toml", "sh", "py", "cfg"]) {
        let text = std::fs::read_to_string(&path).expect("a text file is UTF-8");
        for (at, line) in text.lines().enumerate() {
            let found = |word: &&String| {
                line.match_indices(word.as_str()).any(|(start, _)| rules::starts_path(line, start))
            };
            if let Some(word) = banned.iter().find(found) {
                faults.push(format!("{}:{}: {word}", path.display(), at + 1));
            }
        }
    }
    assert!(faults.is_empty(), "paths of a machine:\n{}", faults.join("\n"));
}
