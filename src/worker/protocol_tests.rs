use super::*;
use serde_json::json;
use uuid::Uuid;

const TASK: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn task_id() -> TaskId {
    TaskId::parse(TASK).unwrap()
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
            FromWorker::Hello { proto: [1, 2], pid: 7 },
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
            FromWorker::ModelCall(ModelCall {
                task_id: task,
                ms: 1.5,
                input_tokens: 4,
                output_tokens: 0,
                error: None,
            }),
        ),
        (
            json!({"type": "step", "task_id": TASK, "step": 2, "kind": "action", "is_final": true}),
            FromWorker::Step(Step {
                task_id: task,
                step: 2,
                kind: "action".into(),
                is_final: true,
            }),
        ),
        (
            json!({"type": "log", "text": "t"}),
            FromWorker::Log(Log { task_id: None, level: String::new(), text: "t".into() }),
        ),
        (json!({"type": "heartbeat"}), FromWorker::Heartbeat(Heartbeat::default())),
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
    let call = json!({"type": "tool_call", "task_id": TASK, "call_id": "c", "name": "n", "args": {"a": 1}});
    let Ok(FromWorker::ToolCall(call)) = read(&call) else { panic!("no tool call") };
    assert_eq!(call.args.unwrap().as_str(), r#"{"a":1}"#);
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
    assert!(read(&json!({"type": "hello", "proto": [1, 1]})).is_err());
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
    assert!(bare.get("type").is_none(), "external agents get it without a type");
}
