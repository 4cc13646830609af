//! One setting and how its value is found.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use crate::live;

/// The commands that have a setting's flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All.
    Everywhere,
    /// `holdfast worker`.
    Worker,
    /// `holdfast gate`.
    Gate,
    /// Both of them.
    Processes,
}

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
    /// Which commands have the flag.
    pub scope: Scope,
    /// Whether a file has several lines.
    pub lines: bool,
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
    /// Makes a value follow the file that it came from; secrets only.
    in_file: Option<fn(T, &Path) -> T>,
}

impl<T> Setting<T> {
    pub(super) fn new(
        variable: &'static str,
        flag: &'static str,
        value_name: &'static str,
        help: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        let (default, secret, scope, lines) = (None, false, Scope::Everywhere, false);
        let about = About { variable, flag, value_name, help, default, secret, scope, lines };
        Self { about, parse, in_file: None }
    }

    pub(super) fn default(mut self, text: &'static str) -> Self {
        self.about.default = Some(text);
        self
    }

    pub(super) fn secret(mut self, in_file: fn(T, &Path) -> T) -> Self {
        self.about.secret = true;
        self.in_file = Some(in_file);
        self
    }

    pub(super) fn lines(mut self) -> Self {
        self.about.lines = true;
        self
    }

    pub(super) fn of_worker(self) -> Self {
        self.of(Scope::Worker)
    }

    pub(super) fn of(mut self, scope: Scope) -> Self {
        self.about.scope = scope;
        self
    }
}

type Flag<'a> = &'a dyn Fn(&str) -> Option<String>;
type Variable<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads values and collects errors.
pub(super) struct Source<'a> {
    flag: Flag<'a>,
    environment: Variable<'a>,
    needed: &'a [&'a str],
    wrong: Vec<String>,
}

impl<'a> Source<'a> {
    pub(super) fn new(flag: Flag<'a>, environment: Variable<'a>, needed: &'a [&'a str]) -> Self {
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
        let (text, file) = match self.text(about)? {
            Some(found) => found,
            None => match about.default {
                Some(text) => (text.to_owned(), None),
                None => return Ok(None),
            },
        };
        let value = (setting.parse)(&text).map_err(|reason| match about.secret {
            // Some parsers repeat their input.
            true => reason.replace(&text, "(not shown)"),
            false => reason,
        })?;
        Ok(Some(match (file, setting.in_file) {
            (Some(file), Some(in_file)) => in_file(value, &file),
            _ => value,
        }))
    }

    /// A flag's text, else the variable's; either directly or from a file, which comes with it.
    fn text(&self, about: &About) -> Result<Option<(String, Option<PathBuf>)>, String> {
        let flag = |name: &str| text((self.flag)(name));
        let variable = |name: &str| match (self.environment)(name).map(OsString::into_string) {
            Some(Err(_)) => Err("is not UTF-8".to_owned()),
            Some(Ok(value)) => text(Some(value)),
            None => Ok(None),
        };
        let file = |name: Option<String>, read: &dyn Fn(&str) -> Result<Option<String>, String>| {
            name.map_or(Ok(None), |name| read(&name))
        };
        let layers = [
            (flag(about.flag)?, file(about.file_flag(), &flag)?),
            (variable(about.variable)?, file(about.file_variable(), &variable)?),
        ];
        match layers.into_iter().find(|(value, file)| value.is_some() || file.is_some()) {
            None => Ok(None),
            Some((Some(_), Some(_))) => Err("is set both by value and by file".to_owned()),
            Some((_, Some(path))) => {
                let path = PathBuf::from(path);
                let text = if about.lines {
                    live::text_of(&path).map(not_blank)
                } else {
                    live::of_file(&path)
                };
                Ok(text?.map(|text| (text, Some(path))))
            }
            Some((value, None)) => Ok(value.map(|text| (text, None))),
        }
    }
}

fn not_blank(text: String) -> Option<String> {
    Some(text).filter(|text| !text.trim().is_empty())
}

fn text(value: Option<String>) -> Result<Option<String>, String> {
    value.map_or(Ok(None), |value| Ok(live::trimmed(&value)?.map(str::to_owned)))
}
