//! The file format of `java.util.Properties`, with the line of each entry.
//!
//! Rules (`java.util.Properties.load`): bytes are ISO 8859-1; `#` and `!` begin a comment line; a
//! key ends at the first unescaped `=`, `:`, space, tab or form feed; an odd number of backslashes
//! at the end of a line continues it, without the next line's leading blanks; `\t`, `\n`, `\r`,
//! `\f` and `\uXXXX` are escapes, any other escaped character stands for itself.

/// One entry of a properties file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The line where the key stands, counted from 1.
    pub line: usize,
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved.
    pub value: String,
}

/// Why a properties file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Malformed \\uxxxx encoding.")]
pub struct MalformedEscape {
    /// The line of the entry that holds the escape, counted from 1.
    pub line: usize,
}

/// Reads all entries in the order of the file; a later entry of the same key is the valid one.
///
/// # Errors
/// A `\u` that is not followed by four hexadecimal digits.
pub fn read(bytes: &[u8]) -> Result<Vec<Property>, MalformedEscape> {
    let mut properties = Vec::new();
    let mut lines = NaturalLines { rest: bytes, line: 0 };
    while let Some((line, first)) = lines.next() {
        let first = trim_start(first);
        if first.is_empty() || matches!(first[0], b'#' | b'!') {
            continue;
        }
        let mut logical = first.to_vec();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.extend_from_slice(trim_start(next)),
                None => break,
            }
        }
        properties.push(entry(line, &logical)?);
    }
    Ok(properties)
}

/// Lines ended by `\n`, `\r` or `\r\n`, numbered from 1.
struct NaturalLines<'a> {
    rest: &'a [u8],
    line: usize,
}

impl<'a> NaturalLines<'a> {
    fn next(&mut self) -> Option<(usize, &'a [u8])> {
        if self.rest.is_empty() {
            return None;
        }
        self.line += 1;
        let end = self.rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let end = end.unwrap_or(self.rest.len());
        let (line, terminator) = self.rest.split_at(end);
        let skip = match terminator {
            [b'\r', b'\n', ..] => 2,
            [] => 0,
            _ => 1,
        };
        self.rest = &terminator[skip..];
        Some((self.line, line))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | 0x0c)
}

fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_blank(byte)).unwrap_or(bytes.len());
    &bytes[start..]
}

fn ends_in_continuation(bytes: &[u8]) -> bool {
    bytes.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1
}

fn entry(line: usize, logical: &[u8]) -> Result<Property, MalformedEscape> {
    let mut key_end = 0;
    while key_end < logical.len() {
        match logical[key_end] {
            b'\\' => key_end += 1,
            b'=' | b':' => break,
            byte if is_blank(byte) => break,
            _ => {}
        }
        key_end += 1;
    }
    let key_end = key_end.min(logical.len());
    let mut rest = trim_start(&logical[key_end..]);
    if let [b'=' | b':', after @ ..] = rest {
        rest = trim_start(after);
    }
    let malformed = MalformedEscape { line };
    let key = unescape(&logical[..key_end]).ok_or(malformed.clone())?;
    let value = unescape(rest).ok_or(malformed)?;
    Ok(Property { line, key, value })
}

/// Resolves escapes; code units are gathered as UTF-16, as in Java, so that a pair of `\u` escapes
/// makes one character beyond the basic plane.
fn unescape(bytes: &[u8]) -> Option<String> {
    let mut units: Vec<u16> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        let Some(&escaped) = bytes.get(at) else { break };
        at += 1;
        units.push(match escaped {
            b't' => u16::from(b'\t'),
            b'n' => u16::from(b'\n'),
            b'r' => u16::from(b'\r'),
            b'f' => 0x0c,
            b'u' => {
                let digits = bytes.get(at..at + 4)?;
                at += 4;
                hexadecimal(digits)?
            }
            other => u16::from(other),
        });
    }
    Some(String::from_utf16_lossy(&units))
}

fn hexadecimal(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |value, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(value << 4 | u16::try_from(digit).expect("one hexadecimal digit is below 16"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(usize, String, String)> {
        read(text).unwrap().into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    fn one(text: &[u8]) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        let (_, key, value) = all.remove(0);
        (key, value)
    }

    fn expect(text: &[u8], key: &str, value: &str) {
        assert_eq!(one(text), (key.to_string(), value.to_string()), "{:?}", text);
    }

    #[test]
    fn separators_are_equals_colon_and_blanks() {
        expect(b"tickTime=2000", "tickTime", "2000");
        expect(b"tickTime:2000", "tickTime", "2000");
        expect(b"tickTime 2000", "tickTime", "2000");
        expect(b"tickTime\t=  2000", "tickTime", "2000");
        expect(b" \x0ctickTime : 2000", "tickTime", "2000");
        expect(b"tickTime == 2000", "tickTime", "= 2000");
        expect(b"server.1=a:2888:3888;2181", "server.1", "a:2888:3888;2181");
        expect(b"alone", "alone", "");
        expect(b"=value", "", "value");
    }

    #[test]
    fn trailing_blanks_belong_to_the_value() {
        expect(b"a=b \t", "a", "b \t");
    }

    #[test]
    fn comments_and_blank_lines_are_skipped_and_counted() {
        let text = b"# one\r\n\r\n  ! two \\\nkey=value\n\n\rother=1";
        assert_eq!(
            pairs(text),
            vec![(4, "key".into(), "value".into()), (7, "other".into(), "1".into())]
        );
    }

    #[test]
    fn a_backslash_continues_a_line_and_the_entry_has_its_first_line() {
        let text = b"whitelist=srvr,\\\n   \tstat,\\\n#mntr\nnext=1";
        assert_eq!(
            pairs(text),
            vec![(1, "whitelist".into(), "srvr,stat,#mntr".into()), (4, "next".into(), "1".into())]
        );
        expect(b"a=b\\\\\n", "a", "b\\");
        expect(b"a=b\\", "a", "b");
        expect(b"a=b\\\n", "a", "b");
        assert_eq!(pairs(b"a=b\\\n\nc=d").len(), 2);
    }

    #[test]
    fn escapes_are_resolved() {
        expect(b"a\\=b\\ c\\:=d", "a=b c:", "d");
        expect(b"k=\\t\\n\\r\\f\\q\\\\", "k", "\t\n\r\u{c}q\\");
        expect(b"k=\\u00e9\\uD83D\\uDE00", "k", "\u{e9}\u{1f600}");
        expect(b"c\\u003d=1", "c=", "1");
    }

    #[test]
    fn bytes_are_latin_1() {
        expect(b"dir=/caf\xe9", "dir", "/caf\u{e9}");
        expect("dir=/caf\u{e9}".as_bytes(), "dir", "/caf\u{c3}\u{a9}");
    }

    #[test]
    fn a_malformed_unicode_escape_is_refused_with_its_line() {
        for text in [&b"a=1\nb=\\u12"[..], b"a=1\nb=\\u12g4", b"a=1\n\\u=2"] {
            assert_eq!(read(text), Err(MalformedEscape { line: 2 }));
        }
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let mut state = 7u64;
        for length in 0..2000usize {
            let text: Vec<u8> = (0..length % 40)
                .map(|_| {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    b"\\u0a =:\n\r#!x\xff"[(state >> 33) as usize % 13]
                })
                .collect();
            if let Ok(all) = read(&text) {
                assert!(all.len() <= text.len());
            }
        }
    }
}
