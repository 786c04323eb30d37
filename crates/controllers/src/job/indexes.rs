//! The completion indexes of an Indexed Job, in the form that its status has: `0-3,5`.

use std::collections::BTreeSet;

/// Reads `0-3,5`; what cannot be read is left out.
pub fn parse(text: &str) -> BTreeSet<i32> {
    let ranges = text.split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        Some((from.trim().parse::<i32>().ok()?, to.trim().parse::<i32>().ok()?))
    });
    ranges.flat_map(|(from, to)| from..=to).collect()
}

/// Writes `0-3,5`: two in a row stand one by one, three or more as a range.
pub fn format(indexes: &BTreeSet<i32>) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut rest = indexes.iter().copied().peekable();
    while let Some(first) = rest.next() {
        let mut last = first;
        while let Some(next) = rest.next_if(|next| *next == last + 1) {
            last = next;
        }
        match last - first {
            0 => parts.push(first.to_string()),
            1 => parts.extend([first.to_string(), last.to_string()]),
            _ => parts.push(format!("{first}-{last}")),
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written() {
        for text in ["", "0", "0,1", "0-2", "0-3,5,7,8,10-12"] {
            assert_eq!(format(&parse(text)), text);
        }
        assert_eq!(parse("1-3,x,5"), BTreeSet::from([1, 2, 3, 5]));
    }
}
