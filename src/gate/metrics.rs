//! What a gate counts, for Prometheus. Labels have values from closed lists.

use std::time::Duration;

use metrics::{Key, Label, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use crate::domain::admission::live::Role;

const ASKED: &str = "holdfast_gate_requests_total";
const ANSWER_SECONDS: &str = "holdfast_gate_answer_seconds";
const CUTS: &str = "holdfast_gate_disconnects_total";
const SESSIONS: &str = "holdfast_gate_sessions";
const PLAN_SECONDS: &str = "holdfast_gate_plan_age_seconds";
const PLAN_ENTRIES: &str = "holdfast_gate_plan_reservations";
const READY: &str = "holdfast_gate_ready";
const LOST: &str = "holdfast_gate_records_lost_total";

/// Metrics and what they mean.
const HELP: [(&str, &str); 8] = [
    (ASKED, "Requests of the streaming server, by what was asked and how it was answered"),
    (ANSWER_SECONDS, "Time from a request of the streaming server to its answer"),
    (CUTS, "Clients that were told to go, by reason"),
    (SESSIONS, "Connected clients, by role"),
    (PLAN_SECONDS, "Age of the plan"),
    (PLAN_ENTRIES, "Reservations in the plan"),
    (READY, "Whether a check of /ready passes"),
    (LOST, "Records of use that were dropped because the database was away for too long"),
];

/// Bounds of the buckets of answers, in seconds: memory, or a client that is disconnected first.
const BUCKETS: [f64; 7] = [0.000_1, 0.001, 0.005, 0.025, 0.1, 0.5, 1.0];

/// The word of a role in labels.
pub fn role_word(role: Role) -> &'static str {
    match role {
        Role::Publisher => "publisher",
        Role::Viewer => "viewer",
    }
}

/// A gate's series.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
}

impl Metrics {
    /// Counts from zero.
    pub fn new() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(ANSWER_SECONDS.to_owned()), &BUCKETS)
            .expect("there are buckets");
        let recorder = builder.build_recorder();
        for (name, help) in HELP {
            match name {
                ASKED | CUTS | LOST => recorder.describe_counter(name.into(), None, help.into()),
                ANSWER_SECONDS => recorder.describe_histogram(name.into(), None, help.into()),
                _ => recorder.describe_gauge(name.into(), None, help.into()),
            }
        }
        let handle = recorder.handle();
        Self { recorder, handle }
    }

    /// A request was answered.
    pub fn answered(&self, asked: &'static str, answer: &'static str, took: Duration) {
        let labels = vec![Label::new("asked", asked), Label::new("answer", answer)];
        let counter = self.recorder.register_counter(&Key::from_parts(ASKED, labels), &METADATA);
        counter.increment(1);
        let key = Key::from_parts(ANSWER_SECONDS, vec![Label::new("asked", asked)]);
        self.recorder.register_histogram(&key, &METADATA).record(took);
    }

    /// A client was told to go.
    pub fn told_to_go(&self, why: &'static str) {
        let key = Key::from_parts(CUTS, vec![Label::new("reason", why)]);
        self.recorder.register_counter(&key, &METADATA).increment(1);
    }

    /// Whether a check passes.
    pub fn ready(&self, check: &'static str, ok: bool) {
        self.set(READY, vec![Label::new("check", check)], f64::from(u8::from(ok)));
    }

    /// Connected clients in a role.
    pub fn sessions(&self, role: Role, count: usize) {
        self.set(SESSIONS, vec![Label::new("role", role_word(role))], count as f64);
    }

    /// Size and age of the plan.
    pub fn plan(&self, reservations: usize, age_seconds: f64) {
        self.set(PLAN_ENTRIES, Vec::new(), reservations as f64);
        self.set(PLAN_SECONDS, Vec::new(), age_seconds);
    }

    /// Dropped records, since the start.
    pub fn lost(&self, records: u64) {
        let key = Key::from_parts(LOST, Vec::new());
        self.recorder.register_counter(&key, &METADATA).absolute(records);
    }

    /// The text for Prometheus. Recorded values are sorted into their buckets now and then; until then each takes
    /// memory.
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }

    /// The same without a text.
    pub fn keep_up(&self) {
        self.handle.run_upkeep();
    }

    fn set(&self, name: &'static str, labels: Vec<Label>, value: f64) {
        self.recorder.register_gauge(&Key::from_parts(name, labels), &METADATA).set(value);
    }
}

const METADATA: Metadata<'static> = Metadata::new("holdfast", Level::INFO, None);
