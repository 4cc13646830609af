//! Spans by OpenTelemetry's API. Attributes have the names of its semantic conventions for messaging, where
//! there are any.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "spans are measured by this process's clock, and decide nothing"
)]

use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::context::FutureExt;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{
    Link, SpanContext, SpanKind, Status, TraceContextExt, TraceFlags, TraceState, Tracer,
};
use opentelemetry::{Context, KeyValue};

use crate::broker::topology::partition_queue;
use crate::domain::refusal::Code;
use crate::domain::trace::Trace;
use crate::message::envelope::{Received, printable};

/// Set once, before the first batch. Without it nothing is recorded.
static TRACER: OnceLock<BoxedTracer> = OnceLock::new();

/// Records all spans from now on with this tracer; the first one stays.
pub fn start(tracer: BoxedTracer) {
    TRACER.set(tracer).ok();
}

/// A batch and its messages. All their spans end when this is dropped.
#[derive(Default)]
pub struct BatchSpan(Option<Box<Recorded>>);

struct Recorded {
    began: SystemTime,
    queue: String,
    // Dropped before the batch's own: a span must not outlast what it is part of.
    messages: Vec<Context>,
    batch: Context,
}

/// A part of something. Its span ends when this is dropped.
pub struct Phase {
    _span: Option<Context>,
}

impl BatchSpan {
    /// Begins.
    pub fn begin<'a>(partition: i32, messages: impl Iterator<Item = &'a Received>) -> Self {
        let Some(tracer) = TRACER.get() else { return Self(None) };
        let queue = partition_queue(partition);
        let mut count: i64 = 0;
        let mut links = Vec::new();
        for message in messages {
            count += 1;
            links.extend(message.trace.as_ref().map(|trace| Link::with_context(remote(trace))));
        }
        let span = tracer
            .span_builder("batch")
            .with_kind(SpanKind::Consumer)
            .with_links(links)
            .with_attributes([
                KeyValue::new("messaging.system", "rabbitmq"),
                KeyValue::new("messaging.destination.name", queue.clone()),
                KeyValue::new("messaging.batch.message_count", count),
            ])
            .start_with_context(tracer, &Context::new());
        Self(Some(Box::new(Recorded {
            began: SystemTime::now(),
            queue,
            messages: Vec::new(),
            batch: Context::new().with_span(span),
        })))
    }

    /// Adds a message with what became of it: a refusal's code, or an answer's type. Its span begins with
    /// the batch. Without a trace of its own, it belongs to the batch's.
    pub fn add(&mut self, received: &Received, outcome: &str) {
        let (Some(recorded), Some(tracer)) = (&mut self.0, TRACER.get()) else { return };
        let parent = match &received.trace {
            Some(trace) => Context::new().with_remote_span_context(remote(trace)),
            None => recorded.batch.clone(),
        };
        let batch = recorded.batch.span().span_context().clone();
        let text = |name: &'static str, value: Option<&str>| {
            value.map(|value| KeyValue::new(name, printable(value)))
        };
        let optional = [
            text("messaging.message.id", received.message_id.as_deref()),
            text("holdfast.terminal", received.user_id.as_deref()),
            received.reservation().map(|id| KeyValue::new("holdfast.reservation", id.to_string())),
        ];
        let attributes = [
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.destination.name", recorded.queue.clone()),
            KeyValue::new("holdfast.outcome", outcome.to_owned()),
        ];
        let failed = outcome == Code::InternalError.as_str();
        let span = tracer
            .span_builder(format!("process {}", received.word()))
            .with_kind(SpanKind::Consumer)
            .with_start_time(recorded.began)
            .with_links(vec![Link::with_context(batch)])
            .with_attributes(attributes.into_iter().chain(optional.into_iter().flatten()))
            .start_with_context(tracer, &parent);
        let context = Context::new().with_span(span);
        if failed {
            context.span().set_status(Status::error("could not be decided"));
        }
        recorded.messages.push(context);
    }

    /// Phases that begin in `work` belong to the batch.
    pub fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        let context = self.0.as_ref().map(|recorded| recorded.batch.clone());
        work.with_context(context.unwrap_or_default())
    }

    /// Begins a phase of the batch.
    pub fn phase(&self, name: &'static str) -> Phase {
        Phase { _span: self.0.as_ref().and_then(|recorded| part(name, &recorded.batch)) }
    }
}

impl Phase {
    /// Ends.
    pub fn end(self) {}
}

/// Begins a phase of the batch at hand; without one, nothing.
pub fn phase(name: &'static str) -> Phase {
    let context = Context::current();
    Phase { _span: context.has_active_span().then(|| part(name, &context)).flatten() }
}

/// Begins the publishing of an event or notice in the trace that led to it; without one, nothing.
pub fn publishing(type_name: &str, message_id: uuid::Uuid, trace: Option<&Trace>) -> Phase {
    let (Some(tracer), Some(trace)) = (TRACER.get(), trace) else { return Phase { _span: None } };
    let span = tracer
        .span_builder(format!("publish {type_name}"))
        .with_kind(SpanKind::Producer)
        .with_attributes([
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.message.id", message_id.to_string()),
        ])
        .start_with_context(tracer, &Context::new().with_remote_span_context(remote(trace)));
    Phase { _span: Some(Context::new().with_span(span)) }
}

fn part(name: &'static str, of: &Context) -> Option<Context> {
    let tracer = TRACER.get()?;
    let span = tracer.span_builder(name).start_with_context(tracer, of);
    Some(Context::new().with_span(span))
}

fn remote(trace: &Trace) -> SpanContext {
    let state = trace.state().and_then(|state| state.parse::<TraceState>().ok());
    SpanContext::new(
        trace.parent().trace_id.into(),
        trace.parent().span_id.into(),
        TraceFlags::new(trace.parent().flags) & TraceFlags::SAMPLED,
        true,
        state.unwrap_or_default(),
    )
}
