//! Arguments of generated requests: mostly sensible, some at the edges, some plainly wrong.

use crate::random::Random;
use crate::request::{Acl, Text, open_acl, text};

/// Names from which most paths are made: few, so that operations meet.
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Paths that are unusual or wrong.
const ODD_PATHS: [&str; 34] = [
    "",
    "/",
    "//",
    "/a//b",
    "//b",
    "/a/",
    "a",
    "a/b",
    "/a/./b",
    "/a/../b",
    "/.",
    "/..",
    "/...",
    "/.a",
    "/a\0b",
    "/\u{1}",
    "/\u{1f}",
    "/\u{7f}",
    "/\u{9f}",
    "/\u{a0}",
    "/\u{e000}",
    "/\u{f8ff}",
    "/\u{f900}",
    "/\u{fff0}",
    "/\u{ffef}",
    "/\u{1f600}",
    "/ünï/cödé",
    "/中文",
    "/a b",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/x",
    "/zookeeper/quota/a",
];

/// Byte strings that are not UTF-8.
const NOT_UTF8: [&[u8]; 5] = [b"/\xff", b"/a\xc3", b"/\xc0\x80", b"/a\xe4\xb8/b", b"/\xf0\x9f\x98"];

/// Makes arguments.
#[derive(Debug, Clone)]
pub struct Values {
    /// Source of all choices.
    pub random: Random,
    /// Paths that exist or existed, with the names that sequential creates gave.
    pub known: Vec<Vec<u8>>,
}

impl Values {
    /// A sensible path, one to three names deep.
    pub fn plain_path(&mut self) -> String {
        let depth = 1 + self.random.weighted(&[45, 42, 13]);
        let mut path = String::new();
        for _ in 0..depth {
            path.push('/');
            path.push_str(self.random.pick(&NAMES));
        }
        path
    }

    /// A path of any kind.
    pub fn path(&mut self) -> Text {
        match self.random.weighted(&[62, 30, 6, 1, 1]) {
            0 => text(&self.plain_path()),
            1 if !self.known.is_empty() => {
                Some(self.known[self.random.below(self.known.len())].clone())
            }
            3 => Some(self.random.pick(&NOT_UTF8).to_vec()),
            4 => None,
            _ => text(self.random.pick(&ODD_PATHS)),
        }
    }

    /// A path of any kind but null, whose handling inside a multi leaves nothing behind in Java.
    pub fn path_not_null(&mut self) -> Text {
        loop {
            let path = self.path();
            if path.is_some() {
                return path;
            }
        }
    }

    /// Data of a znode.
    pub fn data(&mut self) -> Option<Vec<u8>> {
        match self.random.weighted(&[10, 10, 60, 17, 2, 1]) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(self.bytes(12)),
            3 => Some(self.bytes(300)),
            4 => Some(self.bytes(9_000)),
            _ => Some(self.bytes(120_000)),
        }
    }

    fn bytes(&mut self, length_max: usize) -> Vec<u8> {
        let length = self.random.below(length_max) + 1;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.random.bits().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// An expected version.
    pub fn version(&mut self) -> i32 {
        match self.random.weighted(&[60, 15, 10, 6, 9]) {
            0 => -1,
            1 => 0,
            2 => 1,
            3 => 2,
            _ => self.random.pick(&[-2, 3, 7, i32::MAX, i32::MIN]),
        }
    }

    /// An ACL list; a wrong one now and then.
    pub fn acl(&mut self) -> Option<Vec<Acl>> {
        match self.random.weighted(&[70, 22, 8]) {
            0 => open_acl(),
            1 => Some(self.restricted_acl()),
            _ => self.odd_acl(),
        }
    }

    fn restricted_acl(&mut self) -> Vec<Acl> {
        let world = |perms| Acl::new(perms, "world", "anyone");
        let user = "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=";
        match self.random.below(12) {
            0 => vec![world(1)],
            1 => vec![world(30)],
            2 => vec![world(27)],
            3 => vec![world(0)],
            4 => vec![Acl::new(31, "auth", "")],
            5 => vec![Acl::new(31, "digest", user), world(1)],
            6 => vec![Acl::new(31, "digest", user)],
            7 => vec![Acl::new(31, "ip", "127.0.0.1")],
            8 => vec![Acl::new(15, "ip", "127.0.0.0/8"), world(16)],
            9 => vec![Acl::new(31, "ip", "10.1.2.3"), world(5)],
            10 => vec![world(31), world(31), world(7)],
            _ => vec![Acl::new(1, "auth", "whatever"), world(30)],
        }
    }

    fn odd_acl(&mut self) -> Option<Vec<Acl>> {
        let one = |perms, scheme: &str, id: &str| Some(vec![Acl::new(perms, scheme, id)]);
        match self.random.below(20) {
            0 => None,
            1 => Some(Vec::new()),
            2 => one(31, "world", "nobody"),
            3 => one(31, "unheardof", "x"),
            4 => one(31, "digest", "nocolon"),
            5 => one(31, "digest", "a:b:c"),
            6 => one(31, "digest", ""),
            7 => one(31, "ip", "999.1.1.1"),
            8 => one(31, "ip", "127.0.0.1/33"),
            9 => one(31, "ip", "127.0.0.1/x"),
            10 => one(31, "ip", "::1"),
            11 => one(31, "ip", ""),
            12 => one(31, "", ""),
            13 => Some(vec![Acl { perms: 31, scheme: None, id: text("x") }]),
            14 => Some(vec![Acl { perms: 31, scheme: text("world"), id: None }]),
            15 => Some(vec![Acl { perms: 31, scheme: text("digest"), id: None }]),
            16 => one(-1, "world", "anyone"),
            17 => one(0x40, "world", "anyone"),
            18 => one(31, "super", ""),
            _ => one(31, "sasl", "user"),
        }
    }

    /// The flags of a create. TTL flags are for `createTTL`, and valid for no other.
    pub fn flags(&mut self) -> i32 {
        match self.random.weighted(&[50, 18, 12, 10, 4, 6]) {
            0 => 0,
            1 => 1,
            2 => 2,
            3 => 3,
            4 => 4,
            _ => self.random.pick(&[5, 6, 7, -1, 100]),
        }
    }

    /// A zxid near one that was seen.
    pub fn zxid_near(&mut self, zxid: i64) -> i64 {
        let back = i64::try_from(self.random.below(60)).expect("small");
        match self.random.weighted(&[20, 70, 5, 5]) {
            0 => zxid,
            1 => (zxid - back).max(0),
            2 => 0,
            _ => zxid + 1000,
        }
    }

    /// Lists of paths for setWatches; a null list or path now and then.
    pub fn path_lists(&mut self, count: usize) -> Vec<Option<Vec<Text>>> {
        (0..count)
            .map(|list| {
                if self.random.chance(3) {
                    return None;
                }
                let length = self.random.below(4);
                // Java takes the null path for persistent watches; we refuse it.
                let nullable = list < 3;
                let path = |values: &mut Values| match nullable {
                    true => values.path(),
                    false => values.path_not_null(),
                };
                Some((0..length).map(|_| path(self)).collect())
            })
            .collect()
    }
}
