//! What can happen in a storm.

use proptest::prelude::*;

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Happens {
    Submit { kind: u8, priority: u8, preferred: u8, timeout: u8 },
    Cancel { task: u8 },
    Started { agent: u8 },
    Signalled { agent: u8 },
    OutOfPatience { agent: u8 },
    Ended { agent: u8, report: u8 },
    Complete { task: u8, attempt: u8, report: u8, jitter: u8 },
    CompleteRun { agent: u8, report: u8, jitter: u8 },
    Forged { agent: u8, task: u8, attempt: u8, life: u8 },
    Spawn { agent: u8, kind: u8, types: u8 },
    Ready { agent: u8, life: u8 },
    Lost { agent: u8 },
    ActorGone { agent: u8 },
    TreeGone { agent: u8 },
    Silent { agent: u8 },
    Overdue { agent: u8 },
    Stuck { agent: u8 },
    Fail { agent: u8 },
    Recover { agent: u8 },
    GivenUp { agent: u8 },
    Restart { agent: u8, ready: u8 },
    Remove { agent: u8, drain: u8 },
    Heartbeat { agent: u8, life: u8 },
    Fetch { agent: u8 },
    CallOpened { agent: u8 },
    CallClosed { agent: u8 },
    Gate { gate: u8, open: u8 },
    OrderGate { gate: u8, mode: u8 },
    DependencyDown { agent: u8 },
    Pass { tenths: u8 },
    PassLong { seconds: u8 },
    StandStill { tenths: u8 },
    ClosePool { drain: u8, discard: u8 },
    SubmitKeyed { key: u8, content: u8 },
    Retry { task: u8 },
    RetryAll { cancelled: u8 },
    Crash { seconds: u8, overlap: u8, lives: u8 },
    CrashBeforeCommit { turns: u8 },
    StopAndStart { lives: u8, kills: u8 },
    TurnClock { seconds: u8 },
    Target { agents: u8 },
    Child { agent: u8, how: u8, preferred: u8 },
    ChildOf { task: u8, how: u8 },
}

impl Happens {
    fn of((what, a, b, c, d): (u8, u8, u8, u8, u8)) -> Self {
        match what {
            0..24 => Self::Submit { kind: a, priority: b, preferred: c, timeout: d },
            24..30 => Self::Cancel { task: a },
            30..38 => Self::Started { agent: a },
            38..52 => Self::Ended { agent: a, report: b },
            52..56 => Self::Complete { task: a, attempt: b, report: c, jitter: d },
            56..68 => Self::CompleteRun { agent: a, report: b, jitter: d },
            68..72 => Self::Forged { agent: a, task: b, attempt: c, life: d },
            72..84 => Self::Spawn { agent: a, kind: b, types: c },
            84..87 => Self::Ready { agent: a, life: b },
            87..93 => Self::Lost { agent: a },
            93..97 => Self::ActorGone { agent: a },
            97..101 => Self::TreeGone { agent: a },
            101..104 => Self::Silent { agent: a },
            104..106 => Self::Stuck { agent: a },
            106..112 => Self::Fail { agent: a },
            112..116 => Self::Recover { agent: a },
            116..118 => Self::GivenUp { agent: a },
            118..128 => Self::Restart { agent: a, ready: b },
            128..134 => Self::Remove { agent: a, drain: b },
            134..142 => Self::Heartbeat { agent: a, life: b },
            142..152 => Self::Fetch { agent: a },
            152..155 => Self::CallOpened { agent: a },
            155..159 => Self::CallClosed { agent: a },
            159..164 => Self::Gate { gate: a, open: b },
            164..176 => Self::Pass { tenths: a },
            176..182 => Self::PassLong { seconds: a },
            182..184 => Self::StandStill { tenths: a },
            184..186 => Self::ClosePool { drain: a, discard: b },
            186..192 => Self::SubmitKeyed { key: a, content: b },
            192..198 => Self::Retry { task: a },
            198..200 => Self::RetryAll { cancelled: a },
            200..205 => Self::Crash { seconds: a, overlap: b, lives: c },
            205..209 => Self::CrashBeforeCommit { turns: a },
            209..212 => Self::StopAndStart { lives: a, kills: b },
            212..214 => Self::TurnClock { seconds: a },
            214..215 => Self::Target { agents: a },
            215..233 => Self::Child { agent: a, how: b, preferred: c },
            233..235 => Self::ChildOf { task: a, how: b },
            235..241 => Self::Gate { gate: a, open: b },
            241..246 => Self::OrderGate { gate: a, mode: b },
            246..249 => Self::DependencyDown { agent: a },
            249..251 => Self::Signalled { agent: a },
            251..253 => Self::Overdue { agent: a },
            _ => Self::OutOfPatience { agent: a },
        }
    }
}

pub(super) fn any_event() -> impl Strategy<Value = Happens> {
    (0..255u8, any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(Happens::of)
}

/// The same with few sorts of events, so that backlogs come together and are caught up with.
pub(super) fn any_event_of_gates() -> impl Strategy<Value = Happens> {
    let what = prop_oneof![
        30 => Just(0u8),    // a submit
        4 => Just(24),      // a cancel
        6 => Just(30),      // a start
        20 => Just(38),     // an end
        8 => Just(56),      // one of an external agent
        8 => Just(72),      // an agent more
        3 => Just(87),      // an agent is lost
        3 => Just(118),     // and begun again
        16 => Just(235),    // a gate
        6 => Just(241),     // by order
        4 => Just(247),     // a dependency is down
        8 => Just(164),     // time passes
        1 => Just(176),     // much of it
        2 => Just(192),     // a retry
        1 => Just(198),     // of all
        1 => Just(200),     // a crash
        1 => Just(209),     // a stop
    ];
    (what, any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>()).prop_map(Happens::of)
}
