//! What the files for Docker repeat from elsewhere is still the same. Needs no Docker.

use holdfast::cli::config::settings;
use serde_yaml_ng::Value;

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const PRIVATE_BROKER: &str = include_str!("../../.dev/rabbitmq.sh");

fn compose() -> Value {
    serde_yaml_ng::from_str(COMPOSE).expect("YAML")
}

#[test]
fn the_image_is_built_with_the_rust_it_needs() {
    let needed = concat!("FROM rust:", env!("CARGO_PKG_RUST_VERSION"), "-");
    assert!(DOCKERFILE.starts_with(needed), "{needed}");
}

#[test]
fn a_worker_gets_twice_the_drain_grace() {
    let setting = settings().into_iter().find(|about| about.flag == "drain-grace-seconds");
    let default = setting.and_then(|about| about.default).expect("the setting has a default");
    let grace: u64 = default.parse().expect("a number");
    let given = compose()["services"]["worker"]["stop_grace_period"].clone();
    assert_eq!(given.as_str(), Some(format!("{}s", 2 * grace).as_str()));
}

#[test]
fn the_broker_is_the_one_of_the_tests() {
    for config in ["rabbitmq_plugins", "rabbitmq_advanced"] {
        let content = compose()["configs"][config]["content"].clone();
        let content = content.as_str().expect("text").trim();
        assert!(PRIVATE_BROKER.contains(&format!("'{content}'")), "{content}");
    }
}
