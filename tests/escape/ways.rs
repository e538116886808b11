//! The ways out, and what closes each of them.

use daedalus::domain::Guard;

/// What an agent tries on another: by name, and what stops it, any one of these.
pub(crate) const WAYS: &[(&str, &[Guard])] = &[
    ("read_file", &[Guard::Files, Guard::Uid]),
    ("read_through_a_link", &[Guard::Files, Guard::Uid]),
    ("read_through_proc_cwd", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("read_through_proc_root", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("read_open_file", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("read_mapped_file", &[Guard::Files, Guard::Uid]),
    ("read_posix_memory", &[Guard::Files, Guard::Uid]),
    ("read_memory", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("vm_read", &[Guard::Processes, Guard::Uid]),
    ("take_descriptor", &[Guard::Processes, Guard::Uid]),
    ("attach_shared_memory", &[Guard::Ipc, Guard::Uid]),
    ("tcp", &[Guard::Tcp]),
    ("udp", &[Guard::Udp]),
    ("abstract_socket", &[Guard::AbstractSockets]),
    ("path_socket", &[Guard::Uid]),
    ("list_folder", &[Guard::Files, Guard::Uid]),
    ("write_file", &[Guard::Files, Guard::Uid]),
    ("truncate_file", &[Guard::Truncate, Guard::Uid]),
    ("put_into_folder", &[Guard::Files, Guard::Uid]),
    ("link_file", &[Guard::Files, Guard::Uid]),
    ("stat_file", &[Guard::Uid]),
    ("chmod_folder", &[Guard::Uid]),
    ("environment", &[Guard::Files, Guard::Processes, Guard::Uid]),
    // Everybody may read it where there is a /proc.
    ("command_line", &[Guard::Files]),
    ("memory_maps", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("ptrace", &[Guard::Processes, Guard::Uid]),
    ("signal", &[Guard::Signals, Guard::Uid]),
    ("signal_launcher", &[Guard::Signals, Guard::Uid]),
    // One that is too low ends a process.
    ("limit", &[Guard::Signals, Guard::Uid]),
    ("limit_launcher", &[Guard::Signals, Guard::Uid]),
];

/// What is tried only where the kernel connects while it sends.
pub(crate) const FAST_OPEN: [&str; 4] =
    ["fast_open_by_sendto", "fast_open_by_sendmsg", "fast_open_by_sendmmsg", "fast_open_to_daemon"];

/// What is tried only where the daemon is a root with all its powers.
pub(crate) const OF_ROOT: [&str; 3] = ["make_device", "raw_socket", "become_another"];

/// What an agent tries on the daemon and the machine.
pub(crate) const REST: &[(&str, &[Guard])] = &[
    ("store", &[Guard::Files, Guard::Uid]),
    // It can be read by everybody, as the shipped one.
    ("configuration", &[Guard::Files]),
    ("daemon_environment", &[Guard::Files, Guard::Processes, Guard::Uid]),
    ("daemon_signal", &[Guard::Signals, Guard::Uid]),
    ("daemon_limit", &[Guard::Signals, Guard::Uid]),
    ("daemon_port", &[Guard::Tcp]),
    ("forbidden_port", &[Guard::Tcp]),
    ("own_launcher_signal", &[Guard::Signals, Guard::Uid]),
    ("listen", &[Guard::Tcp]),
    ("device", &[Guard::Devices]),
    ("more_rights", &[Guard::Privileges]),
    ("fast_open_by_sendto", &[Guard::Tcp]),
    ("fast_open_by_sendmsg", &[Guard::Tcp]),
    ("fast_open_by_sendmmsg", &[Guard::Tcp]),
    ("fast_open_to_daemon", &[Guard::Tcp]),
    ("make_device", &[Guard::Privileges, Guard::Uid]),
    ("raw_socket", &[Guard::Privileges, Guard::Uid]),
    ("become_another", &[Guard::Privileges, Guard::Uid]),
];
