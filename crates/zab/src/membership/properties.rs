//! Lines of `key=value`, as `java.util.Properties` reads them.

use super::order;

/// Reads `text` into pairs, in the order in which Java would iterate over them; of a key that
/// stands twice the last value counts.
pub(super) fn read(text: &str) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for line in logical_lines(text) {
        let (key, value) = split(&line);
        match pairs.iter_mut().find(|(known, _)| *known == key) {
            Some(pair) => pair.1 = value,
            None => pairs.push((key, value)),
        }
    }
    order::sort_by_string(&mut pairs, |(key, _)| key);
    pairs
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

/// Lines without comments and blank lines, continuation lines joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut natural = text.split(['\n', '\r']);
    while let Some(line) = natural.next() {
        let line = line.trim_start_matches(is_blank);
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = line.to_owned();
        while logical.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            logical.pop();
            match natural.next() {
                Some(more) => logical.push_str(more.trim_start_matches(is_blank)),
                None => break,
            }
        }
        lines.push(logical);
    }
    lines
}

/// Splits at the first separator that no backslash precedes.
fn split(line: &str) -> (String, String) {
    let mut escaped = false;
    let end = line.char_indices().find(|(_, c)| {
        let separates = !escaped && (matches!(c, '=' | ':') || is_blank(*c));
        escaped = *c == '\\' && !escaped;
        separates
    });
    let end = end.map_or(line.len(), |(at, _)| at);
    let rest = line[end..].trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (unescape(&line[..end]), unescape(rest.trim_start_matches(is_blank)))
}

/// Resolves backslashes; of a `\u` without four digits the letters stay.
fn unescape(text: &str) -> String {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut rest = text.chars();
    let mut buffer = [0; 2];
    while let Some(c) = rest.next() {
        let c = match (c, if c == '\\' { rest.next() } else { None }) {
            ('\\', None) => continue,
            ('\\', Some('n')) => '\n',
            ('\\', Some('r')) => '\r',
            ('\\', Some('t')) => '\t',
            ('\\', Some('f')) => '\u{c}',
            ('\\', Some('u')) => {
                let digits = rest.as_str().get(..4).unwrap_or_default();
                if let Ok(unit) = u16::from_str_radix(digits, 16) {
                    units.push(unit);
                    rest = rest.as_str()[4..].chars();
                    continue;
                }
                'u'
            }
            ('\\', Some(other)) => other,
            (plain, _) => plain,
        };
        units.extend_from_slice(c.encode_utf16(&mut buffer));
    }
    String::from_utf16_lossy(&units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> (String, String) {
        let pairs = read(text);
        assert_eq!(pairs.len(), 1, "{pairs:?}");
        pairs.into_iter().next().unwrap()
    }

    #[test]
    fn separators_comments_and_continuations_are_java_s() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(one("a=b"), pair("a", "b"));
        assert_eq!(one("  a : b "), pair("a", "b "));
        assert_eq!(one("a b=c"), pair("a", "b=c"));
        assert_eq!(one("#x\n!y\n\na=1\\\n   2\r\n"), pair("a", "12"));
        assert_eq!(one("a\\=b=c\\:\\u0041\\n\\x"), pair("a=b", "c:A\nx"));
        assert_eq!(one("alone"), pair("alone", ""));
        assert_eq!(one("a=1\na=2"), pair("a", "2"));
        assert_eq!(one("a=1\\"), pair("a", "1"));
    }
}
