//! All settings of a start with their origins, and typed reading of single ones.
//!
//! Java's order: a key of the file that Java's parser does not know is written into the system
//! properties, over a `-D` of the same name; so the file wins. Properties without the prefix
//! `zookeeper.` cannot be set in Java's file; there `-D` wins and the file is taken where nothing
//! else is said. Of several `-D` the last one wins, and arguments come after the environment.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::error::{ConfigError, Notice, NoticeLevel, Origin};
use super::keys::{self, KeyKind};
use super::properties;

const PREFIX: &str = "zookeeper.";

/// The largest number of Java's `int`.
pub(super) const INT_MAX: i64 = i32::MAX as i64;

/// One setting as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key as it was written.
    pub key: String,
    /// The value, trimmed.
    pub value: String,
    /// Where it was given.
    pub origin: Origin,
}

impl Setting {
    /// An error about this setting.
    pub fn refuse(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::Value {
            origin: self.origin.clone(),
            key: self.key.clone(),
            message: message.into(),
        }
    }

    /// A decimal number as `Integer.parseInt` reads it.
    pub fn integer(&self, range: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        let text = self.value.strip_prefix('+').filter(|rest| !rest.starts_with(['+', '-']));
        let parsed = text.unwrap_or(&self.value).parse::<i64>().ok();
        self.in_range(parsed, range)
    }

    /// A number as `Integer.getInteger` reads it: decimal, `0x`, `#` or a leading 0 for octal.
    pub fn decoded(&self, range: RangeInclusive<i64>) -> Result<i64, ConfigError> {
        let (negative, digits) = match self.value.as_bytes() {
            [b'-', ..] => (true, &self.value[1..]),
            [b'+', ..] => (false, &self.value[1..]),
            _ => (false, &self.value[..]),
        };
        let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
        let (digits, radix) = match hexadecimal {
            Some(digits) => (digits, 16),
            None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
            None => (digits, 10),
        };
        let parsed = Some(digits)
            .filter(|digits| !digits.starts_with(['+', '-']))
            .and_then(|digits| i128::from_str_radix(digits, radix).ok())
            .map(|magnitude| if negative { -magnitude } else { magnitude })
            .and_then(|value| i64::try_from(value).ok());
        self.in_range(parsed, range)
    }

    fn in_range(
        &self,
        parsed: Option<i64>,
        range: RangeInclusive<i64>,
    ) -> Result<i64, ConfigError> {
        match parsed {
            Some(value) if range.contains(&value) => Ok(value),
            Some(value) => Err(self.refuse(format!(
                "{value} is out of range, {} to {} is possible",
                range.start(),
                range.end()
            ))),
            None => Err(self.refuse(format!("not a number: \"{}\"", self.value))),
        }
    }

    /// A number with a fraction, finite and not negative.
    pub fn fraction(&self) -> Result<f64, ConfigError> {
        match self.value.parse::<f64>() {
            Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
            _ => Err(self.refuse(format!("not a number of 0 or more: \"{}\"", self.value))),
        }
    }

    /// A boolean of a key that Java's parser knows: anything but `true` and `false` is refused.
    pub fn strict_boolean(&self) -> Result<bool, ConfigError> {
        match self.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refuse(format!(
                "Invalid option {} for {}. Choose 'true' or 'false.'",
                self.value, self.key
            ))),
        }
    }

    /// A choice between two words, written exactly so.
    pub fn yes_or_no(&self) -> Result<bool, ConfigError> {
        match self.value.as_str() {
            "yes" => Ok(true),
            "no" => Ok(false),
            other => Err(self.refuse(format!("\"{other}\" is neither yes nor no"))),
        }
    }
}

/// All settings.
#[derive(Debug, Default)]
pub struct Settings {
    file: BTreeMap<String, Setting>,
    properties: BTreeMap<String, Setting>,
    /// What is to be said about them.
    pub notices: Vec<Notice>,
}

impl Settings {
    /// Takes `-Dname=value` settings, later ones over earlier ones.
    pub fn add_property(&mut self, name: &str, value: &str, origin: Origin) {
        let setting = Setting { key: name.into(), value: value.trim().into(), origin };
        self.properties.insert(name.into(), setting);
    }

    /// Takes a bare word of the command line as the file's `key`.
    pub fn set_positional(&mut self, key: &str, value: &str) {
        let setting =
            Setting { key: key.into(), value: value.trim().into(), origin: Origin::Positional };
        self.file.insert(key.into(), setting);
    }

    /// Takes the text of a properties file.
    ///
    /// # Errors
    /// A malformed `\u` escape.
    pub fn add_file(&mut self, path: &str, bytes: &[u8]) -> Result<(), ConfigError> {
        let path: Arc<str> = path.into();
        let entries = properties::read(bytes).map_err(|malformed| ConfigError::Syntax {
            origin: Origin::File { path: Arc::clone(&path), line: malformed.line },
            message: malformed.to_string(),
        })?;
        for entry in entries {
            let origin = Origin::File { path: Arc::clone(&path), line: entry.line };
            let key = entry.key.trim().to_string();
            let setting = Setting { key: key.clone(), value: entry.value.trim().into(), origin };
            if let Some(earlier) = self.file.insert(key, setting.clone()) {
                self.warn(format!(
                    "{}: {} replaces the one at {}",
                    setting.origin, setting.key, earlier.origin
                ));
            }
        }
        self.unprefix();
        Ok(())
    }

    /// Java would make `zookeeper.zookeeper.x` of `zookeeper.x` in the file, which nothing reads.
    fn unprefix(&mut self) {
        let prefixed: Vec<String> =
            self.file.keys().filter(|key| key.starts_with(PREFIX)).cloned().collect();
        for key in prefixed {
            let bare = key[PREFIX.len()..].to_string();
            let setting = self.file.remove(&key).expect("the key was listed from this map");
            if keys::kind_of(&bare).is_none() || self.file.contains_key(&bare) {
                self.file.insert(key, setting);
                continue;
            }
            self.warn(format!(
                "{}: {key} is taken as {bare}; a Java server ignores it when written so",
                setting.origin
            ));
            self.file.insert(bare, setting);
        }
    }

    /// Says something at level info.
    pub fn info(&mut self, text: String) {
        self.notices.push(Notice { level: NoticeLevel::Info, text });
    }

    /// Says something at level warn.
    pub fn warn(&mut self, text: String) {
        self.notices.push(Notice { level: NoticeLevel::Warn, text });
    }

    /// A key that only the file has.
    pub fn file(&self, key: &str) -> Option<&Setting> {
        self.file.get(key)
    }

    /// All keys of the file.
    pub fn file_entries(&self) -> impl Iterator<Item = &Setting> {
        self.file.values()
    }

    /// All `-D` settings.
    pub fn property_entries(&self) -> impl Iterator<Item = &Setting> {
        self.properties.values()
    }

    /// The property `zookeeper.<key>`: the file's `<key>` wins.
    pub fn property(&self, key: &str) -> Option<&Setting> {
        self.file.get(key).or_else(|| self.properties.get(&format!("{PREFIX}{key}")))
    }

    /// A property without prefix: `-D` wins.
    pub fn bare(&self, key: &str) -> Option<&Setting> {
        self.properties.get(key).or_else(|| self.file.get(key))
    }

    /// The property `zookeeper.<key>` as Java's `Integer.getInteger` or `Long.getLong` reads it.
    pub fn number(
        &self,
        key: &str,
        default: i64,
        range: RangeInclusive<i64>,
    ) -> Result<i64, ConfigError> {
        self.property(key).map_or(Ok(default), |setting| setting.decoded(range))
    }

    /// The property `zookeeper.<key>` as a fraction.
    pub fn fraction(&self, key: &str, default: f64) -> Result<f64, ConfigError> {
        self.property(key).map_or(Ok(default), Setting::fraction)
    }

    /// A boolean system property. Java takes anything but `true` for false; a value that says no
    /// in another word is taken so with a warning, any other is refused.
    pub fn boolean(
        &mut self,
        setting: Option<Setting>,
        default: bool,
    ) -> Result<bool, ConfigError> {
        let Some(setting) = setting else { return Ok(default) };
        match setting.value.to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            "no" | "off" | "0" | "none" | "disabled" | "" => {
                self.warn(format!(
                    "{}: {}: \"{}\" is taken for false, as by Java; write false",
                    setting.origin, setting.key, setting.value
                ));
                Ok(false)
            }
            other => Err(setting.refuse(format!("\"{other}\" is neither true nor false"))),
        }
    }

    /// The boolean property `zookeeper.<key>`; see [`Settings::boolean`].
    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.boolean(self.property(key).cloned(), default)
    }

    /// Says what becomes of accepted keys that do nothing here, and warns of unknown ones.
    pub fn report(&mut self, ensemble: bool) {
        let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut warnings = Vec::new();
        for setting in self.file.values() {
            let known = keys::kind_of(&setting.key);
            classify(setting, &setting.key, known, ensemble, &mut said, &mut warnings);
        }
        for setting in self.properties.values() {
            let unprefixed = setting.key.strip_prefix(PREFIX);
            let key = unprefixed.unwrap_or(&setting.key);
            let kind = keys::kind_of(key);
            if let Some(why) = without_effect(unprefixed.is_some(), key, kind) {
                let (origin, name) = (&setting.origin, &setting.key);
                warnings.push(format!("{origin}: -D{name} has no effect: {why}"));
            } else if unprefixed.is_some() || kind.is_some() {
                classify(setting, key, kind, ensemble, &mut said, &mut warnings);
            }
        }
        for (why, names) in said {
            self.info(format!("accepted without effect, {why}: {}", names.join(", ")));
        }
        for warning in warnings {
            self.warn(warning);
        }
    }
}

/// Why a `-D` of a known key is read by nobody, where that is so.
fn without_effect(prefixed: bool, key: &str, kind: Option<KeyKind>) -> Option<String> {
    match (prefixed, kind?) {
        (_, KeyKind::File | KeyKind::Ensemble) => {
            Some(format!("{key} is read from the configuration file only"))
        }
        (true, KeyKind::Bare) => Some(format!("the property is {key}")),
        // Java reads this one under both names.
        (false, KeyKind::Property | KeyKind::EnsembleProperty)
            if key != "fsync.warningthresholdms" =>
        {
            Some(format!("the property is {PREFIX}{key}"))
        }
        _ => None,
    }
}

fn classify(
    setting: &Setting,
    key: &str,
    kind: Option<KeyKind>,
    ensemble: bool,
    said: &mut BTreeMap<String, Vec<String>>,
    warnings: &mut Vec<String>,
) {
    let why = match kind {
        Some(KeyKind::Ensemble | KeyKind::EnsembleProperty) if !ensemble => {
            "for an ensemble only".to_string()
        }
        Some(KeyKind::Jvm) => "for a Java server only".to_string(),
        Some(KeyKind::Absent(feature)) => format!("{feature} is not there yet"),
        Some(_) => return,
        None => {
            let hint = keys::nearest(key)
                .map(|near| format!(", did you mean {near}?"))
                .unwrap_or_default();
            warnings.push(format!(
                "{}: unknown key {} is kept as the property {PREFIX}{key}{hint}",
                setting.origin, setting.key
            ));
            return;
        }
    };
    said.entry(why).or_default().push(setting.key.clone());
}

/// A number of things, of a value whose range begins at 0.
pub(super) fn to_usize(value: i64) -> usize {
    usize::try_from(value).expect("checked not to be negative")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(value: &str) -> Setting {
        let origin = Origin::File { path: "zoo.cfg".into(), line: 7 };
        Setting { key: "someKey".into(), value: value.into(), origin }
    }

    #[test]
    fn decimal_numbers_are_read_as_java_reads_them() {
        for (text, value) in [("12", 12), ("-1", -1), ("+5", 5), ("007", 7)] {
            assert_eq!(setting(text).integer(-10..=100).unwrap(), value, "{text}");
        }
        for text in ["", "x", "0x10", "1.5", "2 3", "+-1", "99999999999999999999"] {
            let error = setting(text).integer(0..=100).unwrap_err().to_string();
            assert_eq!(error, format!("zoo.cfg:7: someKey: not a number: \"{text}\""));
        }
        assert_eq!(
            setting("101").integer(0..=100).unwrap_err().to_string(),
            "zoo.cfg:7: someKey: 101 is out of range, 0 to 100 is possible"
        );
    }

    #[test]
    fn properties_may_be_hexadecimal_or_octal() {
        let all = i64::MIN..=i64::MAX;
        for (text, value) in [
            ("0x3fffff", 0x3f_ffff),
            ("#FF", 255),
            ("-0X10", -16),
            ("010", 8),
            ("0", 0),
            ("+7", 7),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(setting(text).decoded(all.clone()).unwrap(), value, "{text}");
        }
        for text in ["", "0x", "--1", "+-1", "0x-1", "09", "1e3", "9223372036854775808"] {
            assert!(setting(text).decoded(all.clone()).is_err(), "{text}");
        }
    }

    #[test]
    fn booleans_are_never_taken_for_their_opposite() {
        let mut settings = Settings::default();
        for (text, value) in [("true", true), ("TRUE", true), ("false", false), ("no", false)] {
            assert_eq!(settings.boolean(Some(setting(text)), true).unwrap(), value, "{text}");
        }
        assert_eq!(settings.notices.len(), 1);
        for text in ["yes", "on", "1", "tru"] {
            let error = settings.boolean(Some(setting(text)), false).unwrap_err().to_string();
            assert!(error.starts_with("zoo.cfg:7: someKey: "), "{error}");
        }
        assert!(setting("no").strict_boolean().is_err());
        assert!(setting("NO").yes_or_no().is_err());
        assert!(setting("false").yes_or_no().is_err());
        assert!(!setting("no").yes_or_no().unwrap());
    }

    #[test]
    fn the_file_wins_over_prefixed_properties_and_loses_to_bare_ones() {
        let mut settings = Settings::default();
        settings.add_property("zookeeper.snapCount", "5", Origin::Environment("JVMFLAGS"));
        settings.add_property("jute.maxbuffer", "11", Origin::Argument);
        settings
            .add_file("z", b"snapCount=6\njute.maxbuffer=10\nreadonlymode.enabled=true")
            .unwrap();
        assert_eq!(settings.property("snapCount").unwrap().value, "6");
        assert_eq!(settings.bare("jute.maxbuffer").unwrap().value, "11");
        assert_eq!(settings.bare("readonlymode.enabled").unwrap().value, "true");
        settings.add_property("zookeeper.preAllocSize", "1", Origin::Environment("JVMFLAGS"));
        settings.add_property("zookeeper.preAllocSize", "2", Origin::Argument);
        assert_eq!(settings.property("preAllocSize").unwrap().value, "2");
    }

    #[test]
    fn a_prefixed_key_of_the_file_is_taken_and_said() {
        let mut settings = Settings::default();
        settings.add_file("z", b"zookeeper.snapCount=6\nzookeeper.other=1").unwrap();
        assert_eq!(settings.property("snapCount").unwrap().value, "6");
        assert!(settings.file("zookeeper.other").is_some());
        assert_eq!(settings.notices.len(), 1);
        assert!(settings.notices[0].text.contains("z:1"), "{:?}", settings.notices);
    }

    #[test]
    fn the_last_of_two_equal_keys_is_valid_and_said() {
        let mut settings = Settings::default();
        settings.add_file("z", b"tickTime=1\ntickTime=2\n").unwrap();
        assert_eq!(settings.file("tickTime").unwrap().value, "2");
        assert_eq!(settings.notices[0].text, "z:2: tickTime replaces the one at z:1");
    }

    #[test]
    fn a_property_under_the_wrong_name_is_reported() {
        let mut settings = Settings::default();
        for name in [
            "jute.maxbuffer",
            "zookeeper.jute.maxbuffer",
            "snapCount",
            "zookeeper.snapCount",
            "fsync.warningthresholdms",
            "tickTime",
            "java.home",
        ] {
            settings.add_property(name, "5", Origin::Argument);
        }
        settings.report(false);
        let texts: Vec<&str> = settings.notices.iter().map(|notice| notice.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "command line (-D): -DsnapCount has no effect: the property is zookeeper.snapCount",
                "command line (-D): -DtickTime has no effect: \
                 tickTime is read from the configuration file only",
                "command line (-D): -Dzookeeper.jute.maxbuffer has no effect: \
                 the property is jute.maxbuffer",
            ]
        );
    }

    #[test]
    fn idle_and_unknown_keys_are_reported() {
        let mut settings = Settings::default();
        settings
            .add_file(
                "z",
                b"initLimit=5\nserverCnxnFactory=x\nadmin.serverPort=1\ndataDri=/d\nq=1\n",
            )
            .unwrap();
        settings.add_property("zookeeper.tickTime", "5", Origin::Argument);
        settings.add_property("java.awt.headless", "true", Origin::Argument);
        settings.report(false);
        let texts: Vec<&str> = settings.notices.iter().map(|notice| notice.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "accepted without effect, for a Java server only: serverCnxnFactory",
                "accepted without effect, for an ensemble only: initLimit",
                "accepted without effect, the admin server is not there yet: admin.serverPort",
                "z:4: unknown key dataDri is kept as the property zookeeper.dataDri, \
                 did you mean dataDir?",
                "z:5: unknown key q is kept as the property zookeeper.q",
                "command line (-D): -Dzookeeper.tickTime has no effect: \
                 tickTime is read from the configuration file only",
            ]
        );
    }
}
