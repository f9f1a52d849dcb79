//! Source files as the rules see them: text, and code with comments and literals blanked out.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file.
pub struct Source {
    /// Path from the root of the workspace, with forward slashes.
    pub path: String,
    /// The lines as they stand.
    pub lines: Vec<String>,
    /// The same lines without comments, and without what stands between quotes.
    pub code: Vec<String>,
    /// Whether the line belongs to a test.
    pub in_test: Vec<bool>,
}

impl Source {
    /// Reads a file's text.
    pub fn new(path: &str, text: &str) -> Source {
        let blanked = blank(text);
        let code: Vec<String> = blanked.lines().map(str::to_owned).collect();
        let in_test = mark_tests(path, &code);
        Source {
            path: path.to_owned(),
            lines: text.lines().map(str::to_owned).collect(),
            code,
            in_test,
        }
    }

    /// The crate's folder under `crates/`, if the file is in one.
    pub fn krate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Lines of code that no test owns, counted from 1.
    pub fn production(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.code.iter().zip(&self.in_test).enumerate();
        lines.filter(|(_, (_, in_test))| !**in_test).map(|(at, (line, _))| (at + 1, line.as_str()))
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace exists")
}

/// All files under `folder` with one of `extensions`, sorted, without build output.
pub fn files(folder: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a folder of the workspace can be read").path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if path.is_dir() {
                let skipped = ["target", "corpus", "artifacts", "seeds", "data"].contains(&name);
                if !skipped && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if extensions.iter().any(|ext| path.extension().is_some_and(|have| have == *ext))
            {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file of the workspace.
pub fn sources() -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "fuzz"] {
        for path in files(&root.join(folder), &["rs"]) {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            let relative = path.strip_prefix(&root).expect("files are under the root");
            sources.push(Source::new(&relative.to_string_lossy().replace('\\', "/"), &text));
        }
    }
    assert!(sources.len() > 15, "the walk found only {} files", sources.len());
    sources
}

/// Replaces comments and the insides of string and character literals by spaces.
pub fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' => raw_string_end(bytes, at).unwrap_or(at + 1),
            b'\'' => character_end(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            for byte in &mut out[at..end.min(bytes.len())] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
        }
        at = end;
    }
    String::from_utf8(out).expect("whole characters are replaced")
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |len| at + len)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at + 2, 1);
    while at < bytes.len() && depth > 0 {
        if bytes[at..].starts_with(b"/*") {
            (at, depth) = (at + 2, depth + 1);
        } else if bytes[at..].starts_with(b"*/") {
            (at, depth) = (at + 2, depth - 1);
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"`, `r#"…"#`, `br"…"` and the like, `None` where none starts.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    if at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_') {
        return None;
    }
    let mut start = at + usize::from(bytes[at] == b'b');
    if bytes.get(start) != Some(&b'r') {
        return None;
    }
    start += 1;
    let hashes = bytes[start..].iter().take_while(|byte| **byte == b'#').count();
    start += hashes;
    if bytes.get(start) != Some(&b'"') {
        return None;
    }
    let close: Vec<u8> = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let rest = &bytes[start + 1..];
    let len = rest.windows(close.len()).position(|window| window == close)?;
    Some(start + 1 + len + close.len())
}

/// The end of a character literal; a lifetime's quote stands alone.
fn character_end(bytes: &[u8], at: usize) -> usize {
    if bytes.get(at + 1) == Some(&b'\\') {
        let rest = &bytes[(at + 3).min(bytes.len())..];
        return rest.iter().position(|byte| *byte == b'\'').map_or(at + 1, |len| at + len + 4);
    }
    let close = bytes[at + 1..].iter().take(5).position(|byte| *byte == b'\'');
    match close {
        Some(len) if len > 0 && (len == 1 || bytes[at + 1] >= 0x80) => at + len + 2,
        _ => at + 1,
    }
}

pub fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// Marks what is under `#[cfg(test)]` or `#[test]`, and whole files that only tests see.
fn mark_tests(path: &str, code: &[String]) -> Vec<bool> {
    let inside = |folder: &str| path.split('/').rev().skip(1).any(|part| part == folder);
    let whole = path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
        || ["tests", "benches", "examples"].iter().any(|folder| inside(folder));
    let mut marks = vec![whole; code.len()];
    let mut at = 0;
    while at < code.len() {
        let line = code[at].trim();
        if !whole && (line.starts_with("#[cfg(test)]") || line.starts_with("#[test]")) {
            let end = item_end(code, at);
            marks[at..=end].fill(true);
            at = end;
        }
        at += 1;
    }
    marks
}

/// The last line of the item whose attribute is on line `at`.
fn item_end(code: &[String], at: usize) -> usize {
    let depth = indent(&code[at]);
    let mut opened = false;
    for (offset, line) in code[at..].iter().enumerate() {
        let text = line.trim_end();
        opened |= text.ends_with('{');
        let closes = indent(line) == depth && text.trim_start().starts_with('}');
        if (opened && closes) || (!opened && text.ends_with(';')) {
            return at + offset;
        }
    }
    code.len() - 1
}

#[test]
fn comments_and_literals_are_blanked_and_code_is_not() {
    let text = concat!(
        "let a = \"x.unwrap()\"; // y.unwrap()\n",
        "let b = 'c'; /* z\n */ fn f<'a>(q: &'a str) {}\n",
        "let r = r#\"unsafe \" \"#; let n = '\\n'; let e = b'\\''; run(\"\\\"\", x);",
    );
    let code = blank(text);
    assert!(!code.contains("unwrap") && !code.contains("unsafe") && !code.contains('z'), "{code}");
    for kept in ["fn f<'a>(q: &'a str) {}", "let b =", "let n =", "let e =", "run(", ", x);"] {
        assert!(code.contains(kept), "{kept} is gone: {code}");
    }
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn test_modules_are_told_from_production() {
    let text = concat!(
        "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n",
        "fn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}",
    );
    let source = Source::new("crates/x/src/a.rs", text);
    let production: Vec<usize> = source.production().map(|(line, _)| line).collect();
    assert_eq!(production, [1, 6, 9]);
    assert_eq!(Source::new("crates/x/tests/a.rs", text).production().count(), 0);
}
