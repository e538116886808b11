//! The keys of `[worker.sandbox]`.

use std::path::PathBuf;

use super::{load, load_text, refusal, sources};
use crate::domain::Guard;

#[test]
fn paths_are_found_from_the_folder_of_the_file() {
    let folder = std::env::temp_dir().join(format!("daedalus-{}-read", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("test.toml");
    std::fs::write(&file, "[worker.sandbox]\nread = [\"models\", \"/opt/python\"]\n").unwrap();
    let config = load(&sources(&file, &[])).unwrap();
    assert_eq!(config.worker.sandbox.read, [folder.join("models"), PathBuf::from("/opt/python")]);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn guards_and_ports_are_lists_of_what_there_is() {
    let text = "[worker.sandbox]\nrequire = [\"tcp\", \"uid\"]\nconnect = [1, 65535]\n";
    let sandbox = load_text(text, &[]).unwrap().worker.sandbox;
    assert_eq!(sandbox.require, [Guard::Tcp, Guard::Uid]);
    assert_eq!(sandbox.connect, [1, 65535]);
    let refused = refusal("[worker.sandbox]\nrequire = [\"walls\"]\n", &[]);
    assert!(refused.starts_with("test.toml:2: worker.sandbox.require must be a list of \"files\""));
    for port in ["0", "65536", "\"443\"", "443.0"] {
        assert_eq!(
            refusal(&format!("worker.sandbox.connect = [{port}]"), &[]),
            format!(
                "test.toml:1: worker.sandbox.connect must be a list of ports (1..65535), found \
                 [{port}]"
            )
        );
    }
}

#[test]
fn both_ends_of_a_range_are_allowed() {
    for (text, past) in [
        ("max_files = 32", "max_files = 31"),
        ("max_processes = 1", "max_processes = 0"),
        ("max_file_mb = 1", "max_file_mb = 0"),
        ("max_address_space_mb = 0", "max_address_space_mb = 1"),
        ("max_address_space_mb = 256", "max_address_space_mb = 255"),
        ("max_cpu_s = 0", "max_cpu_s = -1"),
        ("first_uid = 0", "first_uid = 1"),
        ("first_uid = 1000", "first_uid = 999"),
        ("first_uid = 4_000_000_000", "first_uid = 4_000_000_001"),
        ("cgroup = \"\"", "cgroup = \"relative\""),
        ("cgroup = \"/sys/fs/cgroup/x\"", "cgroup = \"Auto\""),
    ] {
        load_text(&format!("[worker.sandbox]\n{text}"), &[]).unwrap();
        refusal(&format!("[worker.sandbox]\n{past}"), &[]);
    }
}

#[test]
fn the_port_of_the_daemon_is_refused_when_it_is_asked_for() {
    let problem = "worker.sandbox.connect must not have 8420, the port of http.bind: an agent must \
                   not reach the daemon";
    let asked = "worker.sandbox.connect = [443, 8420]";
    assert_eq!(refusal(asked, &[]), format!("test.toml:1: {problem}"));
    let elsewhere = format!("{asked}\nhttp.bind = \"127.0.0.1:8421\"");
    load_text(&elsewhere, &[]).unwrap();
    load_text(&format!("{asked}\nworker.sandbox.enabled = false"), &[]).unwrap();
    // Nobody asked for the default, so it does not forbid this address.
    load_text("http.bind = \"127.0.0.1:443\"", &[]).unwrap();
}

#[test]
fn nothing_is_required_of_a_sandbox_that_is_off() {
    let text = "[worker.sandbox]\nenabled = false\nrequire = [\"files\"]\n";
    assert_eq!(
        refusal(text, &[]),
        "test.toml:3: worker.sandbox.require must be empty when worker.sandbox.enabled is false"
    );
}
