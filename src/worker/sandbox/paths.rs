//! What a worker must be able to read to run at all.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Programs and libraries of the system.
const FOLDERS: [&str; 7] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin"];

/// What libraries read elsewhere. Never all of `/etc`, where the secrets of the daemon may be, nor
/// all of the folders of certificates, where private keys are too. `/proc` and `/dev/shm` are left
/// out on purpose: they show, and share, what is not the worker's.
const FILES: [&str; 40] = [
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/zero",
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/bindresvport.blacklist",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/crypto-policies",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ld.so.preload",
    "/etc/locale.alias",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/ct_log_list.cnf",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/sys/devices/system/cpu",
    "/var/lib/ca-certificates",
];

/// What a worker reads and writes and nobody keeps.
pub(super) const NULL: &str = "/dev/null";

/// The system's own.
pub(super) fn of_the_system() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = FOLDERS.iter().chain(&FILES).map(PathBuf::from).collect();
    found.retain(|path| path.exists());
    // Resolvers write this file anew when the network changes, and a rule is about the old one. The
    // folder stays.
    if let Ok(target) = fs::canonicalize("/etc/resolv.conf") {
        found.extend(folder_of_resolver(&target).map(Path::to_path_buf));
    }
    found
}

/// The folder below `/run` that a resolver has for its file; never `/run`, where everybody has some.
fn folder_of_resolver(file: &Path) -> Option<&Path> {
    file.parent().filter(|folder| folder.starts_with("/run") && *folder != Path::new("/run"))
}

/// What `command` needs: its program, found by the variable PATH as `search`, the environment of an
/// interpreter that the program stands in, and the files that are named among its arguments.
pub(super) fn of_command(command: &[OsString], search: &OsStr) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    let Some((program, arguments)) = command.split_first() else { return Vec::new() };
    if let Some(program) = locate(program, search) {
        add_interpreter(&program, &mut found);
        found.insert(program);
    }
    let files = arguments.iter().map(Path::new).filter(|path| path.is_absolute() && path.is_file());
    found.extend(files.map(Path::to_path_buf));
    found.retain(|path| path.exists());
    found.into_iter().collect()
}

/// As the system finds a program.
fn locate(program: &OsStr, search: &OsStr) -> Option<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return Some(PathBuf::from(program));
    }
    let candidates = std::env::split_paths(search).map(|folder| folder.join(program));
    candidates.into_iter().find(|path| path.is_file() && access(path, Access::EXEC_OK).is_ok())
}

/// The libraries beside an interpreter: `lib` beside the `bin` in which it stands, and for one of a
/// Python environment (it has a `pyvenv.cfg`) all of that, the interpreter of which it was made, and
/// what is installed in it as a link to its source.
fn add_interpreter(program: &Path, found: &mut BTreeSet<PathBuf>) {
    for program in [Some(program.to_path_buf()), program.canonicalize().ok()].into_iter().flatten()
    {
        let Some(folder) = program.parent() else { continue };
        add_libraries(folder, found);
        for environment in folder.ancestors().take(2) {
            let Ok(text) = fs::read_to_string(environment.join("pyvenv.cfg")) else { continue };
            found.insert(environment.to_path_buf());
            if let Some(home) = home_of(&text).and_then(|home| fs::canonicalize(home).ok()) {
                add_libraries(&home, found);
                found.extend(fs::read_dir(home).into_iter().flatten().flatten().filter_map(
                    |entry| {
                        let is_python = entry.file_name().to_string_lossy().starts_with("python");
                        is_python.then(|| entry.path())
                    },
                ));
            }
            found.extend(linked_sources(environment));
        }
    }
}

/// `lib` and `lib64` beside a `bin`, which everything of an installation needs.
fn add_libraries(folder: &Path, found: &mut BTreeSet<PathBuf>) {
    if folder.file_name().is_some_and(|name| name == "bin")
        && let Some(prefix) = folder.parent()
    {
        found.extend(["lib", "lib64"].map(|name| prefix.join(name)));
    }
}

/// The folder of the interpreter of which a Python environment was made.
fn home_of(pyvenv: &str) -> Option<&str> {
    pyvenv.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "home").then(|| value.trim())
    })
}

/// The folders that `.pth` files of a Python environment add to its path: what was installed
/// "editable".
fn linked_sources(environment: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for version in fs::read_dir(environment.join("lib")).into_iter().flatten().flatten() {
        let packages = version.path().join("site-packages");
        for entry in fs::read_dir(packages).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "pth") {
                let text = fs::read_to_string(path).unwrap_or_default();
                let lines = text.lines().map(|line| Path::new(line.trim()));
                found.extend(lines.filter(|line| line.is_absolute()).map(Path::to_path_buf));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("daedalus-{}-paths-{name}", std::process::id());
            let place = std::env::temp_dir().join(name);
            fs::create_dir_all(&place).unwrap();
            Self(place.canonicalize().unwrap())
        }

        fn file(&self, path: &str, text: &str) -> PathBuf {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn of(&self, command: &[&str], search: &str) -> BTreeSet<String> {
            let command: Vec<OsString> = command.iter().map(OsString::from).collect();
            let found = of_command(&command, OsStr::new(search));
            let inside = |path: &PathBuf| {
                path.strip_prefix(&self.0).ok().map(|path| path.display().to_string())
            };
            found.iter().filter_map(inside).collect()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _it_is_temporary = fs::remove_dir_all(&self.0);
        }
    }

    fn set<const N: usize>(paths: [&str; N]) -> BTreeSet<String> {
        paths.map(str::to_owned).into()
    }

    #[test]
    fn a_program_and_the_files_that_it_is_given_can_be_read_and_nothing_beside_them() {
        let place = Place::new("program");
        let program = place.file("tools/worker", "");
        place.file("tools/secret", "");
        let script = place.file("scripts/main.py", "");
        place.file("scripts/secret.py", "");
        let folder = place.0.join("scripts");
        let command = [&*program.to_string_lossy(), "relative.py", &folder.to_string_lossy()];
        assert_eq!(place.of(&command, ""), set(["tools/worker"]));
        let command = [&*program.to_string_lossy(), &script.to_string_lossy(), "/not/there"];
        assert_eq!(place.of(&command, ""), set(["scripts/main.py", "tools/worker"]));
        let search = format!("/not/there:{}", place.0.join("tools").display());
        assert_eq!(place.of(&["worker"], &search), set(["tools/worker"]));
        assert_eq!(place.of(&["nobody"], &search), set([]));
        assert_eq!(place.of(&[], &search), set([]));
    }

    #[test]
    fn a_python_environment_comes_with_its_interpreter_and_its_linked_sources() {
        let place = Place::new("venv");
        place.file("base/bin/python3.11", "");
        place.file("base/bin/other", "");
        place.file("base/lib/python3.11/os.py", "");
        place.file("sources/package/__init__.py", "");
        let home = place.0.join("base/bin").display().to_string();
        place.file("venv/pyvenv.cfg", &format!("home = {home}\nversion = 3.11\n"));
        let sources = place.0.join("sources").display().to_string();
        place.file(
            "venv/lib/python3.11/site-packages/linked.pth",
            &format!("import something\n{sources}\nrelative\n"),
        );
        fs::create_dir_all(place.0.join("venv/bin")).unwrap();
        let python = place.0.join("venv/bin/python");
        symlink(place.0.join("base/bin/python3.11"), &python).unwrap();
        let found = place.of(&[&python.to_string_lossy()], "");
        let expected = set([
            "base/bin/python3.11",
            "base/lib",
            "sources",
            "venv",
            "venv/bin/python",
            "venv/lib",
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn only_a_folder_of_its_own_is_read_for_the_resolver() {
        let folder = |file| folder_of_resolver(Path::new(file)).and_then(Path::to_str);
        assert_eq!(folder("/run/systemd/resolve/stub.conf"), Some("/run/systemd/resolve"));
        for file in ["/run/resolv.conf", "/etc/resolv.conf", "/mnt/wsl/resolv.conf"] {
            assert_eq!(folder(file), None, "{file}");
        }
    }

    #[test]
    fn secrets_of_the_system_are_not_among_its_own_paths() {
        let found = of_the_system();
        assert!(found.iter().any(|path| path == Path::new("/usr")));
        let secrets =
            ["/etc/shadow", "/etc/daedalus/daedalus.toml", "/etc/ssl/private/key", "/proc/1"];
        for secret in secrets.iter().chain(&["/root/.ssh", "/home/x", "/var/lib/daedalus", "/tmp"])
        {
            let covered = found.iter().find(|path| Path::new(secret).starts_with(path));
            assert_eq!(covered, None, "{secret}");
        }
    }
}
