//! What tests of several actors use.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use uuid::Uuid;

use super::clock::Clock;
use crate::domain::{
    AgentId, AgentKind, AgentStats, AgentStatus, AgentView, ContextIds, Incarnation, ProcessFacts,
    TaskTypes,
};
use crate::worker::proc;

/// An idle agent without a process; its ids are nobody else's.
pub(super) fn agent(number: u32) -> AgentView {
    let own = |offset| Uuid::from_u128(u128::from(number) * 10 + offset);
    AgentView {
        id: AgentId::from_uuid(own(0)),
        kind: AgentKind::Process,
        incarnation: Incarnation::FIRST,
        ids: ContextIds {
            context_window_id: own(1),
            tool_session_id: own(2),
            memory_handle_id: own(3),
        },
        status: AgentStatus::Idle,
        reason: None,
        run: None,
        leaving: false,
        types: TaskTypes::ALL,
        process: None,
        stats: AgentStats::default(),
    }
}

/// Asks again and again until it is so, and gives up when that takes far too long.
pub(super) fn until(mut is_so: impl FnMut() -> bool) {
    let clock = Clock::start();
    let began_us = clock.mono_us();
    while !is_so() {
        assert!(clock.mono_us() - began_us < 30_000_000, "waited in vain");
        std::thread::yield_now();
    }
}

/// A shell in place of a launcher, with one child in place of a worker. It ends when it is dropped.
pub(super) struct Tree(Child);

impl Tree {
    /// The child runs this script.
    pub(super) fn with(number: u32, script: &str) -> (Self, AgentView) {
        let script = format!("({script}) & echo $!; read wait");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut launcher = command.process_group(0).spawn().unwrap();
        let mut pid = String::new();
        BufReader::new(launcher.stdout.as_mut().unwrap()).read_line(&mut pid).unwrap();
        let mut view = agent(number);
        view.process = Some(ProcessFacts {
            pid: pid.trim().parse().unwrap(),
            launcher_pid: launcher.id(),
            launcher_start_ticks: proc::start_ticks(launcher.id()).unwrap(),
            workdir: String::new(),
            confinement: None,
        });
        (Self(launcher), view)
    }

    pub(super) fn launcher(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        for pid in proc::descendants(self.0.id()) {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            let _it_may_have_ended = nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL);
        }
        let _it_may_have_ended = self.0.kill();
        let _it_may_have_ended = self.0.wait();
    }
}
