"""A worker that writes down what it runs: a file per task, a line per start and end."""
import json, os, sys, threading, time

lock, seq, me = threading.Lock(), 0, {}

def say(kind, **fields):
    global seq
    with lock:
        seq += 1
        os.write(1, (json.dumps({"type": kind, "seq": seq, **fields}) + "\n").encode())

def beat(every_s):
    while True:
        time.sleep(every_s)
        say("heartbeat")

def born(pid):
    """When a living process began, in ticks; None when it is not alive."""
    try:
        fields = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])

def write(path, **line):
    # One write in append mode. Only processes are killed, never the machine: no fsync is needed.
    file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.write(file, (json.dumps({**line, **me, "at": time.monotonic_ns()}) + "\n").encode())
    os.close(file)

def work(frame):
    path = os.path.join(os.environ["RUNS"], frame["task_id"])
    earlier = [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    ended = {run["attempt"] for run in earlier if run["what"] == "end"}
    alive = [run["pid"] for run in earlier
             if run["attempt"] not in ended and born(run["pid"]) == run["ticks"]]
    run = {"task": frame["task_id"], "attempt": frame["attempt"], "token": frame["payload"]["token"]}
    write(path, what="start", alive=alive, **run)
    lease = {"task_id": run["task"], "attempt": run["attempt"]}
    say("started", **lease)
    time.sleep(frame["payload"]["work_ms"] / 1000)
    write(path, what="end", **run)
    fate = frame["payload"]["fate"]
    at_first = fate == "fails at first" and run["attempt"] == 1
    if fate == "fails" or at_first:
        say("error", **lease, code="fated", message="as wanted", retryable=at_first)
    else:
        say("result", **lease, output={"token": run["token"], "attempt": run["attempt"], "pid": me["pid"]})

say("hello", proto=[1, 1], pid=os.getpid())
for line in sys.stdin:
    frame = json.loads(line)
    if frame["type"] == "init":
        me = {"pid": os.getpid(), "ticks": born(os.getpid()), "agent": frame["agent_id"],
              "incarnation": frame["incarnation"]}
        threading.Thread(target=beat, args=[frame["heartbeat_s"]], daemon=True).start()
        say("ready")
    elif frame["type"] == "task":
        work(frame)
    elif frame["type"] == "shutdown":
        say("bye")
        break
