//! The frames of the canary: idle agents hide a secret each, and look for those of the others.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::{MAX_CODE_BYTES, cut};

/// What every secret begins with; the run and a random part follow.
pub const CANARY_PREFIX: &str = "daedalus-canary-";

/// The feature that a worker names in `hello` when it understands these frames.
const FEATURE: &str = "canary";

/// How many ways a worker may name.
const MAX_WAYS: usize = 64;

/// The longest text that says where something was.
const MAX_PLACE_BYTES: usize = 512;

/// How many finds of one look are read.
const MAX_FINDS: usize = 4_096;

/// What a worker says about a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanaryNews {
    /// Which run of the check.
    pub run: Uuid,
    /// What was done.
    pub done: CanaryDone,
}

/// What a worker did about a canary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CanaryDone {
    /// It hid its secret.
    Planted(Planted),
    /// It looked for the secrets of others.
    Found(Found),
    /// Nothing of its secret is left in it.
    Cleared,
    /// It is at a task, and did nothing.
    Busy,
}

/// Where a worker hid its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Planted {
    /// In which ways.
    pub ways: Vec<String>,
    /// The loopback port at which it hands the secret out.
    #[serde(default)]
    pub port: Option<u16>,
    /// The name of the abstract Unix socket at which it does.
    #[serde(default)]
    pub socket: Option<String>,
}

/// What a worker found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Found {
    /// The ways that it went to their end, those included that are closed to it.
    pub tried: Vec<String>,
    /// Secrets of this run that are not its own.
    #[serde(default)]
    pub found: Vec<Find>,
}

/// One secret of another agent.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Find {
    /// The secret.
    pub token: String,
    /// How it was come by.
    pub way: String,
    /// Where it was.
    #[serde(rename = "where", default)]
    pub place: String,
}

/// Where the others are, so that a look is as strong as it can be. Never what they hide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hints {
    /// Their processes.
    pub pids: Vec<u32>,
    /// Their working directories.
    pub workdirs: Vec<String>,
    /// The loopback ports at which they hand their secrets out.
    pub ports: Vec<u16>,
    /// The names of the abstract Unix sockets at which they do.
    pub sockets: Vec<String>,
}

#[derive(Deserialize)]
struct OfRun {
    run: Uuid,
}

/// Reads a frame of this kind; `None`: it is of another.
pub(super) fn read(kind: &str, line: &[u8]) -> serde_json::Result<Option<CanaryNews>> {
    let done = match kind {
        "canary_planted" => CanaryDone::Planted(serde_json::from_slice::<Planted>(line)?.cut()),
        "canary_found" => CanaryDone::Found(serde_json::from_slice::<Found>(line)?.cut()),
        "canary_cleared" => CanaryDone::Cleared,
        "canary_busy" => CanaryDone::Busy,
        _ => return Ok(None),
    };
    let OfRun { run } = serde_json::from_slice(line)?;
    Ok(Some(CanaryNews { run, done }))
}

/// Whether the `features` of a `hello` name this one; whatever else they may be, they do not.
pub(super) fn is_named_in(features: Option<&RawValue>) -> bool {
    let features = features.map(|raw| serde_json::from_str::<Vec<&str>>(raw.get()));
    matches!(features, Some(Ok(names)) if names.contains(&FEATURE))
}

impl Planted {
    fn cut(self) -> Self {
        let socket = self.socket.filter(|name| (1..=MAX_CODE_BYTES).contains(&name.len()));
        Self { ways: ways(self.ways), socket, ..self }
    }
}

impl Found {
    fn cut(mut self) -> Self {
        self.found.truncate(MAX_FINDS);
        for find in &mut self.found {
            find.way = cut(std::mem::take(&mut find.way), MAX_CODE_BYTES);
            find.place = cut(std::mem::take(&mut find.place), MAX_PLACE_BYTES);
        }
        Self { tried: ways(self.tried), found: self.found }
    }
}

fn ways(mut ways: Vec<String>) -> Vec<String> {
    ways.truncate(MAX_WAYS);
    ways.into_iter().map(|way| cut(way, MAX_CODE_BYTES)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{FromWorker, ToWorker, parse};
    use super::*;

    fn news(frame: &serde_json::Value) -> CanaryDone {
        match parse(frame.to_string().as_bytes()) {
            Ok(FromWorker::Canary(CanaryNews { run, done })) if run == Uuid::nil() => done,
            other => panic!("{frame} was read as {other:?}"),
        }
    }

    #[test]
    fn what_a_worker_says_of_a_canary_is_understood() {
        let run = Uuid::nil();
        let planted = json!({"type": "canary_planted", "run": run, "ways": ["file"], "port": 7});
        let expected = Planted { ways: vec!["file".into()], port: Some(7), socket: None };
        assert_eq!(news(&planted), CanaryDone::Planted(expected));
        let found = json!({"type": "canary_found", "run": run, "tried": ["files"],
            "found": [{"token": "t", "way": "files", "where": "/x"}]});
        let find = Find { token: "t".into(), way: "files".into(), place: "/x".into() };
        let expected = Found { tried: vec!["files".into()], found: vec![find] };
        assert_eq!(news(&found), CanaryDone::Found(expected));
        let cleared = json!({"type": "canary_cleared", "run": run});
        assert_eq!(news(&cleared), CanaryDone::Cleared);
        assert_eq!(news(&json!({"type": "canary_busy", "run": run})), CanaryDone::Busy);
    }

    #[test]
    fn a_worker_cannot_fill_an_answer_or_the_log() {
        let (long, many) = ("x".repeat(10_000), vec!["way"; 1_000]);
        let find = json!({"token": "t", "way": long, "where": long});
        let found = json!({"type": "canary_found", "run": Uuid::nil(), "tried": many,
            "found": vec![find; 5_000]});
        let CanaryDone::Found(Found { tried, found }) = news(&found) else { panic!() };
        assert_eq!((tried.len(), found.len()), (MAX_WAYS, MAX_FINDS));
        assert!(found[0].way.len() <= MAX_CODE_BYTES, "{}", found[0].way.len());
        assert!(found[0].place.len() <= MAX_PLACE_BYTES, "{}", found[0].place.len());
        let planted =
            json!({"type": "canary_planted", "run": Uuid::nil(), "ways": [], "socket": long});
        assert_eq!(news(&planted), CanaryDone::Planted(Planted::default()));
    }

    #[test]
    fn a_frame_without_its_run_is_broken() {
        for kind in ["canary_cleared", "canary_busy", "canary_planted", "canary_found"] {
            let frame = json!({"type": kind, "ways": [], "tried": []});
            assert!(parse(frame.to_string().as_bytes()).is_err(), "{kind}");
        }
    }

    #[test]
    fn the_feature_counts_only_where_it_is_named() {
        let named = |features: serde_json::Value| {
            let hello = json!({"type": "hello", "proto": [1, 1], "features": features});
            parse(hello.to_string().as_bytes()).unwrap()
        };
        let hello = |canary| FromWorker::Hello { proto: [1, 1], canary };
        assert_eq!(named(json!(["later", "canary"])), hello(true));
        for other in
            [json!([]), json!(["later"]), json!("canary"), json!({"canary": 1}), json!(null)]
        {
            assert_eq!(named(other), hello(false));
        }
    }

    #[test]
    fn what_a_worker_is_told_is_flat() {
        let told = |frame: &ToWorker<'_>| {
            serde_json::from_slice::<serde_json::Value>(&frame.encode()).unwrap()
        };
        let run = Uuid::nil();
        assert_eq!(
            told(&ToWorker::CanaryPlant { run, secret: "s" }),
            json!({"type": "canary_plant", "run": run, "secret": "s"})
        );
        let hints = Hints {
            pids: vec![7],
            workdirs: vec!["/w".into()],
            ports: vec![8],
            sockets: vec!["n".into()],
        };
        assert_eq!(
            told(&ToWorker::CanaryLook { run, hints: &hints }),
            json!({"type": "canary_look", "run": run, "pids": [7], "workdirs": ["/w"],
                "ports": [8], "sockets": ["n"]})
        );
        let clear = told(&ToWorker::CanaryClear { run });
        assert_eq!(clear, json!({"type": "canary_clear", "run": run}));
    }
}
