use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;

const FORM: Form = Form {
    expected: "must look like x://account:password@host/path",
    schemes: &["x", "xs"],
    options: &["a", "b_c"],
    several_hosts: true,
};

/// Characters that URLs, shells and readers of URLs stumble over.
const HARD: [char; 24] = [
    ':', '@', '/', '?', '#', '[', ']', '%', ',', ';', '&', '=', '+', ' ', '\'', '"', '\\', '~',
    '!', '$', '|', 'ü', '日', 'x',
];

fn text(rng: &mut StdRng) -> String {
    (0..rng.random_range(1..9)).map(|_| *HARD.choose(rng).unwrap()).collect()
}

fn host(rng: &mut StdRng) -> Host {
    let name = match rng.random_range(0..4) {
        0 => "db-1.example".to_owned(),
        1 => "10.0.0.1".to_owned(),
        2 => "2001:db8::1".to_owned(),
        _ => format!("/run/{}", text(rng)),
    };
    Host { name, port: rng.random_bool(0.5).then(|| rng.random_range(1..=u16::MAX)) }
}

fn parts(rng: &mut StdRng) -> Parts {
    let account = rng
        .random_bool(0.8)
        .then(|| Account { name: text(rng), password: rng.random_bool(0.8).then(|| text(rng)) });
    let hosts = (0..rng.random_range(1..4)).map(|_| host(rng)).collect();
    let path = (0..rng.random_range(0..3)).map(|_| text(rng)).collect();
    let options = FORM.options.iter().filter(|_| true).map(|name| (*name, text(rng))).collect();
    Parts { scheme: "xs", account, hosts, path, options }
}

#[test]
fn what_is_printed_is_read_as_the_same_parts() {
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..5_000 {
        let parts = parts(&mut rng);
        let printed = parts.print();
        let read =
            Parts::read(&printed, &FORM).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert!(read == parts, "{printed} is read as {}", read.print());
    }
}

/// The promise behind every text that shows an account, a host or a path.
#[test]
fn no_raw_password_leaves_its_place() {
    let mut rng = StdRng::seed_from_u64(8);
    let mut refused = 0;
    for _ in 0..20_000 {
        let password = format!("s3cret{}s3cret{}s3cret", text(&mut rng), text(&mut rng));
        let url = format!("x://me:{password}@h:5432/p?a=1");
        match Parts::read(&url, &FORM) {
            Ok(parts) => {
                assert_eq!(parts.option("a"), Some("1"), "{url}");
                assert!(parts.account.as_ref().unwrap().name == "me", "{url}");
                assert!(parts.hosts[0].name == "h" && parts.path == ["p"], "{url}");
            }
            Err(error) => {
                refused += 1;
                assert!(!error.contains("s3cret"), "{url}: {error}");
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for (url, reason) in [
        ("", "must look like"),
        ("y://me:p@h/x", "must look like"),
        ("X://me:p@h/x", "must look like"),
        ("x://me:a?b@h/x", "percent-encoded"),
        ("x://me:a/b@h/x", "percent-encoded"),
        ("x://me:12/b@h/x", "percent-encoded"),
        ("x://me:a#b@h/x", "percent-encoded"),
        ("x://me:a@b@h/x", "percent-encoded"),
        ("x://me:a[b@h/x", "percent-encoded"),
        ("x://me:a%b@h/x", "percent-encoded"),
        ("x://me:a%0g@h/x", "percent-encoded"),
        ("x://me:a b@h/x", "percent-encoded"),
        ("x://me:ü@h/x", "percent-encoded"),
        ("x://me:a%ff@h/x", "UTF-8"),
        ("x://me:a%00@h/x", "control"),
        ("x://me:@h/x", "empty password"),
        ("x://:a@h/x", "no account"),
        ("x:///x", "no host"),
        ("x://me:p@h:/x", "port"),
        ("x://me:p@h:0/x", "port"),
        ("x://me:p@h:+1/x", "port"),
        ("x://me:p@h:70000/x", "port"),
        ("x://me:p@h,,i/x", "host"),
        ("x://me:p@[::1/x", "host"),
        ("x://me:p@h/x,x://me:p@h/x", "percent-encoded"),
        ("x://me:p@h/x?a=1&a=1", "twice"),
        ("x://me:p@h/x?a", "without a value"),
        ("x://me:p@h/x?a=1?b_c=2", "percent-encoded"),
        ("x://me:p@h/x?user=other", "credentials"),
        ("x://me:p@h/x?password=other", "credentials"),
        ("x://me:p@h/x?sslcert=/x", "the option sslcert"),
        ("x://me:p@h/x?s3cret=1", "an unknown option"),
        ("x://me:p@h/x#a", "percent-encoded"),
        ("x://me:p@h/x&a=1", "options begin after a ?"),
    ] {
        let error = Parts::read(url, &FORM).err().unwrap_or_else(|| panic!("{url} is read"));
        assert!(error.contains(reason) && !error.contains("s3cret"), "{url}: {error}");
    }
}

#[test]
fn only_some_places_have_several_hosts() {
    let one = Form { several_hosts: false, ..FORM };
    for url in ["x://me:p@h,i/x", "x://me:p@%2Frun/x"] {
        assert!(Parts::read(url, &FORM).is_ok(), "{url}");
        assert!(Parts::read(url, &one).is_err(), "{url}");
    }
}
