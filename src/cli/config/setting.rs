//! One setting and how its value is found.

use std::fmt;

use super::error::ConfigError;

/// Description of a setting.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Environment variable.
    pub variable: &'static str,
    /// Flag, without dashes.
    pub flag: &'static str,
    /// Placeholder for the value in the help.
    pub value_name: &'static str,
    /// What the setting does.
    pub help: &'static str,
    /// Default value.
    pub default: Option<&'static str>,
    /// Whether it is never shown and may come from a file.
    pub secret: bool,
    /// Whether only `holdfast worker` has the flag.
    pub of_worker: bool,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--{})", self.variable, self.flag)
    }
}

impl About {
    /// Variable that names a file with the value; secrets only.
    pub fn file_variable(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.variable))
    }

    /// Flag that names a file with the value; secrets only.
    pub fn file_flag(&self) -> Option<String> {
        self.secret.then(|| format!("{}-file", self.flag))
    }
}

/// A setting and its parser, whose error says what was expected.
pub(super) struct Setting<T> {
    pub(super) about: About,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Setting<T> {
    pub(super) fn new(
        variable: &'static str,
        flag: &'static str,
        value_name: &'static str,
        help: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        let (default, secret, of_worker) = (None, false, false);
        let about = About { variable, flag, value_name, help, default, secret, of_worker };
        Self { about, parse }
    }

    pub(super) fn default(mut self, text: &'static str) -> Self {
        self.about.default = Some(text);
        self
    }

    pub(super) fn secret(mut self) -> Self {
        self.about.secret = true;
        self
    }

    pub(super) fn of_worker(mut self) -> Self {
        self.about.of_worker = true;
        self
    }
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads values and collects errors.
pub(super) struct Source<'a> {
    flag: Lookup<'a>,
    environment: Lookup<'a>,
    needed: &'a [&'a str],
    wrong: Vec<String>,
}

impl<'a> Source<'a> {
    pub(super) fn new(flag: Lookup<'a>, environment: Lookup<'a>, needed: &'a [&'a str]) -> Self {
        Self { flag, environment, needed, wrong: Vec::new() }
    }

    pub(super) fn finish(self) -> Result<(), ConfigError> {
        if self.wrong.is_empty() { Ok(()) } else { Err(ConfigError(self.wrong)) }
    }

    /// `None` if unset or wrong.
    pub(super) fn read<T>(&mut self, setting: &Setting<T>) -> Option<T> {
        let about = &setting.about;
        match self.parsed(setting) {
            Ok(None) if self.needed.contains(&about.variable) => {
                self.wrong.push(format!("{about}: is not set"));
                None
            }
            Ok(value) => value,
            Err(reason) => {
                self.wrong.push(format!("{about}: {reason}"));
                None
            }
        }
    }

    fn parsed<T>(&self, setting: &Setting<T>) -> Result<Option<T>, String> {
        let about = &setting.about;
        let text = self.text(about)?.or_else(|| about.default.map(str::to_owned));
        let Some(text) = text else { return Ok(None) };
        (setting.parse)(&text).map(Some).map_err(|reason| match about.secret {
            // Some parsers repeat their input.
            true => reason.replace(&text, "(not shown)"),
            false => reason,
        })
    }

    /// A flag's text, else the variable's; either directly or from a file.
    fn text(&self, about: &About) -> Result<Option<String>, String> {
        let set = |value: Option<String>| value.filter(|text| !text.is_empty());
        let flag = |name: &str| set((self.flag)(name));
        let variable = |name: &str| set((self.environment)(name));
        let layers = [
            (flag(about.flag), about.file_flag().and_then(|name| flag(&name))),
            (variable(about.variable), about.file_variable().and_then(|name| variable(&name))),
        ];
        match layers.into_iter().find(|(value, file)| value.is_some() || file.is_some()) {
            None => Ok(None),
            Some((Some(_), Some(_))) => Err("is set both by value and by file".to_owned()),
            Some((_, Some(path))) => contents(&path),
            Some((value, None)) => Ok(value),
        }
    }
}

/// A file's text without its last newline; `None` if empty.
fn contents(path: &str) -> Result<Option<String>, String> {
    // Leaves out the path, which may be a misplaced secret.
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read the file that is named: {error}"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}
