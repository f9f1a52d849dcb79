//! The rules for paths (Java: `PathUtils.validatePath`, `PrepRequestProcessor`,
//! `DataTree.isSpecialPath`).
//!
//! Java's rules speak of UTF-16 units: a character beyond the basic plane is a pair of surrogates
//! there, and surrogates are forbidden, so no such character is legal in a path. A path whose
//! bytes were not UTF-8 holds U+FFFD, which is forbidden too.

/// The znodes that nobody may delete (Java: `DataTree.isSpecialPath`).
const SPECIAL: [&str; 4] = ["/", "/zookeeper", QUOTA, CONFIG];

/// The root of the quota tree (Java: `Quotas.quotaZookeeper`).
pub const QUOTA: &str = "/zookeeper/quota";

/// The znode that shows the ensemble's configuration (Java: `ZooDefs.CONFIG_NODE`).
pub const CONFIG: &str = "/zookeeper/config";

/// Whether `path` may name a znode (Java: `PathUtils.validatePath`).
pub fn is_valid(path: &str) -> bool {
    let bytes = path.as_bytes();
    match bytes {
        [b'/'] => return true,
        [b'/', .., b'/'] => return false,
        [b'/', ..] => {}
        _ => return false,
    }
    if path.is_ascii() {
        return bytes[1..].split(|b| *b == b'/').all(is_valid_ascii_component);
    }
    path[1..]
        .split('/')
        .all(|component| !matches!(component, "" | "." | "..") && component.chars().all(is_allowed))
}

fn is_valid_ascii_component(component: &[u8]) -> bool {
    !matches!(component, b"" | b"." | b"..") && component.iter().all(|b| (0x20..0x7f).contains(b))
}

fn is_allowed(c: char) -> bool {
    !matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fff0}'..='\u{ffff}' | '\u{10000}'..=char::MAX)
}

/// Splits a path at its last slash into the parent's path and the name; the root's children have
/// the parent `""`, which is the root's other name. `None` where there is no slash at all.
pub fn split(path: &str) -> Option<(&str, &str)> {
    path.rsplit_once('/')
}

/// The parent's path of a create's path as sent, before the number of a sequential znode is
/// appended (Java: `validatePathForCreate`). `None` where Java answers BadArguments.
pub fn parent_for_create(path: &str) -> Option<&str> {
    let (parent, _) = split(path)?;
    if path.as_bytes().contains(&0) { None } else { Some(parent) }
}

/// The parent's path of a delete's path (Java: `getParentPathAndValidate`). `None` where Java
/// answers BadArguments: no slash, a NUL, or a znode that must stay.
pub fn parent_for_delete(path: &str) -> Option<&str> {
    if is_special(path) { None } else { parent_for_create(path) }
}

/// Whether the znode belongs to the server itself and cannot be deleted.
pub fn is_special(path: &str) -> bool {
    SPECIAL.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_paths_are_accepted() {
        for path in [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/.a/..b/c..",
            "/a b",
            "/\u{a0}",
            "/\u{d7ff}",
            "/\u{f900}",
            "/\u{ffef}",
            "/\u{4e2d}\u{6587}/\u{e9}",
        ] {
            assert!(is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn illegal_paths_are_refused() {
        for path in [
            "",
            "a",
            "a/b",
            "/a/",
            "//",
            "//a",
            "/a//b",
            "/.",
            "/..",
            "/a/.",
            "/a/../b",
            "/./a",
            "/\u{e9}/.",
            "/\u{e9}//a",
            "/\u{e9}/",
            "/a\0",
            "/\u{1}",
            "/\u{1f}",
            "/\u{7f}",
            "/\u{9f}",
            "/\u{e000}",
            "/\u{f8ff}",
            "/\u{fff0}",
            "/\u{fffd}",
            "/\u{ffff}",
            "/\u{10000}",
            "/\u{1f600}",
        ] {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn a_parent_is_what_stands_before_the_last_slash() {
        assert_eq!(parent_for_create("/a"), Some(""));
        assert_eq!(parent_for_create("/a/"), Some("/a"));
        assert_eq!(parent_for_create("/a//b"), Some("/a/"));
        assert_eq!(parent_for_create("//b"), Some("/"));
        assert_eq!(parent_for_create("a/b"), Some("a"));
        assert_eq!(parent_for_create(""), None);
        assert_eq!(parent_for_create("a"), None);
        assert_eq!(parent_for_create("/a\0/b"), None);
        assert_eq!(parent_for_delete("/a/b"), Some("/a"));
        for path in ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", "", "x", "/\0"] {
            assert_eq!(parent_for_delete(path), None, "{path:?}");
        }
    }
}
