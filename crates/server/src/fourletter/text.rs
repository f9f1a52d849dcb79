//! Numbers, addresses and dates as Java writes them.

use std::net::{IpAddr, SocketAddr};

/// A number with a fraction as `Double.toString` writes it.
pub(super) fn double(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("scientific notation has an e");
    let fraction = if digits.contains('.') { "" } else { ".0" };
    format!("{digits}{fraction}E{exponent}")
}

/// A socket address as `InetSocketAddress.toString` writes an unresolved one: `/host:port`, IPv6
/// in brackets with all eight groups.
pub(super) fn socket_address(address: SocketAddr) -> String {
    match address.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}:{}", address.port()),
        IpAddr::V6(ip) => {
            let groups: Vec<String> = ip.segments().iter().map(|g| format!("{g:x}")).collect();
            format!("/[{}]:{}", groups.join(":"), address.port())
        }
    }
}

/// A time as `Date.toString` writes it, in UTC.
pub(super) fn date(wall_ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = wall_ms.div_euclid(1000);
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let weekday = DAYS[usize::try_from(days.rem_euclid(7)).expect("a remainder by 7")];
    let month = MONTHS[usize::try_from(month - 1).expect("a month from 1")];
    format!(
        "{weekday} {month} {day:02} {:02}:{:02}:{:02} UTC {year}",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month from 1 and day from 1 of a count of days since 1970-01-01 in the Gregorian
/// calendar (Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    // Years begin in March here, so that a leap day is a year's last; eras are 400 years.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_in_java() {
        for (value, text) in [
            (0.0, "0.0"),
            (4.6667, "4.6667"),
            (73.0, "73.0"),
            (0.001, "0.001"),
            (0.0005, "5.0E-4"),
            (9_999_999.5, "9999999.5"),
            (1e7, "1.0E7"),
            (1.25e9, "1.25E9"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn addresses_are_written_as_in_java() {
        for (address, text) in [
            ("127.0.0.1:2181", "/127.0.0.1:2181"),
            ("[::ffff:10.0.0.1]:5", "/10.0.0.1:5"),
            ("[::1]:2181", "/[0:0:0:0:0:0:0:1]:2181"),
            ("[fe80::a:b]:1", "/[fe80:0:0:0:0:0:a:b]:1"),
        ] {
            assert_eq!(socket_address(address.parse().unwrap()), text);
        }
    }

    #[test]
    fn dates_are_written_as_in_java() {
        for (wall_ms, text) in [
            (0, "Thu Jan 01 00:00:00 UTC 1970"),
            (-1, "Wed Dec 31 23:59:59 UTC 1969"),
            (951_782_400_000, "Tue Feb 29 00:00:00 UTC 2000"),
            (1_795_371_438_999, "Sun Nov 22 18:17:18 UTC 2026"),
            (4_107_542_399_000, "Sun Feb 28 23:59:59 UTC 2100"),
            (4_107_542_400_000, "Mon Mar 01 00:00:00 UTC 2100"),
        ] {
            assert_eq!(date(wall_ms), text);
        }
    }
}
