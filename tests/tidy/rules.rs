//! The rules that look at source text.

use crate::manifest::PURE;
use crate::source::{Source, indent};

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_WIDTH_MAX: usize = 100;

/// Files that may hold unsafe code, each with its reason.
const UNSAFE: &[(&str, &str)] =
    &[("tests/crash/src/ext4.rs", "the ioctl that cuts a file system's power")];

/// What reaches the world. Words end where an identifier ends.
const IMPURE: &[&str] = &[
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::thread",
    "std::process",
    "std::env",
    "std::io::stdin",
    "Instant::now",
    "SystemTime",
    "thread::sleep",
    "thread_rng",
    "RandomState::new",
    "println!",
    "eprintln!",
];

/// Whether `word` stands in `line` as a whole word.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back().is_some_and(part);
        let after = line[at + word.len()..].chars().next().is_some_and(part);
        !(before && word.starts_with(part) || after && word.ends_with(part))
    })
}

/// Whether an absolute path starts at `start` of `line`: nothing of a longer path before it.
pub fn starts_path(line: &str, start: usize) -> bool {
    let before = line[..start].chars().next_back();
    before.is_none_or(|c| c.is_whitespace() || "\"'`=(:,<>".contains(c))
}

fn production_faults(source: &Source, wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let faults = source.production().filter_map(|(at, line)| wrong(line).map(|what| (at, what)));
    faults.map(|(at, what)| format!("{}:{at}: {what}", source.path)).collect()
}

fn is_pure(source: &Source) -> bool {
    source.krate().is_some_and(|krate| PURE.contains(&krate))
}

fn first_word(words: &[&str], line: &str) -> Option<String> {
    words.iter().find(|word| has_word(line, word)).map(|word| (*word).to_owned())
}

/// Pure crates get time, bytes and keys as arguments.
pub fn impure(source: &Source) -> Vec<String> {
    if !is_pure(source) {
        return Vec::new();
    }
    production_faults(source, |line| first_word(IMPURE, line))
}

/// Maps of the standard library iterate in another order in every process.
pub fn random_map(source: &Source) -> Vec<String> {
    if !is_pure(source) {
        return Vec::new();
    }
    production_faults(source, |line| {
        let imported =
            line.contains("std::collections::") || line.trim_start().starts_with("collections::");
        let seeded = imported && first_word(&["HashMap", "HashSet"], line).is_some();
        (seeded || has_word(line, "RandomState")).then(|| "a randomly seeded map".to_owned())
    })
}

/// The file system belongs to the real disk, the binaries, the benchmark and the tests.
pub fn file_system(source: &Source) -> Vec<String> {
    let allowed = source.krate().is_none_or(|krate| ["rookeeper", "bench"].contains(&krate))
        || source.path == "crates/sim/src/main.rs"
        || source.path.starts_with("crates/store/src/disk/real");
    if allowed {
        return Vec::new();
    }
    production_faults(source, |line| {
        first_word(
            &["std::fs", "tokio::fs", "fs::File", "fs::read", "fs::write", "OpenOptions"],
            line,
        )
    })
}

/// tokio belongs to the server's drivers.
pub fn tokio(source: &Source) -> Vec<String> {
    if source.krate().is_none_or(|krate| krate == "server") {
        return Vec::new();
    }
    production_faults(source, |line| first_word(&["tokio"], line))
}

/// `expect` says why it cannot fail; `unwrap` does not.
pub fn unwrap(source: &Source) -> Vec<String> {
    production_faults(source, |line| {
        (line.contains(".unwrap()") || line.contains(".unwrap_err()")).then(|| "unwrap".to_owned())
    })
}

/// Code that does not work yet does not enter.
pub fn unfinished(source: &Source) -> Vec<String> {
    let words = ["todo!", "unimplemented!", "dbg!"];
    let code = source.code.iter().enumerate();
    let faults = code.filter_map(|(at, line)| first_word(&words, line).map(|word| (at, word)));
    faults.map(|(at, word)| format!("{}:{}: {word}", source.path, at + 1)).collect()
}

/// Unsafe code stands in the files of [`UNSAFE`], and nowhere else.
pub fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE.iter().any(|(path, _)| *path == source.path) {
        return Vec::new();
    }
    let code = source.code.iter().enumerate();
    let faults =
        code.filter(|(_, line)| has_word(line, "unsafe") || has_word(line, "allow(unsafe_code"));
    faults.map(|(at, _)| format!("{}:{}: unsafe", source.path, at + 1)).collect()
}

/// A file that is gone, or safe by now, leaves the list.
pub fn unsafe_list_is_used(sources: &[Source]) {
    for (path, reason) in UNSAFE {
        let used = sources.iter().find(|source| source.path == *path);
        let used =
            used.is_some_and(|source| source.code.iter().any(|line| has_word(line, "unsafe")));
        assert!(used && !reason.is_empty(), "{path} needs no entry in the list of unsafe files");
    }
}

/// A file is one noun.
pub fn long_file(source: &Source) -> Vec<String> {
    let lines = source.lines.len();
    let long = lines > FILE_LINES_MAX;
    long.then(|| format!("{}: {lines} lines", source.path)).into_iter().collect()
}

/// A function fits a screen. Its end is the first closing brace at its own indentation.
pub fn long_function(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (at, name, len) in functions(source) {
        if len > FUNCTION_LINES_MAX && !source.in_test[at] {
            faults.push(format!("{}:{}: fn {name} has {len} lines", source.path, at + 1));
        }
    }
    faults
}

/// Line (from 0), name and length of every function with a body.
fn functions(source: &Source) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, line) in source.code.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let depth = indent(line);
        let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        let len = source.code[at..].iter().skip(1).position(|later| {
            indent(later) == depth && (later.trim_start().starts_with('}') || later.trim() == ";")
        });
        if let (false, Some(len)) = (one_line, len) {
            found.push((at, name, len + 2));
        }
    }
    found
}

/// The name of the function that starts on this line.
fn function_name(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let modifiers = ["pub", "pub(crate)", "pub(super)", "const", "async", "unsafe", "extern"];
    let word = words.find(|word| !modifiers.contains(word))?;
    let name = if word == "fn" { words.next()? } else { return None };
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some(&name[..end])
}

/// A tree may be a million levels deep in theory: nothing in the pure crates calls itself.
pub fn recursion(source: &Source) -> Vec<String> {
    if !is_pure(source) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (at, name, len) in functions(source) {
        if source.in_test[at] {
            continue;
        }
        let has_receiver =
            source.code[at..at + len.min(8)].iter().any(|line| has_word(line, "self"));
        let body = source.code[at + 1..at + len].iter();
        if body.clone().any(|line| calls(line, name, has_receiver)) {
            faults.push(format!("{}:{}: fn {name} calls itself", source.path, at + 1));
        }
    }
    faults
}

fn calls(line: &str, name: &str, method: bool) -> bool {
    let call = format!("{name}(");
    line.match_indices(&call).any(|(at, _)| {
        let before = &line[..at];
        if method {
            before.ends_with("self.") && !before.ends_with(".self.") || before.ends_with("Self::")
        } else {
            let own = before.chars().next_back();
            own.is_none_or(|c| !c.is_alphanumeric() && !"_.:".contains(c))
                && !before.ends_with("fn ")
        }
    })
}

/// A line fits beside another.
pub fn long_line(source: &Source) -> Vec<String> {
    let lines = source.lines.iter().enumerate();
    let faults = lines.filter(|(_, line)| line.chars().count() > LINE_WIDTH_MAX);
    faults
        .map(|(at, line)| format!("{}:{}: {} wide", source.path, at + 1, line.chars().count()))
        .collect()
}

/// A crate's first file starts with what it is and holds a map of its modules.
pub fn crate_head(source: &Source) -> Vec<String> {
    let Some(krate) = source.krate() else { return Vec::new() };
    if source.path != format!("crates/{krate}/src/lib.rs") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if !source.lines.first().is_some_and(|line| line.starts_with("//! ")) {
        faults.push(format!("{}: does not say what it is", source.path));
    }
    let modules = source.code.iter().filter(|line| has_word(line, "mod")).count();
    if modules > 1 && !source.lines.iter().any(|line| line.trim_end() == "//! # Layout") {
        faults.push(format!("{}: has {modules} modules and no # Layout", source.path));
    }
    faults
}

#[cfg(test)]
mod samples {
    use super::*;

    fn tree(text: &str) -> Source {
        Source::new("crates/tree/src/sample.rs", text)
    }

    #[test]
    fn each_rule_sees_its_fault() {
        assert_eq!(impure(&tree("use std::fs;\nlet t = Instant::now();\n")).len(), 2);
        assert_eq!(random_map(&tree("use std::collections::HashMap;\n")).len(), 1);
        assert_eq!(random_map(&tree("use std::collections::BTreeMap;\n")).len(), 0);
        assert_eq!(file_system(&tree("std::fs::read(x)")).len(), 1);
        assert_eq!(tokio(&tree("use tokio::spawn;")).len(), 1);
        assert_eq!(unwrap(&tree("a.unwrap();\na.unwrap_or(b);")).len(), 1);
        assert_eq!(unfinished(&tree("fn a() { todo!() }")).len(), 1);
        assert_eq!(unsafe_code(&tree("unsafe { a() }\n#![forbid(unsafe_code)]")).len(), 1);
        assert_eq!(long_file(&tree(&"\n".repeat(801))).len(), 1);
        assert_eq!(long_line(&tree(&"x".repeat(101))).len(), 1);
        assert_eq!(crate_head(&Source::new("crates/tree/src/lib.rs", "mod a;\nmod b;\n")).len(), 2);
    }

    #[test]
    fn long_and_recursive_functions_are_seen() {
        let body = "    a();\n".repeat(69);
        let text = format!("pub fn long() {{\n{body}}}\nfn short() {{\n    b();\n}}\n");
        assert_eq!(long_function(&tree(&text)).len(), 1);
        assert_eq!(recursion(&tree("fn walk(n: N) {\n    walk(n.child);\n}\n")).len(), 1);
        assert_eq!(recursion(&tree("fn walk(&self) {\n    self.walk();\n}\n")).len(), 1);
        assert_eq!(recursion(&tree("fn walk(&self) {\n    self.inner.walk();\n}\n")).len(), 0);
        assert_eq!(recursion(&tree("fn walk(&self) {\n    walk(self);\n}\n")).len(), 0);
    }

    #[test]
    fn a_path_of_a_machine_is_told_from_a_part_of_a_path() {
        assert!(starts_path("cd /etc/x", 3));
        assert!(!starts_path("tests/etc/x", 5));
    }
}
