//! The settings as clap flags.

use std::collections::HashMap;

use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::{About, settings};

/// Given flags: global, or only the worker's. clap takes any text; [`super::Config::read`] parses
/// it.
pub(in crate::cli) struct Flags<const OF_WORKER: bool>(HashMap<String, String>);

impl<const OF_WORKER: bool> Flags<OF_WORKER> {
    pub(in crate::cli) fn get(&self, flag: &str) -> Option<&String> {
        self.0.get(flag)
    }

    fn settings() -> impl Iterator<Item = About> {
        settings().into_iter().filter(|about| about.of_worker == OF_WORKER)
    }
}

impl<const OF_WORKER: bool> Args for Flags<OF_WORKER> {
    fn augment_args(command: Command) -> Command {
        command.args(Self::settings().flat_map(args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const OF_WORKER: bool> FromArgMatches for Flags<OF_WORKER> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let names = Self::settings()
            .flat_map(|about| [Some(about.flag.to_owned()), about.file_flag()])
            .flatten();
        let given = names.filter_map(|name| {
            let value = matches.get_one::<String>(&name)?.clone();
            Some((name, value))
        });
        Ok(Self(given.collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// A setting's flag and, for a secret, its file flag.
fn args(about: About) -> Vec<Arg> {
    let About { variable, flag, value_name, help, default, of_worker, .. } = about;
    let default = default.map(|text| format!(" [default: {text}]")).unwrap_or_default();
    let value = (flag.to_owned(), value_name, format!("{help}{default} [env: {variable}]"));
    let file = about.file_flag().zip(about.file_variable()).map(|(flag, variable)| {
        (flag, "PATH", format!("File that contains this URL [env: {variable}]"))
    });
    let arg = |(flag, value_name, help): (String, &'static str, String)| {
        Arg::new(flag.clone())
            .long(flag)
            .value_name(value_name)
            .help(help)
            .help_heading(if of_worker { "Worker configuration" } else { "Configuration" })
            .global(!of_worker)
            .hide_short_help(!of_worker)
    };
    std::iter::once(value).chain(file).map(arg).collect()
}
