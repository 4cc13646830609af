//! The settings as clap flags.

use std::collections::HashMap;
use std::marker::PhantomData;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::{About, Scope, settings};

/// A command's flags, of all settings that only it and some others have.
pub(in crate::cli) trait Holder {
    /// Above its flags in the help; `None`: every command has them.
    const HEADING: Option<&'static str>;
    /// The settings.
    const SCOPES: &'static [Scope];
}

/// Every command.
pub(in crate::cli) struct Everyone;
/// `holdfast worker`.
pub(in crate::cli) struct Worker;
/// `holdfast gate`.
pub(in crate::cli) struct Gate;

impl Holder for Everyone {
    const HEADING: Option<&'static str> = None;
    const SCOPES: &'static [Scope] = &[Scope::Everywhere];
}

impl Holder for Worker {
    const HEADING: Option<&'static str> = Some("Worker configuration");
    const SCOPES: &'static [Scope] = &[Scope::Worker, Scope::Processes];
}

impl Holder for Gate {
    const HEADING: Option<&'static str> = Some("Gate configuration");
    const SCOPES: &'static [Scope] = &[Scope::Gate, Scope::Processes];
}

/// Given flags. clap takes any text; [`super::Config::read`] parses it.
pub(in crate::cli) struct Flags<H>(HashMap<String, String>, PhantomData<H>);

impl<H: Holder> Flags<H> {
    pub(in crate::cli) fn get(&self, flag: &str) -> Option<&String> {
        self.0.get(flag)
    }

    fn settings() -> impl Iterator<Item = About> {
        settings().into_iter().filter(|about| H::SCOPES.contains(&about.scope))
    }
}

impl<H: Holder> Args for Flags<H> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::settings().flat_map(|about| args(about, H::HEADING)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<H: Holder> FromArgMatches for Flags<H> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let names = Self::settings()
            .flat_map(|about| [Some(about.flag.to_owned()), about.file_flag()])
            .flatten();
        let given = names.filter_map(|name| {
            let value = matches.get_one::<String>(&name)?.clone();
            Some((name, value))
        });
        Ok(Self(given.collect(), PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A setting's flag and, for a secret, its file flag.
fn args(about: About, heading: Option<&'static str>) -> Vec<Arg> {
    let About { variable, flag, value_name, help, default, .. } = about;
    let default = default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
    let value = (flag.to_owned(), value_name, format!("{help}{default} [env: {variable}]"));
    let file = about
        .file_flag()
        .zip(about.file_variable())
        .map(|(flag, variable)| (flag, "PATH", format!("File that contains it [env: {variable}]")));
    let arg = |(flag, value_name, help): (String, &'static str, String)| {
        Arg::new(flag.clone())
            .long(flag)
            .value_name(value_name)
            .help(help)
            .help_heading(heading.unwrap_or("Configuration"))
            .global(heading.is_none())
            .hide_short_help(heading.is_none())
    };
    std::iter::once(value).chain(file).map(arg).collect()
}
