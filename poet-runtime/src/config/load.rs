//! Where the configuration and the database are found, and how a file becomes a [`Config`].

use super::interpolate::Environment;
use super::problem::{ConfigError, Place, Problem};
use super::read::Reader;
use super::{Config, meaning, node, yaml};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// What a configuration is called where nobody says which; one of them at a time.
const NAMES: [&str; 3] = ["poet.toml", "poet.yaml", "poet.yml"];

impl Config {
    /// Reads a file: YAML where its name ends in `.yaml` or `.yml`, else TOML. Variables in it are taken from the
    /// environment of the process.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file, each with its line and column.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigError> {
        load_in(path.as_ref(), &from_process)
    }

    /// Reads a text. `name` stands for the file in messages and says whether it is YAML or TOML, and relative paths begin
    /// in its folder; `env` is asked for the variables.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the text, each with its line and column. Errors of syntax are reported alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use poet_runtime::config::Config;
    ///
    /// let env = |name: &str| (name == "CRM_TOKEN").then(|| "s3cr3t".to_owned());
    /// let text = r#"
    /// [services.crm]
    /// endpoints  = [{ url = "${CRM_URL:-http://localhost:8002/mcp}" }]
    /// auth_token = "${CRM_TOKEN}"
    /// "#;
    /// let config = Config::parse("poet.toml", text, &env).unwrap();
    /// assert_eq!(config.services["crm"].endpoints[0].url, "http://localhost:8002/mcp");
    ///
    /// let error = Config::parse("poet.toml", "[services.crm]\ntrusted = \"yes\"\n", &env).unwrap_err();
    /// assert!(error.to_string().contains("poet.toml:2:11: services.crm.trusted: expected true or false, found \"yes\""));
    /// ```
    pub fn parse(name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let path = Path::new(name);
        read(path, path.parent().unwrap_or(Path::new("")), text, env)
    }

    /// Reads the file named by the variable `POET_CONFIG`, else `poet.toml`, `poet.yaml` or `poet.yml` of the current
    /// folder where there is one; without any, everything is as by default.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the file, each with its line and column; or that `POET_CONFIG` names no file; or that
    /// there are two files.
    pub fn discover() -> Result<Self, ConfigError> {
        discover_in(Path::new(""), &from_process)
    }

    /// The database file: the variable `POET_DB`, else [`StoreConfig::path`](super::StoreConfig::path), else
    /// `poet/<program>.db` in the user's state folder (`XDG_STATE_HOME`, or `~/.local/state`).
    #[must_use]
    pub fn database(&self) -> PathBuf {
        let program = std::env::current_exe().ok();
        self.database_in(program.as_deref().and_then(Path::file_stem).unwrap_or(OsStr::new("program")), &from_process)
    }

    fn database_in(&self, program: &OsStr, env: Environment<'_>) -> PathBuf {
        if let Some(path) = set("POET_DB", env) {
            return PathBuf::from(path);
        }
        if let Some(path) = &self.store.path {
            return path.clone();
        }
        let mut file = program.to_owned();
        file.push(".db");
        state_folder(env).join("poet").join(file)
    }
}

fn discover_in(folder: &Path, env: Environment<'_>) -> Result<Config, ConfigError> {
    if let Some(path) = set("POET_CONFIG", env) {
        return load_in(Path::new(&path), env);
    }
    // A file that may not be looked at is not the same as none: reading it says why.
    let is_there = |path: &PathBuf| !matches!(path.try_exists(), Ok(false));
    let found: Vec<_> = NAMES.map(|name| folder.join(name)).into_iter().filter(is_there).collect();
    match &found[..] {
        [] => Ok(Config::default()),
        [only] => load_in(only, env),
        [first, second, ..] => {
            let second = second.display();
            let message = format!("{second} is there as well; keep one, or set POET_CONFIG to the one that is meant");
            Err(ConfigError::new(vec![Problem::of(&first.display().to_string(), message)]))
        }
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["yaml", "yml"].iter().any(|yaml| end.eq_ignore_ascii_case(yaml)))
}

fn load_in(path: &Path, env: Environment<'_>) -> Result<Config, ConfigError> {
    let unread = |error: io::Error| {
        let message = format!("the configuration cannot be read: {error}");
        ConfigError::new(vec![Problem::of(&path.display().to_string(), message)])
    };
    let text = std::fs::read_to_string(path).map_err(unread)?;
    // Absolute, so that a program that changes its folder later still finds its database.
    let absolute = std::path::absolute(path).map_err(unread)?;
    read(path, absolute.parent().unwrap_or(Path::new("")), &text, env)
}

fn read(path: &Path, folder: &Path, text: &str, env: Environment<'_>) -> Result<Config, ConfigError> {
    let mut reader = Reader::new(env);
    let root = if is_yaml(path) { yaml::parse(text) } else { node::parse_toml(text) };
    let (config, problems) = match root {
        Ok(root) => (meaning::config(&mut reader, &root, folder), reader.into_problems()),
        Err(problems) => (Config::default(), problems),
    };
    if problems.is_empty() {
        return Ok(Config { file: Some(path.to_owned()), ..config });
    }
    let file = path.display().to_string();
    let placed = |(at, message)| Problem::at(&file, Place::of(text, at), message);
    Err(ConfigError::new(problems.into_iter().map(placed).collect()))
}

fn state_folder(env: Environment<'_>) -> PathBuf {
    // The XDG specification asks for relative paths to be ignored.
    if let Some(path) = set("XDG_STATE_HOME", env).map(PathBuf::from).filter(|path| path.is_absolute()) {
        return path;
    }
    if let Some(home) = set("HOME", env) {
        return Path::new(&home).join(".local").join("state");
    }
    set("LOCALAPPDATA", env).map(PathBuf::from).unwrap_or_default()
}

fn set(name: &str, env: Environment<'_>) -> Option<String> {
    env(name).filter(|value| !value.is_empty())
}

fn from_process(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn env<'v>(variables: &'v [(&'v str, &'v str)]) -> impl Fn(&str) -> Option<String> + 'v {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_file_named_by_the_environment_stands_before_that_of_the_folder_and_both_before_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let named = folder.path().join("named.toml");
        let named = named.to_str().unwrap();
        assert_eq!(discover_in(folder.path(), &env(&[])).unwrap(), Config::default());

        fs::write(folder.path().join("poet.toml"), "learning = \"shadow\"").unwrap();
        let found = discover_in(folder.path(), &env(&[("POET_CONFIG", "")])).unwrap();
        assert_eq!(found.learning, crate::Learning::Shadow);
        assert_eq!(found.file, Some(folder.path().join("poet.toml")));

        fs::write(named, "learning = \"off\"").unwrap();
        let found = discover_in(folder.path(), &env(&[("POET_CONFIG", named)])).unwrap();
        assert_eq!(found.learning, crate::Learning::Off);
    }

    #[test]
    fn a_yaml_file_is_found_as_a_toml_file_is_and_two_are_one_too_many() {
        for name in ["poet.yaml", "poet.yml"] {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join(name);
            fs::write(&file, "learning: off\n").unwrap();
            let found = discover_in(folder.path(), &env(&[])).unwrap();
            assert_eq!((found.learning, found.file), (crate::Learning::Off, Some(file.clone())));

            let toml = folder.path().join("poet.toml");
            fs::write(&toml, "").unwrap();
            let error = discover_in(folder.path(), &env(&[])).unwrap_err().to_string();
            let (toml, file) = (toml.display(), file.display());
            let said = "is there as well; keep one, or set POET_CONFIG to the one that is meant";
            assert_eq!(error, format!("{toml}: {file} {said}"));
        }
    }

    #[test]
    fn the_end_of_its_name_says_what_a_file_is_written_in() {
        for (name, yaml) in [("a.yaml", true), ("a.YML", true), ("a.toml", false), ("yaml", false), ("a.conf", false)] {
            let text = if yaml { "learning: off" } else { "learning = \"off\"" };
            assert!(Config::parse(name, text, &env(&[])).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_file_that_was_named_but_is_not_there_is_an_error_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.toml");
        let error = discover_in(folder.path(), &env(&[("POET_CONFIG", missing.to_str().unwrap())])).unwrap_err();
        assert_eq!(error.problems().len(), 1);
        assert!(error.to_string().starts_with(&format!("{}: the configuration cannot be read: ", missing.display())));
        assert!(crate::Error::from(error).is_configuration());
    }

    #[test]
    fn a_relative_database_lies_beside_the_file_that_names_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("poet.toml");
        fs::write(&file, "[store]\npath = \"data/poet.db\"").unwrap();
        assert_eq!(Config::load(&file).unwrap().store.path, Some(folder.path().join("data/poet.db")));
        let parsed = Config::parse("etc/poet.toml", "store.path = \"/var/poet.db\"", &env(&[])).unwrap();
        assert_eq!(parsed.store.path, Some(PathBuf::from("/var/poet.db")));
    }

    #[test]
    fn the_database_is_that_of_the_environment_then_the_file_then_the_user() {
        let program = OsStr::new("shop");
        let mut config = Config::default();
        let at = |config: &Config, variables: &[(&str, &str)]| config.database_in(program, &env(variables));
        assert_eq!(at(&config, &[("HOME", "/home/ann")]), Path::new("/home/ann/.local/state/poet/shop.db"));
        assert_eq!(
            at(&config, &[("HOME", "/home/ann"), ("XDG_STATE_HOME", "/state")]),
            Path::new("/state/poet/shop.db")
        );
        assert_eq!(
            at(&config, &[("HOME", "/home/ann"), ("XDG_STATE_HOME", "relative")]),
            Path::new("/home/ann/.local/state/poet/shop.db")
        );
        assert_eq!(at(&config, &[]), Path::new("poet/shop.db"));
        config.store.path = Some(PathBuf::from("/etc/poet.db"));
        assert_eq!(at(&config, &[("HOME", "/home/ann")]), Path::new("/etc/poet.db"));
        assert_eq!(at(&config, &[("POET_DB", "/tmp/x.db")]), Path::new("/tmp/x.db"));
    }
}
