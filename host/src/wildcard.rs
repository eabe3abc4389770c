//! Wildcards of MQTT 5, section 4.7.1, which filters for topics of apps and for those of a broker have in common.

/// Whether the wildcards of a filter are where they may be: `+` as a whole level, `#` as the last one.
pub(crate) fn are_in_place(filter: &str) -> bool {
    let is_level = |level: &str| level == "+" || !level.contains(['+', '#']);
    match filter.rsplit_once('/') {
        Some((levels, "#")) => levels.split('/').all(is_level),
        _ => filter == "#" || filter.split('/').all(is_level),
    }
}

/// Whether a topic fits a filter: `+` stands for any one level, a `#` at the end for any number, none included.
pub(crate) fn fits(filter: &str, topic: &str) -> bool {
    let (mut filter, mut topic) = (filter.split('/'), topic.split('/'));
    loop {
        match (filter.next(), topic.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_are_whole_levels_and_the_last_one_may_be_any_number() {
        for filter in ["", "a", "#", "+", "+/+", "a/+/b", "a/#", "+/#", "/", "//#"] {
            assert!(are_in_place(filter), "{filter}");
        }
        for filter in ["a#", "#/", "#/a", "a/#/#", "a+", "+a/b", "a/b#", "a/+#", "##"] {
            assert!(!are_in_place(filter), "{filter}");
        }
    }
}
