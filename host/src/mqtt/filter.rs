//! Topics and filters of MQTT 5, section 4.7: levels between `/`, which may be empty.

use std::sync::Arc;

use crate::wildcard;

/// The longest topic and the longest filter, in bytes. MQTT allows 65 535.
pub const MAX_TOPIC_BYTES: usize = 1024;

/// Which topics: `+` stands for any one level, a `#` at the end for any number, none included.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MqttFilter(Arc<str>);

/// Whether a text is a topic to which a message can be sent.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    is_sendable(text) && !text.contains(['+', '#']) && !text.starts_with('$')
}

fn is_sendable(text: &str) -> bool {
    (1..=MAX_TOPIC_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl MqttFilter {
    /// Read a filter; none when it is not one. Shared subscriptions (`$share/...`) are none: two servers would each get a
    /// part of the messages.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let shared = text.split('/').next() == Some("$share");
        (is_sendable(text) && !shared && wildcard::are_in_place(text)).then(|| Self(text.into()))
    }

    /// Whether a topic is meant. A wildcard at the start leaves out what starts with `$`, which is the broker's own.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        wildcard::fits(&self.0, topic)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        MqttFilter::parse(filter).unwrap().matches(topic)
    }

    /// The examples of sections 4.7.1 and 4.7.2.
    #[test]
    fn filters_match_as_the_standard_says() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
            ("sport/#", "sport"),
            ("#", "ä/b"),
            ("sport/tennis/+", "sport/tennis/player1"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/broker"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/tennis/+", "sport/tennis/player1/ranking"),
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/broker"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_or_no_topic_is_refused() {
        for text in [
            "",
            "a#",
            "#/a",
            "a+/b",
            "sport/tennis#",
            "a\u{0}b",
            "$share/g/a",
            &"a".repeat(MAX_TOPIC_BYTES + 1),
        ] {
            assert_eq!(MqttFilter::parse(text), None, "{text:?}");
        }
        assert!(is_topic("home//kitchen") && is_topic("/"));
        for text in ["", "a/+", "#", "a\n", "$SYS/a"] {
            assert!(!is_topic(text), "{text:?}");
        }
    }
}
