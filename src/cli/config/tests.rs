use super::*;
use std::collections::HashMap;

type Pairs<'a> = &'a [(&'a str, &'a str)];

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://me:s3cret@db/x");
const BROKER: (&str, &str) = ("AMQP_URL", "amqp://worker:s3cret@mq/%2f");

fn read(flags: Pairs, environment: Pairs, needed: &[&str]) -> Result<Config, ConfigError> {
    let lookup = |pairs: Pairs| -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    };
    let (flags, environment) = (lookup(flags), lookup(environment));
    Config::read(
        |name| flags.get(name).cloned(),
        |name| environment.get(name).map(Into::into),
        needed,
        "info",
    )
}

fn worker(flags: Pairs, environment: Pairs) -> Settings {
    let environment = [&[DATABASE, BROKER], environment].concat();
    read(flags, &environment, &[]).unwrap().worker().unwrap()
}

#[test]
fn flag_before_environment_before_default_and_empty_is_unset() {
    const NAME: &str = "HOLDFAST_BATCH_MAX";
    for (flags, environment, expected) in [
        (&[] as Pairs, &[] as Pairs, 256),
        (&[], &[(NAME, "7")], 7),
        (&[("batch-max", "9")], &[(NAME, "7")], 9),
        (&[("batch-max", "")], &[(NAME, "7")], 7),
        (&[("batch-max", "")], &[(NAME, "")], 256),
    ] {
        let settings = worker(flags, environment);
        assert_eq!(settings.batch_max, expected, "{flags:?} {environment:?}");
    }
}

#[test]
fn every_setting_of_a_worker_can_be_set() {
    let settings = worker(
        &[],
        &[
            ("HOLDFAST_DRAIN_GRACE_SECONDS", "3"),
            ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "0.5"),
            ("HOLDFAST_HTTP_LISTEN", "[::1]:80"),
            ("HOLDFAST_LADDER", "off"),
            ("HOLDFAST_SWEEP", "on"),
            ("HOSTNAME", "not-this-machine"),
        ],
    );
    assert!(settings.database == DATABASE.1.parse().unwrap());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("the system's name");
    assert_eq!(settings.host, host.trim(), "not what a shell says");
    assert_eq!(settings.broker.account(), "worker");
    assert_eq!(settings.drain_grace, Duration::from_secs(3));
    assert_eq!(settings.sweep_interval, Duration::from_millis(500));
    assert!(!settings.ladder && settings.sweep);
    assert_eq!(settings.http_listen, Some("[::1]:80".parse().unwrap()));
    assert!(!worker(&[], &[("HOLDFAST_SWEEP", "off")]).sweep);
    assert_eq!(worker(&[], &[("HOLDFAST_HTTP_LISTEN", "off")]).http_listen, None);
    let local = worker(&[], &[]).http_listen.unwrap();
    assert!(local.ip().is_loopback(), "nobody from outside asks, unless told so: {local}");
}

#[test]
fn a_secret_can_come_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    let path = path.to_str().unwrap();
    for ending in ["", "\n", "\r\n"] {
        std::fs::write(path, format!("{}{ending}", DATABASE.1)).unwrap();
        for (flags, environment) in [
            (&[] as Pairs, &[("DATABASE_URL_FILE", path)] as Pairs),
            (&[("database-url-file", path)], &[("DATABASE_URL", "postgres://other/x")]),
        ] {
            let config = read(flags, environment, &[DATABASE_URL]).unwrap();
            assert!(*config.database().unwrap() == DATABASE.1.parse().unwrap());
        }
    }
    let both = read(&[], &[DATABASE, ("DATABASE_URL_FILE", path)], &[]).unwrap_err();
    assert!(both.to_string().contains("both"), "{both}");
    std::fs::write(path, "\n").unwrap();
    let empty = read(&[], &[("DATABASE_URL_FILE", path)], &[DATABASE_URL]).unwrap_err();
    assert!(empty.to_string().contains("is not set"), "{empty}");
    let gone = read(&[], &[("AMQP_URL_FILE", "amqp://me:s3cret@mq/x")], &[AMQP_URL]).unwrap_err();
    assert_eq!(gone.0.len(), 1, "{gone}");
    assert!(!gone.to_string().contains("s3cret"), "{gone}");
}

#[test]
fn only_what_a_command_needs_has_to_be_set() {
    let config = read(&[], &[], &[]).unwrap();
    assert_eq!(config.log_filter, "lapin::returned_messages=error,info");
    assert!(config.database().is_err());
    let error = read(&[], &[BROKER], &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL]).unwrap_err();
    assert_eq!(error.0.len(), 2, "{error}");
}

#[test]
fn all_errors_are_reported_at_once_and_secrets_are_not() {
    let environment = [
        ("DATABASE_URL", "postgre://me:s3cret@db/x?s3cret=1"),
        ("AMQP_URL", "amqp:me:s3cret@mq"),
        ("RABBITMQ_MANAGEMENT_URL", "s3cret"),
        ("RUST_LOG", "a=b=c"),
        ("HOLDFAST_LOG_FORMAT", "xml"),
        ("HOLDFAST_BATCH_MAX", "0"),
        ("HOLDFAST_HTTP_LISTEN", "9464"),
        ("HOLDFAST_DRAIN_GRACE_SECONDS", "-1"),
        ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "NaN"),
        ("HOLDFAST_LADDER", "yes"),
        ("HOLDFAST_SWEEP", "1"),
    ];
    let error = read(&[], &environment, &[]).unwrap_err();
    assert_eq!(error.0.len(), environment.len(), "{error}");
    for ((name, _), line) in environment.iter().zip(&error.0) {
        assert!(line.starts_with(name), "{line}");
    }
    assert!(!error.to_string().contains("s3cret"), "{error}");
}

#[test]
fn bodies_are_logged_only_on_request() {
    let config = read(&[], &[("RUST_LOG", "debug")], &[]).unwrap();
    assert_eq!(config.log_filter, "lapin::returned_messages=error,debug");
}

/// A valid value of each setting. A new setting needs one here.
fn example(variable: &str) -> &'static str {
    match variable {
        "DATABASE_URL" | "DATABASE_READ_URL" => DATABASE.1,
        "AMQP_URL" => BROKER.1,
        "RABBITMQ_MANAGEMENT_URL" => "http://me:s3cret@mq:15672",
        "RUST_LOG" => "debug",
        "HOLDFAST_LOG_FORMAT" => "json",
        "HOLDFAST_HTTP_LISTEN" | "HOLDFAST_GATE_LISTEN" => "127.0.0.1:7",
        "HOLDFAST_GATE_ADAPTER" => "icecast",
        "HOLDFAST_GATE_CONTROL_URL" => "http://me:s3cret@127.0.0.1:8000",
        "HOLDFAST_GATE_HOOK_TOKEN" => "s3cret-0123456789abcdef0123456789abcdef",
        "HOLDFAST_ACCESS_SECRET" => "a:s3cret-0123456789abcdef0123456789abcdef",
        "HOLDFAST_LADDER" | "HOLDFAST_SWEEP" => "off",
        _ => "7",
    }
}

#[test]
fn blanks_around_any_value_are_cut_off_once_for_all() {
    let dir = tempfile::tempdir().unwrap();
    for (number, about) in settings().into_iter().enumerate() {
        let (name, value) = (about.variable, example(about.variable));
        for blanks in [("", ""), (" ", " "), ("\t\r\n", "\n\n"), ("\n", " \r\n")] {
            let padded = format!("{}{value}{}", blanks.0, blanks.1);
            for (flags, environment) in [
                (&[] as Pairs, &[(name, padded.as_str())] as Pairs),
                (&[(about.flag, &padded)], &[]),
            ] {
                let read = read(flags, environment, &[name]);
                assert!(read.is_ok(), "{name} {padded:?}: {:?}", read.err());
            }
            let Some(variable) = about.file_variable() else { continue };
            let path = dir.path().join(number.to_string());
            std::fs::write(&path, &padded).unwrap();
            let path = format!(" {}\n", path.to_str().unwrap());
            let read = read(&[], &[(&variable, &path)], &[name]);
            assert!(read.is_ok(), "{variable} {padded:?}: {:?}", read.err());
        }
        let unset = read(&[(about.flag, " \n")], &[(name, "\t")], &[]);
        assert!(unset.is_ok(), "{name}: {:?}", unset.err());
    }
}

/// Each line of it has a secret; errors name lines, and never what stands there.
#[test]
fn a_file_of_secrets_may_have_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secrets");
    let named = path.to_str().unwrap();
    let environment = [("HOLDFAST_ACCESS_SECRET_FILE", named)];
    let line = example("HOLDFAST_ACCESS_SECRET");
    std::fs::write(&path, format!("b:s3cret-2-0123456789abcdef0123456789\n{line}\n")).unwrap();
    let read_file = || read(&[], &environment, &[]);
    let ids = |config: Config| {
        let secrets = config.values.access.expect("secrets");
        secrets.all().iter().map(|secret| secret.id.clone()).collect::<Vec<_>>()
    };
    assert_eq!(ids(read_file().unwrap()), ["b", "a"]);
    std::fs::write(&path, format!("{line}\n{line}\n")).unwrap();
    let error = read_file().unwrap_err().to_string();
    assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
    std::fs::write(&path, " \n\n").unwrap();
    assert!(read_file().unwrap().values.access.is_none(), "empty means unset");
}

#[test]
fn line_breaks_and_bytes_inside_any_value_are_refused_by_name() {
    for about in settings() {
        let name = about.variable;
        let broken = format!("{}\n{}", example(name), example(name));
        for (flags, environment) in
            [(&[] as Pairs, &[(name, broken.as_str())] as Pairs), (&[(about.flag, &broken)], &[])]
        {
            let error = read(flags, environment, &[]).unwrap_err();
            let [line] = error.0.as_slice() else { panic!("{error}") };
            assert!(line.starts_with(name) && line.contains("control character"), "{line}");
            assert!(!line.contains("s3cret"), "{line}");
        }
        let bytes = [example(name).as_bytes(), b"\xff"].concat();
        for variable in [Some(name.to_owned()), about.file_variable()].into_iter().flatten() {
            let bytes = std::os::unix::ffi::OsStringExt::from_vec(bytes.clone());
            let environment = |asked: &str| (asked == variable).then_some(&bytes).cloned();
            let error = Config::read(|_| None, environment, &[], "info").unwrap_err();
            assert_eq!(error.0, [format!("{about}: is not UTF-8")]);
        }
    }
}
