//! The version. Clients read the first three numbers of it from `srvr`, `envi` and `mntr` to learn
//! what a server can do, so these are of the ZooKeeper that this server does as.

/// `3.9.5-rookeeper-<own version>-<commit>, built on <date>`, in the shape of Java's
/// `Version.getFullVersion`.
pub const FULL: &str = concat!(
    "3.9.5-rookeeper-",
    env!("CARGO_PKG_VERSION"),
    "-",
    env!("ROOKEEPER_COMMIT"),
    ", built on ",
    env!("ROOKEEPER_DATE")
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_find_the_numbers_at_the_start() {
        let numbers: String =
            FULL.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        assert_eq!(numbers, "3.9.5");
        assert!(FULL.contains(", built on "), "{FULL}");
    }
}
