//! The customers' ages, from H&M's file.

use std::{collections::HashMap, fs, path::Path};

/// Ages in years by customer id; those that are not known are left out.
pub(crate) fn read(file: &Path) -> Result<HashMap<String, f32>, String> {
    let failed = |reason: &dyn std::fmt::Display| format!("{}: {reason}", file.display());
    let text = fs::read_to_string(file).map_err(|error| failed(&error))?;
    let mut lines = text.lines();
    let head: Vec<&str> = lines.next().unwrap_or_default().split(',').map(unquoted).collect();
    let place =
        |name: &str| head.iter().position(|column| *column == name).ok_or_else(|| failed(&format!("no {name}")));
    let (id, age) = (place("customer_id")?, place("age")?);
    let known = lines.filter_map(|line| {
        // None of the file's values has a comma.
        let values: Vec<&str> = line.split(',').map(unquoted).collect();
        Some((values.get(id)?.to_string(), values.get(age)?.parse().ok()?))
    });
    Ok(known.collect())
}

fn unquoted(value: &str) -> &str {
    value.trim_matches('"')
}
