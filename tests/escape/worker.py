"""A worker that tries to get out: it plants what others must not reach, and reaches for what they planted."""
import ctypes, errno, fcntl, json, mmap, os, resource, signal, socket, stat, struct, sys, termios, threading, time

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
libc.mmap.restype = ctypes.c_void_p
lock, seq = threading.Lock(), 0
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL, PR_GET_NO_NEW_PRIVS = 0x4206, 0x4207, 17, 0x40000000, 39
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD, IPC_RMID = 434, 438, 0
kept = []  # What was planted lives as long as this process.


def say(kind, **fields):
    global seq
    with lock:
        seq += 1
        os.write(1, (json.dumps({"type": kind, "seq": seq, **fields}) + "\n").encode())


def beat(every_s):
    while True:
        time.sleep(every_s)
        say("heartbeat")


def checked(result):
    if result in (-1, None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# ---- What a victim has ---------------------------------------------------------------------------


def answering(listener, secret):
    def answer():
        while True:
            if listener.type == socket.SOCK_DGRAM:
                _, caller = listener.recvfrom(64)
                listener.sendto(secret, caller)
            else:
                caller, _ = listener.accept()
                caller.sendall(secret)
                caller.close()

    if listener.type == socket.SOCK_STREAM:
        listener.listen(64)
    threading.Thread(target=answer, daemon=True).start()
    kept.append(listener)


def listening(family, type_, address, secret):
    listener = socket.socket(family, type_)
    try:
        listener.bind(address)
    except OSError as refused:
        return None, errno.errorcode[refused.errno]
    answering(listener, secret)
    return listener.getsockname(), None


def shared_memory(raw):
    """Its number; `None` where there is none to be had."""
    shm = libc.shmget(0, 4096, 0o1600)
    if shm < 0 and ctypes.get_errno() == errno.EACCES:
        return None
    ctypes.memmove(checked(libc.shmat(checked(shm), None, 0)), raw, len(raw))
    # It can be attached by its number for as long as somebody has it, and goes with this process.
    checked(libc.shmctl(shm, IPC_RMID, None))
    return shm


def plant(name):
    secret = f"secret of {name}"
    raw = secret.encode()
    here = os.getcwd()
    with open("secret.txt", "wb") as file:
        file.write(raw)
    open_only = os.open("gone.txt", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(open_only, raw)
    os.unlink("gone.txt")
    mapped = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(mapped, mmap.PAGESIZE)
    shared = mmap.mmap(mapped, mmap.PAGESIZE)
    shared[: len(raw)] = raw
    memory = ctypes.create_string_buffer(raw)
    shm = shared_memory(raw)
    posix = None
    try:
        with open(f"/dev/shm/daedalus-escape-{os.getpid()}", "wb") as file:
            file.write(raw)
        posix = file.name
    except OSError:
        pass
    kept.extend([shared, memory])
    tcp, bind_refused = listening(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0), raw)
    udp, _ = listening(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0), raw)
    abstract, _ = listening(socket.AF_UNIX, socket.SOCK_STREAM, f"\0daedalus-escape-{os.getpid()}", raw)
    listening(socket.AF_UNIX, socket.SOCK_STREAM, "socket", raw)
    return {
        "agent": name,
        "secret": secret,
        "pid": os.getpid(),
        "launcher": os.getppid(),
        "folder": here,
        "fd": open_only,
        "address": ctypes.addressof(memory),
        "shm": shm,
        "posix": posix,
        "tcp": tcp and tcp[1],
        "bind_refused": bind_refused,
        "udp": udp[1],
        "abstract": abstract[1:].decode() if isinstance(abstract, str) else bytes(abstract)[1:].decode(),
    }


def clear(pid):
    posix = f"/dev/shm/daedalus-escape-{pid}"
    if os.access(posix, os.F_OK):
        os.unlink(posix)


# ---- What an attacker tries ----------------------------------------------------------------------
# Each returns what it got; it got out when that holds the secret, or is True.


def read(path):
    with open(path, "rb") as file:
        return file.read(1 << 20)


def overwrite(path):
    with open(path, "r+b"):
        return True


def truncate(path):
    os.truncate(path, os.stat(path).st_size)
    return True


def link(path):
    mine = f"link-{time.monotonic_ns()}"
    os.link(path, mine)
    os.unlink(mine)
    return True


def through_a_link(path):
    mine = f"link-{time.monotonic_ns()}"
    os.symlink(path, mine)
    try:
        return read(mine)
    finally:
        os.unlink(mine)


def put_into(folder):
    path = os.path.join(folder, f"from-{os.getpid()}")
    open(path, "w").close()
    os.unlink(path)
    return True


def chmod(folder):
    os.chmod(folder, 0o700)
    return True


def memory_of(pid, address, length):
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        file.seek(address)
        return file.read(length)


def vm_read(pid, address, length):
    buffer = ctypes.create_string_buffer(length)
    mine = struct.pack("PN", ctypes.addressof(buffer), length)
    theirs = struct.pack("PN", address, length)
    checked(libc.process_vm_readv(pid, mine, 1, theirs, 1, 0))
    return buffer.raw


def seize(pid):
    checked(libc.ptrace(PTRACE_SEIZE, pid, None, None))
    # Only a process that stands can be let go.
    checked(libc.ptrace(PTRACE_INTERRUPT, pid, None, None))
    os.waitpid(pid, WALL)
    checked(libc.ptrace(PTRACE_DETACH, pid, None, None))
    return True


def take_descriptor(pid, number):
    pidfd = checked(libc.syscall(SYS_PIDFD_OPEN, pid, 0))
    try:
        taken = checked(libc.syscall(SYS_PIDFD_GETFD, pidfd, number, 0))
        try:
            return os.pread(taken, 100, 0)
        finally:
            os.close(taken)
    finally:
        os.close(pidfd)


def signal_to(pid):
    os.kill(pid, 0)
    return True


def limit(pid):
    # The same as it is; with a lower one the kernel would end it.
    queue = resource.RLIMIT_MSGQUEUE
    resource.prlimit(pid, queue, resource.prlimit(pid, queue))
    return True


def attach(shm):
    at = checked(libc.shmat(shm, None, 0o10000))
    return ctypes.string_at(at, 100)


def call(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as caller:
        caller.settimeout(10)
        caller.connect(address)
        return caller.recv(100) or True


def call_by_path(folder, name):
    """The whole path is longer than an address may be."""
    here = os.getcwd()
    os.chdir(folder)
    try:
        return call(socket.AF_UNIX, name)
    finally:
        os.chdir(here)


def call_only(port):
    with socket.socket() as caller:
        caller.settimeout(10)
        caller.connect(("127.0.0.1", port))
        return True


def call_by_sending(port, send):
    # Without a time-out, with which it would not wait for the connection.
    with socket.socket() as caller:
        send(caller, ("127.0.0.1", port))
        return True


def by_sendto(caller, address):
    caller.sendto(b"?", socket.MSG_FASTOPEN, address)


def by_sendmsg(caller, address):
    caller.sendmsg([b"?"], [], socket.MSG_FASTOPEN, address)


def by_sendmmsg(caller, address):
    """Python has no name for it. One message: the address, the data, and how much of it was sent."""
    host = ctypes.create_string_buffer(struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", address[1], socket.inet_aton(address[0])))
    data = ctypes.create_string_buffer(b"?")
    parts = ctypes.create_string_buffer(struct.pack("PN", ctypes.addressof(data), 1))
    message = struct.pack("PIPNPNiI4x", ctypes.addressof(host), 16, ctypes.addressof(parts), 1, 0, 0, 0, 0)
    checked(libc.sendmmsg(caller.fileno(), ctypes.create_string_buffer(message), 1, socket.MSG_FASTOPEN))


def datagram(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as caller:
        caller.settimeout(10)
        caller.sendto(b"?", ("127.0.0.1", port))
        return caller.recv(100)


def listen_on_a_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return True


def order_a_device():
    with open("/dev/null", "r+b") as null:
        try:
            fcntl.ioctl(null, termios.FIONREAD, b"\0" * 8)
        except OSError as refused:
            # The device itself does not know the order: so it was asked.
            if refused.errno != errno.ENOTTY:
                raise
    return True


def more_rights_are_possible():
    return libc.prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0


def make_a_device():
    os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.unlink("device")
    return True


def raw_socket():
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP):
        return True


def become(uid):
    """In a child, because there may be no way back."""
    child = os.fork()
    if child == 0:
        try:
            os.setuid(uid)
            os._exit(0)
        except OSError as refused:
            os._exit(refused.errno)
    refused = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if refused:
        raise OSError(refused, os.strerror(refused))
    return True


def outcome(attempt, *arguments, secret=None):
    try:
        got = attempt(*arguments)
    except (OSError, ValueError) as refused:
        return errno.errorcode.get(getattr(refused, "errno", None), str(refused))
    if got is True or (secret is not None and isinstance(got, bytes) and secret.encode() in got):
        return "reached"
    if secret is None and got:
        return "reached"
    return f"got something else: {got!r:.80}"


def attack(victim):
    folder, pid, secret = victim["folder"], victim["pid"], victim["secret"]
    file = os.path.join(folder, "secret.txt")
    length = len(secret)
    tries = {
        "read_file": (read, file),
        "read_through_a_link": (through_a_link, file),
        "read_through_proc_cwd": (read, f"/proc/{pid}/cwd/secret.txt"),
        "read_through_proc_root": (read, f"/proc/{pid}/root{file}"),
        "read_open_file": (read, f"/proc/{pid}/fd/{victim['fd']}"),
        "read_mapped_file": (read, os.path.join(folder, "mapped")),
        "read_memory": (memory_of, pid, victim["address"], length),
        "vm_read": (vm_read, pid, victim["address"], length),
        "take_descriptor": (take_descriptor, pid, victim["fd"]),
        "udp": (datagram, victim["udp"]),
        "abstract_socket": (call, socket.AF_UNIX, "\0" + victim["abstract"]),
        "path_socket": (call_by_path, folder, "socket"),
    }
    if victim["shm"] is not None:
        tries["attach_shared_memory"] = (attach, victim["shm"])
    if victim["tcp"]:
        tries["tcp"] = (call, socket.AF_INET, ("127.0.0.1", victim["tcp"]))
    if victim["posix"]:
        tries["read_posix_memory"] = (read, victim["posix"])
    done = {name: outcome(*attempt, secret=secret) for name, attempt in tries.items()}
    plain = {
        "list_folder": (os.listdir, folder),
        "write_file": (overwrite, file),
        "truncate_file": (truncate, file),
        "put_into_folder": (put_into, folder),
        "link_file": (link, file),
        "stat_file": (os.stat, file),
        "chmod_folder": (chmod, folder),
        "environment": (read, f"/proc/{pid}/environ"),
        "command_line": (read, f"/proc/{pid}/cmdline"),
        "memory_maps": (read, f"/proc/{pid}/maps"),
        "ptrace": (seize, pid),
        "signal": (signal_to, pid),
        "signal_launcher": (signal_to, victim["launcher"]),
        "limit": (limit, pid),
        "limit_launcher": (limit, victim["launcher"]),
    }
    return done | {name: outcome(*attempt) for name, attempt in plain.items()}


def attack_the_rest(daemon):
    tries = {
        "store": (read, daemon["store"]),
        "configuration": (read, daemon["configuration"]),
        "daemon_environment": (read, f"/proc/{daemon['pid']}/environ"),
        "daemon_signal": (signal_to, daemon["pid"]),
        "daemon_limit": (limit, daemon["pid"]),
        "daemon_port": (call_only, daemon["port"]),
        "forbidden_port": (call_only, daemon["forbidden_port"]),
        "own_launcher_signal": (signal_to, os.getppid()),
        "listen": (listen_on_a_port,),
        "device": (order_a_device,),
        "more_rights": (more_rights_are_possible,),
    }
    if daemon["has_fast_open"]:
        for send in (by_sendto, by_sendmsg, by_sendmmsg):
            tries[f"fast_open_{send.__name__}"] = (call_by_sending, daemon["forbidden_port"], send)
        tries["fast_open_to_daemon"] = (call_by_sending, daemon["port"], by_sendto)
    if daemon["is_mighty"]:
        tries["make_device"] = (make_a_device,)
        tries["raw_socket"] = (raw_socket,)
        tries["become_another"] = (become, daemon["other_uid"])
    return {name: outcome(*attempt) for name, attempt in tries.items()}


def own(daemon):
    """What must go on working, and the limits."""
    with open("mine.txt", "w") as file:
        file.write("mine")
    limits = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "NOFILE", "NPROC", "FSIZE")}
    return {
        "file": outcome(read, "mine.txt"),
        "child": os.waitstatus_to_exitcode(os.system("exit 7")),
        "thread": bool(threading.Thread(target=int).start() is None),
        "allowed_port": outcome(call_only, daemon["allowed_port"]),
        "signal_self": outcome(signal_to, os.getpid()),
        "home": os.environ.get("HOME") == os.getcwd() == os.environ.get("TMPDIR"),
        "environment": sorted(os.environ),
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "session": os.getsid(0),
        "limits": limits,
    }


def work(frame, name):
    payload = frame["payload"]
    lease = {"task_id": frame["task_id"], "attempt": frame["attempt"]}
    say("started", **lease)
    if payload["do"] == "plant":
        output = plant(name)
    else:
        others = [victim for victim in payload["victims"] if victim["agent"] != name]
        output = {
            "agent": name,
            "victims": {victim["agent"]: attack(victim) for victim in others},
            "rest": attack_the_rest(payload["daemon"]),
            "own": own(payload["daemon"]),
        }
    say("result", **lease, output=output)


def main():
    say("hello", proto=[1, 1], pid=os.getpid())
    name = ""
    for line in sys.stdin:
        frame = json.loads(line)
        if frame["type"] == "init":
            name = frame["agent_id"]
            threading.Thread(target=beat, args=[frame["heartbeat_s"]], daemon=True).start()
            say("ready")
        elif frame["type"] == "task":
            work(frame, name)
        elif frame["type"] == "shutdown":
            clear(os.getpid())
            say("bye")
            return


def machine():
    """Says what this machine lets a process do to its sibling and itself, without Daedalus."""
    theirs, ours = os.pipe()
    victim = os.fork()
    if victim == 0:
        os.write(ours, json.dumps(plant("victim")).encode() + b"\n")
        signal.pause()
    os.close(ours)
    planted = json.loads(os.fdopen(theirs).readline())
    if os.fork() == 0:
        more_rights = outcome(more_rights_are_possible)
        print(json.dumps(attack(planted) | {"more_rights": more_rights}), flush=True)
        os._exit(0)
    os.wait()
    os.kill(victim, signal.SIGKILL)
    clear(victim)


# The signals of others must not end it: they are only tried.
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
machine() if sys.argv[1:] == ["machine"] else main()
