//! Paths as clients write them: what is a path, and where a chroot puts it.

/// Why a string is not the path of a znode (Java: `PathUtils.validatePath`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// It does not start with a slash.
    #[error("a path starts with a slash")]
    Relative,
    /// It ends with a slash and is not the root.
    #[error("a path does not end with a slash")]
    TrailingSlash,
    /// A name in it is empty, `.` or `..`.
    #[error("the name of a znode is not empty, \".\" or \"..\"")]
    Name,
    /// It has a character that no path may have.
    #[error("the character {0:?} is in no path")]
    Character(char),
}

/// Whether Java lets a path have this character. What takes two UTF-16 units is refused with the
/// surrogates that Java sees in its place.
fn is_allowed(c: char) -> bool {
    !matches!(
        c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{e000}'..='\u{f8ff}' | '\u{fff0}'..
    )
}

/// Checks the path of a znode.
///
/// # Errors
/// The first fault found.
pub fn validate(path: &str) -> Result<(), PathFault> {
    let Some(names) = path.strip_prefix('/') else { return Err(PathFault::Relative) };
    if names.is_empty() {
        return Ok(());
    }
    if names.ends_with('/') {
        return Err(PathFault::TrailingSlash);
    }
    if let Some(c) = names.chars().find(|c| !is_allowed(*c)) {
        return Err(PathFault::Character(c));
    }
    if names.split('/').any(|name| matches!(name, "" | "." | "..")) {
        return Err(PathFault::Name);
    }
    Ok(())
}

/// The path under which a session sees all others; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chroot(String);

impl Chroot {
    /// A chroot; the root is none.
    ///
    /// # Errors
    /// Where `path` is no path.
    pub fn new(path: &str) -> Result<Chroot, PathFault> {
        validate(path)?;
        Ok(Chroot(if path == "/" { String::new() } else { path.to_owned() }))
    }

    /// The server's name for the client's path.
    pub fn server_path(&self, client_path: &str) -> String {
        match client_path {
            "/" if !self.0.is_empty() => self.0.clone(),
            _ => format!("{}{client_path}", self.0),
        }
    }

    /// Whether the server's path is one that the client can name.
    pub fn holds(&self, server_path: &str) -> bool {
        server_path
            .strip_prefix(&self.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The client's name for the server's path. What is outside, as `/zookeeper/config`, keeps
    /// its name (Java: `ClientCnxn.stripChroot`).
    pub fn client_path(&self, server_path: &str) -> String {
        if !self.holds(server_path) {
            return server_path.to_owned();
        }
        match &server_path[self.0.len()..] {
            "" => "/".to_owned(),
            rest => rest.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_what_is_none() {
        for path in ["/", "/a", "/a/b.c", "/a/..b", "/a/...", "/zookeeper/config", "/ä"] {
            assert_eq!(validate(path), Ok(()), "{path}");
        }
        for (path, fault) in [
            ("", PathFault::Relative),
            ("a", PathFault::Relative),
            ("/a/", PathFault::TrailingSlash),
            ("//", PathFault::TrailingSlash),
            ("/a//b", PathFault::Name),
            ("/a/./b", PathFault::Name),
            ("/..", PathFault::Name),
            ("/a\0", PathFault::Character('\0')),
            ("/\u{9f}", PathFault::Character('\u{9f}')),
            ("/\u{e000}", PathFault::Character('\u{e000}')),
            ("/\u{fffd}", PathFault::Character('\u{fffd}')),
            ("/\u{1f600}", PathFault::Character('\u{1f600}')),
        ] {
            assert_eq!(validate(path), Err(fault), "{path}");
        }
    }

    #[test]
    fn a_chroot_is_put_before_and_taken_away() {
        let none = Chroot::new("/").expect("the root is a path");
        assert_eq!(none, Chroot::default());
        assert_eq!((none.server_path("/").as_str(), none.client_path("/a").as_str()), ("/", "/a"));
        let chroot = Chroot::new("/a/b").expect("a path");
        for (client, server) in [("/", "/a/b"), ("/c", "/a/b/c"), ("/zookeeper", "/a/b/zookeeper")]
        {
            assert_eq!(chroot.server_path(client), server);
            assert_eq!(chroot.client_path(server), client);
        }
        for outside in ["/zookeeper/config", "/a/bc", "/a", "/"] {
            assert!(!chroot.holds(outside));
            assert_eq!(chroot.client_path(outside), outside);
        }
        assert!(Chroot::new("a").is_err());
    }
}
