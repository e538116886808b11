//! Attempts as they are stored: what the domain calls them takes twice the room, and most tasks
//! of a store have one attempt each that went well.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rows::{is_empty, is_zero};
use crate::domain::{
    AgentId, Attempt, AttemptEnded, AttemptRecord, Candidate, Decision, Failure, Incarnation, Now,
    Outcome, Preference, Rule, Stop, StopReason, Usage,
};

/// An attempt, its decision and its end, flat and without what is as usual.
#[derive(Debug, Serialize, Deserialize)]
struct Stored<'a> {
    attempt: Attempt,
    agent: AgentId,
    incarnation: Incarnation,
    rule: Rule,
    #[serde(serialize_with = "write_candidates", deserialize_with = "read_candidates")]
    candidates: Cow<'a, [Candidate]>,
    of: usize,
    #[serde(default, skip_serializing_if = "is_empty")]
    excluded: Cow<'a, [AgentId]>,
    #[serde(default, skip_serializing_if = "is_false")]
    relaxed: bool,
    waited_ms: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    preference: Option<Preference>,
    assigned: Now,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started: Option<Now>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<(Now, Outcome)>,
    #[serde(default, skip_serializing_if = "is_false")]
    counted: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failure: Option<Cow<'a, Failure>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(default, skip_serializing_if = "is_false")]
    overlap_possible: bool,
    /// Why, and when it was asked, signalled, killed and over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stop: Option<(StopReason, [Option<Now>; 4])>,
    #[serde(default, skip_serializing_if = "is_zero")]
    children: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Each candidate as a pair.
fn write_candidates<S: Serializer>(list: &[Candidate], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(|candidate| (candidate.agent_id, candidate.score_ms)))
}

fn read_candidates<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'static, [Candidate]>, D::Error> {
    let pairs = Vec::<(AgentId, Option<f64>)>::deserialize(deserializer)?;
    let candidate = |(agent_id, score_ms)| Candidate { agent_id, score_ms };
    Ok(pairs.into_iter().map(candidate).collect())
}

/// For `serialize_with`.
pub(super) fn write<S: Serializer>(
    list: &[AttemptRecord],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(Stored::of))
}

/// For `deserialize_with`.
pub(super) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Cow<'static, [AttemptRecord]>, D::Error> {
    let list = Vec::<Stored<'static>>::deserialize(deserializer)?;
    Ok(list.into_iter().map(Stored::into_record).collect())
}

impl<'a> Stored<'a> {
    fn of(record: &'a AttemptRecord) -> Self {
        let decision = &record.decision;
        let end = record.end.as_ref();
        Self {
            attempt: record.attempt,
            agent: record.agent,
            incarnation: record.incarnation,
            rule: decision.rule,
            candidates: Cow::Borrowed(&decision.candidates),
            of: decision.candidates_total,
            excluded: Cow::Borrowed(&decision.excluded),
            relaxed: decision.relaxed,
            waited_ms: decision.waited_ms,
            preference: decision.preference,
            assigned: record.assigned,
            started: record.started,
            end: end.map(|end| (end.at, end.outcome)),
            counted: end.is_some_and(|end| end.counted),
            failure: end.and_then(|end| end.failure.as_ref()).map(Cow::Borrowed),
            usage: end.and_then(|end| end.usage),
            overlap_possible: record.overlap_possible,
            stop: (record.stop)
                .map(|stop| (stop.reason, [stop.asked, stop.signalled, stop.killed, stop.over])),
            children: record.children,
        }
    }

    fn into_record(self) -> AttemptRecord {
        let (counted, usage) = (self.counted, self.usage);
        let failure = self.failure.map(Cow::into_owned);
        AttemptRecord {
            attempt: self.attempt,
            agent: self.agent,
            incarnation: self.incarnation,
            decision: Decision {
                rule: self.rule,
                candidates: self.candidates.into_owned(),
                candidates_total: self.of,
                excluded: self.excluded.into_owned(),
                relaxed: self.relaxed,
                waited_ms: self.waited_ms,
                preference: self.preference,
            },
            assigned: self.assigned,
            started: self.started,
            end: self.end.map(|(at, outcome)| AttemptEnded {
                at,
                outcome,
                counted,
                failure,
                usage,
            }),
            overlap_possible: self.overlap_possible,
            stop: self.stop.map(|(reason, [asked, signalled, killed, over])| Stop {
                reason,
                asked,
                signalled,
                killed,
                over,
            }),
            children: self.children,
        }
    }
}
