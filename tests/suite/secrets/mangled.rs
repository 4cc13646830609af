//! Whatever is wrong with a URL, nothing of its password is shown.

use futures::{StreamExt, stream};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::program::holdfast;

/// Per setting.
const URLS: usize = 110;

/// Runs at once: each is a process of some milliseconds, and two cores are the least that there is.
const AT_ONCE: usize = 4;

/// Never part of anything but a password.
const SECRET: &str = "S3cr3t";

const HARD: [&str; 22] = [
    "@", "/", "?", "#", "[", "]", "%", ":", ",", ";", "&", "=", " ", "\\", "\"", "'", "%zz", "://",
    "@h/", "ü", "\u{7f}", "\n",
];

/// A password like people make them: nothing in it is encoded.
fn password(rng: &mut StdRng) -> String {
    let mut text = SECRET.to_owned();
    for _ in 0..rng.random_range(1..4) {
        text = format!("{text}{}{SECRET}", HARD.choose(rng).unwrap());
    }
    text
}

/// A URL that someone has got wrong. Port 1 is closed, so that what can be read connects to nothing.
fn mangled(rng: &mut StdRng, scheme: &str, option: &str) -> String {
    let password = password(rng);
    let good = format!("{scheme}://me:{password}@127.0.0.1:1/v?{option}");
    match rng.random_range(0..11) {
        0..4 => good,
        // Without the host it looks like a port.
        10 => format!("{scheme}://me:{SECRET}{}", ["", "]", "/v", "#"].choose(rng).unwrap()),
        4 => format!("{good},{good}"),
        5 => format!("{scheme}://me:{password}@127.0.0.1:1,{good}"),
        6 => format!("{scheme}:/me:{password}@127.0.0.1:1/v"),
        7 => format!("{scheme}://127.0.0.1:1/v?user=me&password={password}"),
        8 => format!("{scheme}://me:{SECRET}@127.0.0.1:1/v?{option}&{password}=1"),
        _ => format!("{scheme}://me:{SECRET}@127.0.0.1:1/v?{option}{password}"),
    }
}

async fn shows_nothing(variable: &str, scheme: &str, option: &str, commands: &[&[&str]]) {
    let mut rng = StdRng::seed_from_u64(32);
    let urls: Vec<String> = (0..URLS).map(|_| mangled(&mut rng, scheme, option)).collect();
    let good = [
        ("DATABASE_URL", "postgres://me:p@127.0.0.1:1/x"),
        ("AMQP_URL", "amqp://me:p@127.0.0.1:1/x"),
        ("RABBITMQ_MANAGEMENT_URL", "http://me:p@127.0.0.1:1"),
    ];
    let runs = urls.iter().enumerate().map(|(number, url)| async move {
        let mut environment = good.to_vec();
        environment.retain(|(name, _)| *name != variable);
        environment.extend([(variable, url.as_str()), ("RUST_LOG", "trace")]);
        let run = holdfast(&environment, commands[number % commands.len()]).await;
        assert!(!run.stdout.contains(SECRET) && !run.stderr.contains(SECRET), "{url:?}: {run:?}");
        assert!(matches!(run.code, 75 | 78), "{url:?}: {run:?}");
        run.code
    });
    let codes: Vec<i32> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    assert!(codes.iter().filter(|code| **code == 78).count() > URLS / 2, "{codes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_database() {
    let commands: [&[&str]; 4] = [
        &["worker"],
        &["migrate"],
        &["server", "list"],
        &["account", "add", "database-worker", "a"],
    ];
    shows_nothing("DATABASE_URL", "postgres", "connect_timeout=2", &commands).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_broker() {
    let show = ["client", "show", "0197f3c0-0000-7000-8000-000000000000"];
    let commands: [&[&str]; 3] = [&["worker"], &["account", "add", "broker-worker", "a_b"], &show];
    shows_nothing("AMQP_URL", "amqp", "heartbeat=5", &commands).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_the_management_api() {
    let commands: [&[&str]; 2] =
        [&["account", "add", "broker-worker", "a_b"], &["account", "add", "broker-billing", "a"]];
    shows_nothing("RABBITMQ_MANAGEMENT_URL", "http", "x=1", &commands).await;
}
