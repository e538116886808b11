//! Calls that are written into the history with their answers.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::history::{
    AgentSight, Completed, History, Moved, Pool, Run, Said, Shows, Sight, Span, Submit, Walk,
};
use super::os::{Patience, now, pause};
use super::site::Line;

/// What everybody shares who calls the daemons of one site.
#[derive(Debug)]
pub(crate) struct World {
    line: Arc<Line>,
    begun: Instant,
    history: Mutex<History>,
    /// Every acknowledged task, some twice.
    ids: Mutex<Vec<String>>,
    /// Nobody shall begin something new.
    closing: AtomicBool,
}

impl World {
    pub(crate) fn new(line: Arc<Line>) -> Self {
        Self {
            line,
            begun: now(),
            history: Mutex::default(),
            ids: Mutex::default(),
            closing: AtomicBool::new(false),
        }
    }

    /// A caller with connections of its own.
    pub(crate) fn client(&self) -> Client<'_> {
        let http = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_global(Some(Duration::from_secs(40)))
            .build()
            .new_agent();
        Client { world: self, http }
    }

    pub(crate) fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().expect("nobody panics with it")
    }

    pub(crate) fn ids(&self) -> MutexGuard<'_, Vec<String>> {
        self.ids.lock().expect("nobody panics with it")
    }

    /// Nanoseconds since the begin, later with each look.
    pub(crate) fn moment(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).expect("no test takes 500 years")
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Whether there will be no daemon any more.
    pub(crate) fn is_over(&self) -> bool {
        self.line.address().is_none()
    }

    /// Nothing new from here on; what was begun is finished.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }
}

/// Lets the callers of a world end when the test fails before it says so.
pub(crate) struct AtTheEnd<'a>(pub(crate) &'a World);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
        if std::thread::panicking() {
            self.0.line.close();
        }
    }
}

/// One who calls.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) world: &'a World,
    http: ureq::Agent,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// An answer: its status and its body (null when it has none).
pub(crate) type Answer = (u16, Value);

impl Client<'_> {
    /// One call, to a daemon that is there at last; without an answer when it went away meanwhile, or
    /// when there will be none any more.
    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> (Span, Option<Answer>) {
        let patience = Patience::new();
        while let Some(address) = self.world.line.address() {
            let begin = self.world.moment();
            match self.try_call(&address, method, path, body) {
                Ok(answer) => return (Span { begin, end: self.world.moment() }, Some(answer)),
                // Nobody was asked.
                Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    patience.must_hold(&format!("somebody listens at {address}"));
                    pause();
                }
                Err(_) => {
                    pause();
                    return (Span { begin, end: u64::MAX }, None);
                }
            }
        }
        (Span { begin: self.world.moment(), end: u64::MAX }, None)
    }

    /// One call to a daemon that may be gone, which is not written down.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Answer> {
        let address = self.world.line.address()?;
        self.try_call(&address, method, path, body).ok()
    }

    fn try_call(
        &self,
        address: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, ureq::Error> {
        let uri = format!("http://{address}{path}");
        let request = ureq::http::Request::builder().method(method).uri(uri);
        let mut answer = match body {
            Some(body) => self
                .http
                .run(request.header("Content-Type", "application/json").body(body.to_string())?)?,
            None => self.http.run(request.body(())?)?,
        };
        let text = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null)))
    }

    /// A call that must be answered with 200.
    pub(crate) fn ok(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let (_, answer) = self.call(method, path, body);
        let (status, body) = answer.unwrap_or_else(|| panic!("{method} {path}: no answer"));
        assert_eq!(status, 200, "{method} {path}: {body}");
        body
    }

    /// Submits until it is clear what became of it: `Unknown` only without a key, or when there
    /// is no daemon any more. Gives the task when it was accepted.
    pub(crate) fn submit(&self, token: &str, has_key: bool, payload: &Value) -> Option<String> {
        let mut body = json!({ "payload": payload });
        if has_key {
            body["idempotency_key"] = token.into();
        }
        let mut patience = Patience::new();
        loop {
            let (span, answer) = self.call("POST", "/tasks", Some(&body));
            let said = match &answer {
                None => Said::Unknown,
                Some((200, body)) => {
                    Said::Accepted(body["task_id"].as_str().expect("an id").to_owned())
                }
                // These two may come after it took effect.
                Some((503, body)) if body["code"] == "unavailable" => Said::Unknown,
                Some((504, _)) => Said::Unknown,
                Some((429 | 503, _)) => Said::Refused,
                Some(other) => panic!("a submit was answered with {other:?}"),
            };
            if let (Said::Accepted(task), Some((_, body))) = (&said, &answer) {
                self.saw(Sight::word(span, task, body["status"].as_str()));
                self.world.ids().push(task.clone());
            }
            let (token, payload) = (token.to_owned(), payload.clone());
            let submit = Submit { span, token, payload, has_key, said: said.clone() };
            self.world.history().submits.push(submit);
            match said {
                Said::Accepted(task) => return Some(task),
                Said::Refused if self.world.is_closing() => return None,
                Said::Refused => {
                    pause();
                    patience = Patience::new();
                }
                Said::Unknown if has_key && !self.world.is_over() => {
                    patience.must_hold("it is clear what became of a submit");
                }
                Said::Unknown => return None,
            }
        }
    }

    fn saw(&self, sight: Sight) {
        self.world.history().sights.push(sight);
    }

    /// Reads a task; `None` without an answer, or when there is no such task.
    pub(crate) fn read(&self, task: &str, wait_s: u64) -> Option<Value> {
        let (span, answer) = self.call("GET", &format!("/tasks/{task}?wait_s={wait_s}"), None);
        match answer? {
            (200, body) => {
                self.saw(Sight::of(span, Shows::Whole, &body));
                Some(body)
            }
            (404, _) => {
                self.saw(Sight::nothing(span, task));
                None
            }
            (503 | 504, _) => None,
            other => panic!("a read was answered with {other:?}"),
        }
    }

    /// Walks through the list, over at most so many pages; whether there was an answer each time.
    pub(crate) fn walk(
        &self,
        status: Option<&str>,
        limit: u64,
        pages: usize,
    ) -> Option<Vec<String>> {
        let begin = self.world.moment();
        let mut ids = Vec::new();
        let mut cursor = None;
        let mut whole = false;
        for _ in 0..pages {
            let mut path = format!("/tasks?limit={limit}");
            if let Some(status) = status {
                path += &format!("&status={status}");
            }
            if let Some(cursor) = &cursor {
                path += &format!("&cursor={cursor}");
            }
            let (span, answer) = self.call("GET", &path, None);
            let (200, page) = answer? else { return None };
            for task in page["tasks"].as_array().expect("a list") {
                let sight = Sight::of(span, Shows::Row, task);
                if let Some(wanted) = status {
                    assert_eq!(sight.status.as_deref(), Some(wanted), "asked for {path}: {task}");
                }
                ids.push(sight.task.clone());
                self.saw(sight);
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                whole = true;
                break;
            }
        }
        let span = Span { begin, end: self.world.moment() };
        let walk = Walk { span, status: status.map(str::to_owned), ids: ids.clone(), whole };
        self.world.history().walks.push(walk);
        Some(ids)
    }

    /// Calls a task off.
    pub(crate) fn cancel(&self, task: &str) {
        let (span, answer) = self.call("POST", &format!("/tasks/{task}/cancel"), None);
        match answer {
            Some((200, body)) => {
                assert_eq!(body["status"], "cancelled", "{body}");
                self.saw(Sight::word(span, task, Some("cancelled")));
            }
            Some((409, body)) => self.saw_conflict(span, task, &body),
            Some((503 | 504, _)) | None => {}
            Some(other) => panic!("a cancel was answered with {other:?}"),
        }
    }

    /// What a 409 says of the task.
    fn saw_conflict(&self, span: Span, task: &str, body: &Value) {
        let mut sight = Sight::word(span, task, body["task_status"].as_str());
        if let Some(newest) = body["newest_attempt"].as_u64() {
            sight = sight.with_attempt(newest);
        }
        if body["task_status"] == "completed" {
            let by = body["finished_by_attempt"].clone();
            sight = sight.and(0, "finished_by", by);
        }
        self.saw(sight);
    }

    /// Looks at every agent; their ids.
    pub(crate) fn agents(&self) -> Option<Vec<Value>> {
        let (span, answer) = self.call("GET", "/agents", None);
        let (200, body) = answer? else { return None };
        let agents: Vec<Value> =
            body.as_array().expect("a list").iter().map(|one| one["agent"].clone()).collect();
        let sights = agents.iter().map(|agent| AgentSight {
            span,
            agent: agent["agent_id"].as_str().expect("an id").to_owned(),
            incarnation: agent["incarnation"].as_u64().expect("a number"),
            context: agent["context_window_id"].as_str().expect("an id").to_owned(),
        });
        let ids = agents.iter().map(|agent| text(&agent["agent_id"])).collect();
        let mut history = self.world.history();
        history.agents.extend(sights);
        history.pools.push(Pool { span, agents: ids });
        drop(history);
        Some(agents)
    }

    /// Adds an agent to the pool; its id, when it was told.
    pub(crate) fn spawn(&self, body: Option<&Value>) -> Option<String> {
        let (span, answer) = self.call("POST", "/agents", body);
        let (200, body) = answer? else { return None };
        let agent = text(&body["agent_id"]);
        self.world.history().spawned.push(Moved { span, agent: agent.clone() });
        Some(agent)
    }

    /// Removes an agent from the pool.
    pub(crate) fn remove(&self, agent: &str) {
        let (mut span, answer) = self.call("DELETE", &format!("/agents/{agent}"), None);
        let said = answer.map(|(status, _)| status);
        if !matches!(said, Some(200 | 404)) {
            // It may have taken effect, or may yet.
            span.end = u64::MAX;
        }
        self.world.history().removed.push(Moved { span, agent: agent.to_owned() });
    }

    /// Fetches work for an external agent.
    pub(crate) fn fetch(&self, agent: &str) -> Option<Value> {
        let (span, answer) =
            self.call("GET", &format!("/agents/{agent}/assignment?wait_s=1"), None);
        let (200, work) = answer? else { return None };
        let task = work["task_id"].as_str().expect("an id");
        let attempt = work["attempt"].as_u64().expect("a number");
        self.saw(
            Sight::word(span, task, None)
                .and(attempt, "agent_id", agent.into())
                .and(attempt, "incarnation", work["incarnation"].clone())
                .and(0, "payload", work["payload"].clone()),
        );
        Some(work)
    }

    /// Ends what was fetched as its payload wants, until it is clear what became of it; the last
    /// answer.
    pub(crate) fn complete(&self, run: &Run, fate: &Value) -> Option<Answer> {
        let (task, attempt) = (&run.task, run.attempt);
        let result = json!({"token": run.token, "attempt": attempt, "pid": run.pid});
        let at_first = fate == "fails at first" && attempt == 1;
        let fails = fate == "fails" || at_first;
        let body = if fails {
            json!({"error": {"code": "fated", "message": "as wanted", "retryable": at_first}})
        } else {
            json!({ "result": result })
        };
        let path = format!("/tasks/{task}/complete?attempt={attempt}&success={}", !fails);
        let patience = Patience::new();
        loop {
            patience.must_hold("it is clear what became of a result");
            let (span, answer) = self.call("POST", &path, Some(&body));
            match &answer {
                Some((200, body)) if fails => {
                    let status = body["status"].as_str();
                    self.saw(Sight::word(span, task, status).with_attempt(attempt));
                    return answer;
                }
                Some((200, body)) => {
                    assert_eq!(body["status"], "completed", "{body}");
                    let sight = Sight::word(span, task, Some("completed"))
                        .and(0, "finished_by", attempt.into())
                        .and(0, "result", result)
                        .with_attempt(attempt);
                    self.saw(sight);
                    let completed = Completed { task: task.clone(), attempt };
                    self.world.history().completed.push(completed);
                    return answer;
                }
                Some((409, body)) => {
                    self.saw_conflict(span, task, body);
                    return answer;
                }
                Some((503 | 504, _)) => pause(),
                Some(other) => panic!("a result was answered with {other:?}"),
                None if self.world.is_over() => return None,
                None => {}
            }
        }
    }
}
