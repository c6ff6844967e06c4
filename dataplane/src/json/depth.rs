//! How deep a stranger's JSON may nest.

use crate::error::{Error, Result};

/// That no list or object of this JSON is at a depth of more than `most`; the outermost is at 1.
///
/// What is no JSON may pass or not: whoever reads it says so.
///
/// # Errors
/// It nests deeper.
pub(crate) fn check_depth(json: &[u8], most: usize) -> Result<()> {
    // Most bodies have fewer lists and objects than may be inside each other. Counting them is a small part of reading them.
    if openings(json) <= most || depth(json) <= most {
        return Ok(());
    }
    Err(Error::malformed(format!("the body: expected lists and objects nested at most {most} deep")))
}

/// How many lists and objects may begin here. Counted in pieces whose counts fit into a byte, which a compiler does for many bytes at a
/// time.
fn openings(json: &[u8]) -> usize {
    let opens = |&byte: &u8| u8::from(byte | (b'[' ^ b'{') == b'{');
    json.chunks(u8::MAX.into()).map(|piece| usize::from(piece.iter().map(opens).sum::<u8>())).sum()
}

/// The depth of the innermost list or object.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'"' => {
                // To the end of the string. A quote behind a backslash does not end it.
                while let Some(&byte) = bytes.next()
                    && byte != b'"'
                {
                    if byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::{check_depth, depth, openings};

    #[test]
    fn depth_is_that_of_the_innermost_list_or_object() {
        for (json, wanted) in [
            ("1", 0),
            ("[]", 1),
            ("[[], [[]], []]", 3),
            (r#"{"a": {"b": [1, {}]}}"#, 4),
            (r#"["[[[", "]", "\"[[", "\\", {"{{": "}"}]"#, 2),
            ("]]]][", 1),
            (r#"["unended [[["#, 1),
        ] {
            assert_eq!(depth(json.as_bytes()), wanted, "{json}");
        }
    }

    #[test]
    fn lists_and_objects_are_counted_and_nothing_else() {
        let all: Vec<_> = (0..=u8::MAX).cycle().take(1000).collect();
        let counted = all.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
        assert_eq!(openings(&all), counted);
        assert_eq!(openings(&[b'['; 1000]), 1000);
    }

    #[test]
    fn many_lists_side_by_side_are_not_deep() {
        let wide = format!("[{}[]]", "[],".repeat(1000));
        assert!(check_depth(wide.as_bytes(), 2).is_ok());
        assert!(check_depth(wide.as_bytes(), 1).is_err());
    }
}
