//! What a client may demand of the stored state before a change, checked inside the transaction that makes it.

use crate::store::ChangeError;

/// A set of entity tags, from an `If-Match` or `If-None-Match`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tags {
    /// `*`: whatever there is.
    Any,
    /// Tags without their quotes.
    List(Vec<Tag>),
}

/// One entity tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    /// Whether it was given as weak (`W/"..."`).
    pub weak: bool,
    /// Without its quotes. Those of scripts are hexadecimal hashes of sources, those of values numbers of commits.
    pub value: String,
}

/// The preconditions of a request. The default demands nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Precondition {
    /// What there is must be one of these.
    pub if_match: Option<Tags>,
    /// What there is must be none of these.
    pub if_none_match: Option<Tags>,
}

impl Precondition {
    /// Whether `If-Match` allows to go on, given the tag of what there is (none: there is nothing). A weak tag never
    /// matches.
    #[must_use]
    pub fn match_holds(&self, current: Option<&str>) -> bool {
        self.if_match.as_ref().is_none_or(|tags| tags.contain(current, |tag| !tag.weak))
    }

    /// Whether `If-None-Match` allows to go on, given the tag of what there is. A weak tag counts.
    #[must_use]
    pub fn none_match_holds(&self, current: Option<&str>) -> bool {
        self.if_none_match.as_ref().is_none_or(|tags| !tags.contain(current, |_| true))
    }

    /// Refuse a change whose preconditions do not hold.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`].
    pub fn check(&self, current: Option<&str>) -> Result<(), ChangeError> {
        if self.match_holds(current) && self.none_match_holds(current) {
            Ok(())
        } else {
            Err(ChangeError::Precondition)
        }
    }
}

impl Tags {
    fn contain(&self, current: Option<&str>, counts: impl Fn(&Tag) -> bool) -> bool {
        match (self, current) {
            (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::List(tags), Some(current)) => tags.iter().any(|tag| counts(tag) && tag.value == current),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(tags: &[(&str, bool)]) -> Option<Tags> {
        Some(Tags::List(
            tags.iter().map(|(value, weak)| Tag { weak: *weak, value: (*value).into() }).collect(),
        ))
    }

    #[test]
    fn nothing_demanded_always_holds() {
        assert!(Precondition::default().check(None).is_ok());
        assert!(Precondition::default().check(Some("a")).is_ok());
    }

    #[test]
    fn match_wants_one_of_the_tags() {
        let precondition =
            Precondition { if_match: list(&[("a", false), ("b", false)]), ..Default::default() };
        assert!(precondition.check(Some("b")).is_ok());
        assert!(precondition.check(Some("c")).is_err());
        assert!(precondition.check(None).is_err());
    }

    #[test]
    fn match_any_wants_something() {
        let precondition = Precondition { if_match: Some(Tags::Any), ..Default::default() };
        assert!(precondition.check(Some("a")).is_ok());
        assert!(precondition.check(None).is_err());
    }

    #[test]
    fn none_match_wants_none_of_the_tags() {
        let precondition = Precondition { if_none_match: list(&[("a", false)]), ..Default::default() };
        assert!(precondition.check(Some("a")).is_err());
        assert!(precondition.check(Some("b")).is_ok());
        let absent = Precondition { if_none_match: Some(Tags::Any), ..Default::default() };
        assert!(absent.check(None).is_ok());
        assert!(absent.check(Some("a")).is_err());
    }

    #[test]
    fn a_weak_tag_counts_for_none_match_only() {
        assert!(
            !Precondition { if_match: list(&[("a", true)]), ..Default::default() }.match_holds(Some("a"))
        );
        assert!(
            !Precondition { if_none_match: list(&[("a", true)]), ..Default::default() }
                .none_match_holds(Some("a"))
        );
    }
}
