//! What loads, what is refused and how it is said.

mod follow_ups;
mod gates;
mod layers;
mod refusals;
mod sandbox;
mod schedules;
mod shipped;

use std::fs;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::{Config, ConfigError, Sources, load};

/// A folder with one file in it that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn with(text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("daedalus-config-{}", Uuid::new_v4()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("test.toml"), text).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("test.toml")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn load_text(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load(&sources(&Folder::with(text).file(), env)).map_err(strip_folder)
}

fn sources(file: &Path, env: &[(&str, &str)]) -> Sources {
    let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Sources { file: Some(file.to_owned()), env, ..Sources::default() }
}

/// The refusal as it is told, with the file's name alone.
fn refusal(text: &str, env: &[(&str, &str)]) -> String {
    load_text(text, env).unwrap_err().to_string()
}

fn strip_folder(error: ConfigError) -> ConfigError {
    use super::Place;
    let strip = |at| match at {
        Place::Line(path, line) => Place::Line(path.file_name().unwrap().into(), line),
        Place::Env(_) | Place::Flag(_) | Place::Default => at,
    };
    match error {
        ConfigError::Syntax { at, problem } => ConfigError::Syntax { at: strip(at), problem },
        ConfigError::UnknownKey { at, key, allowed } => {
            ConfigError::UnknownKey { at: strip(at), key, allowed }
        }
        ConfigError::BadValue { at, key, problem } => {
            ConfigError::BadValue { at: strip(at), key, problem }
        }
        ConfigError::Read { .. } | ConfigError::Path { .. } => error,
    }
}
