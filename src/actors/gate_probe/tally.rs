//! When what a dependency answers is news.

/// Counts the answers of one dependency.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    failures_to_close: u32,
    /// Bad answers since the last good one.
    failures: u32,
    /// What was told; `None`: nothing yet.
    is_up: Option<bool>,
}

impl Tally {
    /// Nothing is known; so many bad answers in a row will mean that the dependency is down.
    pub(super) const fn new(failures_to_close: u32) -> Self {
        Self { failures_to_close, failures: 0, is_up: None }
    }

    /// Whether it was told that the dependency is down.
    pub(super) fn is_down(&self) -> bool {
        self.is_up == Some(false)
    }

    /// Takes in one answer and says whether the dependency is up, when that is news. One good answer
    /// is enough to be up; while nothing is known, one bad answer is enough to be down.
    pub(super) fn count(&mut self, is_good: bool) -> Option<bool> {
        self.failures = if is_good { 0 } else { self.failures.saturating_add(1) };
        let is_up = is_good || (self.is_up == Some(true) && self.failures < self.failures_to_close);
        (self.is_up.replace(is_up) != Some(is_up)).then_some(is_up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is told after each answer: `+` for a good one, `-` for a bad one.
    fn told(failures_to_close: u32, answers: &str) -> String {
        let mut tally = Tally::new(failures_to_close);
        let news = answers.chars().map(|answer| match tally.count(answer == '+') {
            Some(true) => 'U',
            Some(false) => 'D',
            None => '.',
        });
        news.collect()
    }

    #[test]
    fn only_changes_are_told() {
        assert_eq!(told(2, "+++"), "U..");
        assert_eq!(told(2, "---"), "D..");
        assert_eq!(told(1, "+-+-"), "UDUD");
    }

    #[test]
    fn it_takes_so_many_failures_in_a_row_to_be_down() {
        assert_eq!(told(3, "+---"), "U..D");
        assert_eq!(told(3, "+--+--+---"), "U........D", "a good answer between them counts anew");
    }

    #[test]
    fn the_first_bad_answer_counts_while_nothing_is_known() {
        assert_eq!(told(3, "-"), "D");
    }

    #[test]
    fn one_good_answer_is_enough_to_be_up_again() {
        assert_eq!(told(2, "--+"), "D.U");
        assert_eq!(told(2, "-+-+--"), "DU...D", "and it takes as many failures as before");
    }
}
