//! Figures as a table for people and as JSON for scripts.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// One scenario's figures, in the order in which they were added.
#[derive(Debug, Clone)]
pub struct Report {
    title: String,
    rows: Vec<Row>,
}

#[derive(Debug, Clone)]
struct Row {
    key: String,
    label: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    /// A report without figures.
    pub fn new(title: impl Into<String>) -> Report {
        Report { title: title.into(), rows: Vec::new() }
    }

    /// Adds a figure: `key` in JSON, `label` and `unit` in the table.
    pub fn add(
        &mut self,
        key: impl Into<String>,
        label: impl Into<String>,
        value: f64,
        unit: &'static str,
    ) {
        self.rows.push(Row { key: key.into(), label: label.into(), value, unit });
    }

    /// The figure of `key`.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.rows.iter().find(|row| row.key == key).map(|row| row.value)
    }

    /// Lines of label, figure and unit under the title.
    pub fn to_table(&self) -> String {
        let width = self.rows.iter().map(|row| row.label.chars().count()).max().unwrap_or(0);
        let mut out = format!("{}\n", self.title);
        for row in &self.rows {
            let Row { label, value, unit, .. } = row;
            let line = format!("  {label:<width$}  {:>14} {unit}", format_number(*value));
            writeln!(out, "{}", line.trim_end()).expect("a string takes all");
        }
        out
    }

    /// One object, with the scenario's name and a number for each key.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("scenario".to_owned(), json!(self.title));
        for row in &self.rows {
            object.insert(row.key.clone(), json!(row.value));
        }
        Value::Object(object)
    }
}

/// A number with thousands set apart; decimals where it is small.
pub fn format_number(value: f64) -> String {
    let decimals = match value.abs() {
        magnitude if magnitude >= 100.0 || magnitude == magnitude.trunc() => 0,
        magnitude if magnitude >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = whole.trim_start_matches('-');
    let mut out = if whole.starts_with('-') { "-".to_owned() } else { String::new() };
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// The middle of `values`, the mean of the two in the middle of an even number; NaN of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        let texts = [1234567.0, 999.0, 12.34, 1.005, 0.0, -4321.0].map(format_number);
        assert_eq!(texts, ["1,234,567", "999", "12.3", "1.00", "0", "-4,321"]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn table_and_json_show_the_same() {
        let mut report = Report::new("load");
        report.add("operations_per_second", "operations", 1500.0, "1/s");
        assert_eq!(report.to_table(), "load\n  operations           1,500 1/s\n");
        let json = report.to_json();
        assert_eq!(json["operations_per_second"], 1500.0);
        assert_eq!(report.get("operations_per_second"), Some(1500.0));
    }
}
