use super::*;
use serde_json::json;
use uuid::Uuid;

const TASK: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn task_id() -> TaskId {
    TaskId::parse(TASK).unwrap()
}

fn as_json(text: &str) -> Json {
    serde_json::from_str(text).unwrap()
}

fn read(frame: &serde_json::Value) -> Result<FromWorker, FrameError> {
    parse(frame.to_string().as_bytes())
}

fn ended(frame: &serde_json::Value) -> Report {
    match read(frame) {
        Ok(FromWorker::Ended { task_id: id, attempt, report }) => {
            assert_eq!((id, attempt), (task_id(), Attempt::new(3)));
            report
        }
        other => panic!("{frame} was read as {other:?}"),
    }
}

#[test]
fn every_frame_of_a_worker_is_understood() {
    let task = task_id();
    let cases = [
        (
            json!({"type": "hello", "proto": [1, 2], "pid": 7, "python": "3.11"}),
            FromWorker::Hello { proto: [1, 2], canary: false },
        ),
        (json!({"type": "ready", "seq": 2, "ts": 1.5, "agent_id": "a"}), FromWorker::Ready),
        (
            json!({"type": "init_error", "message": "m"}),
            FromWorker::InitError { message: "m".into() },
        ),
        (
            json!({"type": "started", "task_id": TASK, "attempt": 3}),
            FromWorker::Started { task_id: task, attempt: Attempt::new(3) },
        ),
        (
            json!({"type": "model_call", "task_id": TASK, "ms": 1.5, "input_tokens": 4, "error": null}),
            FromWorker::ModelCall(About { task_id: task }),
        ),
        (
            json!({"type": "step", "task_id": TASK, "step": 2, "kind": "action", "is_final": true}),
            FromWorker::Step(About { task_id: task }),
        ),
        (
            json!({"type": "log", "text": "t"}),
            FromWorker::Log(Log { level: String::new(), text: "t".into() }),
        ),
        (json!({"type": "heartbeat"}), FromWorker::Heartbeat(Heartbeat::default())),
        (
            json!({"type": "heartbeat", "task_id": TASK, "phase": "tool:x", "phase_s": 1.5, "step": 2}),
            FromWorker::Heartbeat(Heartbeat {
                task_id: Some(task),
                phase: Some(Phase {
                    name: "tool:x".into(),
                    lasts: Some(Duration::from_millis(1_500)),
                }),
            }),
        ),
        (
            json!({"type": "tool_call", "task_id": TASK, "call_id": "c", "name": "n"}),
            FromWorker::ToolCall(ToolCall {
                task_id: task,
                call_id: as_json("\"c\""),
                name: "n".into(),
                args: None,
            }),
        ),
        (
            json!({"type": "tool_call", "task_id": TASK, "call_id": 7, "name": "n", "args": {"a": 1}}),
            FromWorker::ToolCall(ToolCall {
                task_id: task,
                call_id: as_json("7"),
                name: "n".into(),
                args: Some(as_json("{\"a\":1}")),
            }),
        ),
        (json!({"type": "cancel_ignored"}), FromWorker::CancelIgnored),
        (json!({"type": "pong", "nonce": 1}), FromWorker::Pong),
        (json!({"type": "fatal", "message": "m"}), FromWorker::Fatal { message: "m".into() }),
        (json!({"type": "bye"}), FromWorker::Bye),
        (json!({"type": "from_the_future", "task_id": 5}), FromWorker::Unknown),
        (json!({"type": "escaped\u{1f}\"type"}), FromWorker::Unknown),
    ];
    for (frame, expected) in cases {
        assert_eq!(read(&frame).unwrap(), expected, "{frame}");
    }
}

#[test]
fn what_nobody_reads_cannot_be_wrong() {
    let about = About { task_id: task_id() };
    let hello = || FromWorker::Hello { proto: [1, 1], canary: false };
    let cases = [
        (json!({"type": "hello", "proto": [1, 1], "pid": -1}), hello()),
        (json!({"type": "hello", "proto": [1, 1]}), hello()),
        (
            json!({"type": "heartbeat", "task_id": "x", "step": -1, "phase": null, "rss_kb": 1.5}),
            FromWorker::Heartbeat(Heartbeat::default()),
        ),
        (
            json!({"type": "model_call", "task_id": TASK, "ms": null, "input_tokens": -1, "error": {}}),
            FromWorker::ModelCall(about),
        ),
        (
            json!({"type": "step", "task_id": TASK, "step": "x", "kind": null, "is_final": 1}),
            FromWorker::Step(about),
        ),
        (
            json!({"type": "log", "task_id": 5, "level": "info", "text": "t"}),
            FromWorker::Log(Log { level: "info".into(), text: "t".into() }),
        ),
    ];
    for (frame, expected) in cases {
        assert_eq!(read(&frame).unwrap(), expected, "{frame}");
    }
    for call in [
        json!({"type": "tool_call", "task_id": TASK, "name": "n"}),
        json!({"type": "tool_call", "task_id": TASK, "call_id": 1}),
        json!({"type": "tool_call", "task_id": TASK, "call_id": 1, "name": 5}),
    ] {
        assert!(read(&call).is_err(), "nobody could answer {call}");
    }
    for kind in ["model_call", "step", "tool_call"] {
        assert!(read(&json!({"type": kind, "task_id": "x"})).is_err(), "the task is read");
    }
}

#[test]
fn what_makes_no_sense_in_a_heartbeat_is_not_there() {
    let nothing = Heartbeat { task_id: Some(task_id()), phase: None };
    let timeless = || Phase { name: "agent".into(), lasts: None };
    for phase in [json!(5), json!(["agent"]), json!({}), json!(""), json!(null), json!(true)] {
        let frame = json!({"type": "heartbeat", "task_id": TASK, "phase": phase, "phase_s": 1});
        assert_eq!(read(&frame).unwrap(), FromWorker::Heartbeat(nothing.clone()), "{frame}");
    }
    for phase_s in ["-1", "1e300", "\"5\"", "null", "[]", "{\"s\":1}"] {
        let line =
            format!(r#"{{"type":"heartbeat","task_id":5,"phase":"agent","phase_s":{phase_s}}}"#);
        let expected = Heartbeat { task_id: None, phase: Some(timeless()) };
        assert_eq!(parse(line.as_bytes()).unwrap(), FromWorker::Heartbeat(expected), "{line}");
    }
    let lonely = br#"{"type":"heartbeat","phase":"\ud800"}"#;
    assert_eq!(parse(lonely).unwrap(), FromWorker::Heartbeat(Heartbeat::default()));
    let long = json!({"type": "heartbeat", "phase": "x".repeat(1_000)});
    let FromWorker::Heartbeat(heartbeat) = read(&long).unwrap() else { panic!("a heartbeat") };
    assert_eq!(heartbeat.phase.unwrap().name.len(), MAX_CODE_BYTES);
}

#[test]
fn texts_of_a_worker_are_cut() {
    let long = "\u{e9}".repeat(500_000);
    let is_cut = |text: &str, max: usize| {
        assert!(text.ends_with("\u{e9} [cut]") && text.len() <= max && text.len() + 2 > max);
    };
    let log = json!({"type": "log", "level": long, "text": long});
    let Ok(FromWorker::Log(log)) = read(&log) else { panic!("no log") };
    for text in [&log.level, &log.text] {
        is_cut(text, MAX_LOG_LINE_BYTES);
        assert!(text.capacity() < 2 * MAX_LOG_LINE_BYTES, "a queue of these is short");
    }
    let error =
        json!({"type": "error", "task_id": TASK, "attempt": 3, "code": long, "message": long});
    let Report::Failed { error, .. } = ended(&error) else { panic!("no error") };
    is_cut(&error.code, 128);
    is_cut(&error.message, 4096);
    for kind in ["fatal", "init_error"] {
        match read(&json!({"type": kind, "message": long})) {
            Ok(FromWorker::Fatal { message } | FromWorker::InitError { message }) => {
                is_cut(&message, 4096);
            }
            other => panic!("{kind} was read as {other:?}"),
        }
    }
}

#[test]
fn a_result_that_not_every_reader_can_take_fails_the_task() {
    let of_output = |output: &str| {
        let line = format!(
            "{{\"type\":\"result\",\"task_id\":\"{TASK}\",\"attempt\":3,\"output\":{output},\
             \"usage\":{{\"steps\":2}}}}"
        );
        match parse(line.as_bytes()) {
            Ok(FromWorker::Ended { report, .. }) => report,
            other => panic!("{output} was read as {other:?}"),
        }
    };
    let used = Some(Usage { steps: 2, ..Usage::default() });
    let nested = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    for bad in [r#""\ud83d""#, r#"{"\udc00":1}"#, "[1e999]", &nested(128), &nested(200_000)] {
        let Report::Failed { error, usage } = of_output(bad) else { panic!("{bad} was taken") };
        assert_eq!((error.code.as_str(), error.retryable), ("result_not_json", false));
        let why = "the result is not JSON that every reader can take: ";
        assert!(error.message.starts_with(why) && error.message.len() < 250, "{}", error.message);
        assert_eq!(usage, used);
    }
    for good in [r#""\ud83d\ude00""#, "1e308", &nested(127)] {
        let result = Json::new(RawValue::from_string(good.to_owned()).unwrap());
        assert_eq!(of_output(good), Report::Completed { result: Some(result), usage: used });
    }
}

#[test]
fn a_terminal_frame_becomes_a_report() {
    let usage = Usage { input_tokens: 5, ..Usage::default() };
    let result = |output: serde_json::Value, usage: serde_json::Value| {
        ended(
            &json!({"type": "result", "task_id": TASK, "attempt": 3, "output": output, "usage": usage}),
        )
    };
    let report = result(json!({"a": "line\nbreak"}), json!({"input_tokens": 5, "price": 1}));
    let output = serde_json::from_str(r#"{"a":"line\nbreak"}"#).unwrap();
    assert_eq!(report, Report::Completed { result: Some(output), usage: Some(usage) });
    let report = result(json!(1), json!({"input_tokens": 4.6, "steps": -1, "model_calls": null}));
    let Report::Completed { usage: counted, .. } = report else { panic!("{report:?}") };
    assert_eq!(counted, Some(usage), "a wrong count is no reason to lose the others");
    let null = Json::new(RawValue::from_string("null".into()).unwrap());
    let report = result(json!(null), json!("nonsense"));
    assert_eq!(report, Report::Completed { result: Some(null), usage: None });
    let failed =
        json!({"type": "error", "task_id": TASK, "attempt": 3, "code": "c", "message": "m"});
    let error = TaskError { code: "c".into(), message: "m".into(), retryable: false };
    assert_eq!(ended(&failed), Report::Failed { error, usage: None });
    let cancelled = json!({"type": "cancelled", "task_id": TASK, "attempt": 3, "reason": "user"});
    assert_eq!(ended(&cancelled), Report::Cancelled { usage: None });
}

#[test]
fn what_is_no_frame_is_refused_with_a_sentence() {
    let refused: [&[u8]; 12] = [
        b"",
        b"   ",
        b"Traceback (most recent call last):",
        b"[]",
        b"\"result\"",
        b"null",
        b"{}",
        b"{\"type\":5}",
        b"{\"type\":\"ready\"",
        b"{\"type\":\"ready\"} {\"type\":\"ready\"}",
        b"{\"type\":\"ready\",\"seq\":-1}",
        b"{\"type\":\"re\xffady\"}",
    ];
    for line in refused {
        let error = parse(line).unwrap_err();
        assert!(matches!(error, FrameError::NotAFrame(_)), "{error}");
    }
}

#[test]
fn missing_fields_and_wrong_types_are_refused() {
    let whole = json!({"type": "result", "task_id": TASK, "attempt": 3, "output": 1});
    for field in ["task_id", "attempt", "output"] {
        let mut frame = whole.clone();
        frame.as_object_mut().unwrap().remove(field);
        let text = read(&frame).unwrap_err().to_string();
        assert!(text.contains(field), "{text}");
        assert!(text.starts_with("a frame of type result is not well-formed: "), "{text}");
    }
    for (field, value) in [
        ("task_id", json!("no uuid")),
        ("task_id", json!(7)),
        ("attempt", json!("3")),
        ("attempt", json!(-1)),
        ("attempt", json!(4_294_967_296_u64)),
    ] {
        let mut frame = whole.clone();
        frame[field] = value;
        assert!(read(&frame).is_err(), "{frame}");
    }
    assert!(read(&json!({"type": "hello", "proto": [1], "pid": 1})).is_err());
    assert!(read(&json!({"type": "error", "task_id": TASK, "attempt": 3, "code": "c"})).is_err());
    assert!(read(&json!({"type": "init_error"})).is_err());
}

#[test]
fn a_refusal_does_not_carry_a_whole_value_on() {
    let frame = json!({"type": "started", "task_id": "s".repeat(10_000), "attempt": 1});
    assert!(read(&frame).unwrap_err().to_string().len() < 300);
}

#[test]
fn frames_to_a_worker_are_one_line_each() {
    let payload: Json = serde_json::from_str("{\"a\":\n\"x\\ny\"\r\n}").unwrap();
    let trace_id = TraceId::parse("t-1").unwrap();
    let mut task = TaskFrame {
        task_id: task_id(),
        attempt: Attempt::new(2),
        task_type: TaskType::Ingest,
        payload: &payload,
        trace_id: &trace_id,
        timeout_s: 1.5,
        previous_failure: None,
    };
    let agent = json!({"kind": "code", "note": "a\nb"});
    let frames = [
        ToWorker::Init {
            proto: PROTO,
            agent_id: AgentId::from_uuid(Uuid::nil()),
            incarnation: Incarnation::FIRST,
            heartbeat_s: 5.0,
            max_frame_bytes: 100,
            agent: &agent,
        },
        ToWorker::Task(task.clone()),
        ToWorker::Cancel { task_id: task_id(), attempt: Attempt::new(2), reason: "user" },
        ToWorker::Ping { nonce: 9 },
        ToWorker::Shutdown { reason: "pool" },
    ];
    let lines = frames.map(|frame| String::from_utf8(frame.encode()).unwrap());
    for line in &lines {
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(line.ends_with("}\n"), "{line}");
    }
    let expected_task = format!(
        "{{\"type\":\"task\",\"task_id\":\"{TASK}\",\"attempt\":2,\"task_type\":\"ingest\",\
         \"payload\":{{\"a\": \"x\\ny\"  }},\"trace_id\":\"t-1\",\"timeout_s\":1.5}}\n"
    );
    assert_eq!(lines[1], expected_task);
    assert_eq!(lines[3], "{\"type\":\"ping\",\"nonce\":9}\n");

    task.previous_failure = Some("it crashed");
    let bare: serde_json::Value = serde_json::to_value(&task).unwrap();
    assert_eq!(bare["previous_failure"], "it crashed");
}
