//! Words that are not to come back, each with what is written instead: the field's term, always the
//! same one.

/// Where the names of identifiers and files are looked at. Not in the tests: the naive model is to
/// share no word with what it checks.
pub const ROOMS: [&str; 3] = ["src", "lab/src", "schema"];

/// Types: the whole identifier, as it is spelt.
const TYPES: [(&str, &[&str], &str); 13] = [
    ("World", &["src", "lab/src"], "Snapshot"),
    ("Effects", &["src", "lab/src"], "Changes"),
    ("Step", &["src/domain", "src/engine", "src/message", "src/worker/partition"], "Input"),
    ("Verdict", &["src"], "Outcome"),
    ("Handled", &["src", "lab/src"], "CommittedBatch"),
    ("Aside", &["src", "lab/src"], "Deferred"),
    // Elsewhere it is the standard library's.
    ("Instant", &["src/domain", "src/message", "src/engine"], "Timestamp"),
    ("Flight", &["src"], "DelayProbe"),
    ("Walk", &["src/broker"], "what it reads, such as FrameReader"),
    ("Plan", &["src/broker"], "what it does, such as BodyCut"),
    ("Survived", &["src"], "what it counts, such as Outlived"),
    ("Shedding", &["src", "lab/src"], "RateLimit"),
    ("Wish", &["src", "lab/src"], "Request, or what is requested"),
];

/// Words inside identifiers and file names, in `snake_case` or `CamelCase`, with `_` between words that
/// belong together.
const WORDS: [(&str, &[&str], &str); 34] = [
    ("world", &["src"], "snapshot"),
    ("effects", &["src"], "changes"),
    ("verdict", &["src"], "outcome"),
    ("verdicts", &["src"], "outcomes"),
    ("aside", &["src"], "deferred, park"),
    ("asides", &["src"], "deferred"),
    ("arm", &["src", "schema"], "schedule"),
    ("armed", &["src", "schema"], "scheduled"),
    ("arming", &["src", "schema"], "scheduled hop"),
    ("unarmed", &["src", "lab/src", "schema"], "unscheduled"),
    ("leg", &["src", "lab/src", "schema"], "hop"),
    ("legs", &["src", "lab/src", "schema"], "hops"),
    ("ripe", &["src", "lab/src", "schema"], "due"),
    ("suspect", &["src", "lab/src", "schema"], "redelivered, isolation"),
    ("suspects", &["src", "lab/src", "schema"], "redelivered, isolation"),
    ("survived", &["src"], "interrupted"),
    ("blame", &["src", "lab/src"], "poison"),
    ("shed", &["src"], "rate limit"),
    ("sheds", &["src"], "rate limit"),
    ("shedding", &["src", "lab/src"], "rate limit"),
    ("canary", &["src", "lab/src"], "delay probe"),
    ("fly", &["src", "lab/src"], "run, probe"),
    ("screen", &["src"], "sanitize"),
    ("screened", &["src"], "sanitized"),
    ("mend", &["src"], "sanitize"),
    ("mended", &["src"], "sanitized"),
    ("thin", &["src"], "sanitize, reduce"),
    ("bury", &["src", "lab/src", "schema"], "dead letter; prune for workers"),
    ("nudge", &["src", "lab/src", "schema"], "notify"),
    ("wish", &["src", "lab/src", "schema"], "request"),
    ("ring", RING, "routes, bindings"),
    ("rings", RING, "routes, bindings"),
    (FORMER_CODE, &["src", "lab/src", "schema"], "wrong_partition"),
    ("nobody", &["src/tls.rs", "src/broker", "src/store"], "no_tls"),
];

/// Elsewhere it is the cryptography's crate.
const RING: &[&str] = &[
    "src/broker",
    "src/cli",
    "src/client",
    "src/domain",
    "src/engine",
    "src/message",
    "src/store",
    "src/worker",
    "lab/src/soak/chaos",
];

/// In two parts, as below, so that a search for it finds only the changelog and the decision records.
const FORMER_CODE: &str = concat!("mis", "routed");

/// Files and directories that would say nothing about what is in them.
const FILES: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "manager"];

/// Tables, and the rows that a trigger sees.
const SQL: [(&str, &str); 8] = [
    ("announcements", "outbox_messages"),
    ("wake_ups", "timers"),
    ("suspects", "delivery_attempts"),
    ("requests", "processed_commands"),
    ("fresh", "new_rows"),
    ("stale", "old_rows"),
    ("gone", "old_rows"),
    ("entered", "new_rows"),
];

/// Names that terminals, operators and databases see, wherever they stand.
pub const NAMES: [(&str, &str); 5] = [
    ("controller-time", "sent-at"),
    ("internal_poison", "internal_error"),
    ("role add", "account add"),
    ("topology account", "account add"),
    ("biller add", "account add"),
];

/// Names of what is gone. Only the changelog and the decision records tell of it.
pub const GONE: [(&str, &str); 7] = [
    (FORMER_CODE, "wrong_partition"),
    (concat!("consistent", " hash"), "one binding per server"),
    (concat!("consistent", "-hash"), "one binding per server"),
    (concat!("consistent", "_hash"), "no plugin"),
    (concat!("hash", " ring"), "one binding per server"),
    ("header `server`", "the routing key's last word"),
    ("headers.server", "routing_key"),
];

/// What should be written instead of an identifier of the file `path`; `None` if it is fine.
pub fn better(path: &str, identifier: &str) -> Option<&'static str> {
    let in_one_of = |rooms: &[&str]| rooms.iter().any(|room| path.starts_with(room));
    if path.ends_with(".sql")
        && let Some((_, better)) = SQL.iter().find(|(word, _)| *word == identifier)
    {
        return Some(better);
    }
    let types = TYPES.iter().find(|(name, rooms, _)| *name == identifier && in_one_of(rooms));
    let words = format!("_{}_", snake_case(identifier));
    let word = WORDS
        .iter()
        .find(|(word, rooms, _)| words.contains(&format!("_{word}_")) && in_one_of(rooms));
    types.or(word).map(|(_, _, better)| *better)
}

/// What a file of that name should be called instead.
pub fn better_file(path: &str, stem: &str) -> Option<&'static str> {
    let nameless = FILES.contains(&stem).then_some("what it is for");
    nameless.or_else(|| better(path, stem))
}

/// `CamelCase` and `SHOUTED` as `snake_case`.
fn snake_case(identifier: &str) -> String {
    if identifier.chars().all(|c| !c.is_lowercase()) {
        return identifier.to_lowercase();
    }
    let mut snake = String::new();
    for c in identifier.chars() {
        if c.is_uppercase() && !snake.is_empty() && !snake.ends_with('_') {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn words_are_found_inside_identifiers() {
    assert_eq!(snake_case("SanitizingReactor"), "sanitizing_reactor");
    assert_eq!(snake_case("SETTLE_MAX"), "settle_max");
    for identifier in ["nudge_workers", "NudgeWorkers", "NUDGE"] {
        assert_eq!(better("src/store/mod.rs", identifier), Some("notify"), "{identifier}");
    }
    assert_eq!(better("src/broker/x.rs", "RingOrder"), Some("routes, bindings"));
    for identifier in ["alarm", "charm_all", "legal", "tokio_util", "string"] {
        assert_eq!(better("src/store/mod.rs", identifier), None, "{identifier}");
    }
    assert_eq!(better("src/store/sql/x.sql", "gone"), Some("old_rows"));
    assert_eq!(better("src/worker/clock.rs", "Instant"), None);
    assert!(better_file("src/store/util.rs", "util").is_some());
}
