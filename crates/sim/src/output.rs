//! Lines for whoever reads them.

use std::fmt::Arguments;
use std::io::Write;

/// What the process ends with where nobody reads it any more.
const UNREAD: i32 = 1;

/// Prints a line. Where the reader has gone (`| head`), or the disk takes no more, the process ends
/// without a word: what it goes on to find could be told to nobody.
pub fn print_line(to: &mut impl Write, line: Arguments<'_>) {
    if writeln!(to, "{line}").is_err() {
        std::process::exit(UNREAD);
    }
}
