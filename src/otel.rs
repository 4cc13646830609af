//! Export of spans by OTLP over HTTP, to the collector that the environment names.
//!
//! The settings are OpenTelemetry's own. Those of sampling, of the queue and of the resource are read by its SDK.
//! A worker decides without a collector as with one: what the queue has no room for is dropped, and a wrong
//! setting is a warning.

use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use async_trait::async_trait;
use holdfast::engine::spans;
use holdfast::tls;
use opentelemetry::KeyValue;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::Client;
use tokio::runtime::Handle;
use tracing::{info, warn};

/// Bound on exporting what is left when the process ends. Supervisors wait ten seconds or longer.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// Default bound on one request, as OpenTelemetry has it.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Variables that name the collector; the first that is set counts.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

const CERTIFICATES: [&str; 2] =
    ["OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE"];

/// The export until the process ends.
pub struct Export(Option<SdkTracerProvider>);

/// Begins to export if a collector is named. Logs why it does not, if it should.
pub fn start(environment: impl Fn(&str) -> Option<OsString>) -> Export {
    let variable = |names: &[&str]| {
        let set = names.iter().filter_map(|name| environment(name)?.into_string().ok());
        set.map(|value| value.trim().to_owned()).find(|value| !value.is_empty())
    };
    let disabled =
        variable(&["OTEL_SDK_DISABLED"]).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    let exporter = variable(&["OTEL_TRACES_EXPORTER"]);
    let none = exporter.as_deref().is_some_and(|name| name == "none");
    let Some(endpoint) = variable(&ENDPOINTS).filter(|_| !disabled && !none) else {
        return Export(None);
    };
    match provider(exporter.as_deref(), &variable) {
        Ok(provider) => {
            spans::start(BoxedTracer::new(Box::new(provider.tracer("holdfast"))));
            info!(endpoint, "spans are exported");
            Export(Some(provider))
        }
        Err(error) => {
            warn!(endpoint, error = format!("{error:#}"), "spans are not exported");
            Export(None)
        }
    }
}

fn provider(
    exporter: Option<&str>,
    variable: &dyn Fn(&[&str]) -> Option<String>,
) -> Result<SdkTracerProvider> {
    if let Some(name) = exporter.filter(|name| *name != "otlp") {
        bail!("OTEL_TRACES_EXPORTER is {name:?}, expected otlp or none");
    }
    if let Some(protocol) = variable(&PROTOCOLS) {
        ensure!(
            protocol == "http/protobuf",
            "OTEL_EXPORTER_OTLP_PROTOCOL is {protocol:?}, expected http/protobuf; collectors listen for \
             it on port 4318"
        );
    }
    let timeout = match variable(&TIMEOUTS) {
        None => REQUEST_TIMEOUT,
        Some(text) => Duration::from_millis(text.parse().with_context(|| {
            format!("OTEL_EXPORTER_OTLP_TIMEOUT is {text:?}, expected milliseconds")
        })?),
    };
    let tls = tls::client_config(variable(&CERTIFICATES).as_deref())?;
    let client = Client::builder().timeout(timeout).tls_backend_preconfigured((*tls).clone());
    let http = Http { client: client.build()?, runtime: Handle::current() };
    let exporter = SpanExporter::builder().with_http().with_http_client(http).build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource(variable))
        .with_batch_exporter(exporter)
        .build())
}

/// With the attributes of `OTEL_RESOURCE_ATTRIBUTES`.
fn resource(variable: &dyn Fn(&[&str]) -> Option<String>) -> Resource {
    let attributes = variable(&["OTEL_RESOURCE_ATTRIBUTES"]).unwrap_or_default();
    let named = variable(&["OTEL_SERVICE_NAME"]).is_some() || attributes.contains("service.name=");
    let mut resource = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("process.pid", i64::from(std::process::id())));
    if !named {
        resource = resource.with_service_name("holdfast");
    }
    resource.build()
}

impl Export {
    /// Exports what is left, for a moment.
    pub async fn finish(self) {
        let Some(provider) = self.0 else { return };
        let flush = move || provider.shutdown_with_timeout(FLUSH_TIMEOUT);
        match tokio::task::spawn_blocking(flush).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "the last spans may not have been exported"),
            Err(error) => warn!(%error, "the last spans were not exported"),
        }
    }
}

/// Sends from the runtime, since the exporter's own thread has none.
#[derive(Debug)]
struct Http {
    client: Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { client.send_bytes(request).await }).await?
    }
}
