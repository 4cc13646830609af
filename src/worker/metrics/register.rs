//! Series of the metrics on the list.

use std::marker::PhantomData;

use metrics::{Counter, Gauge, Histogram, Key, Label as KeyLabel, Level, Metadata, Recorder};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::labels::Label;
use super::list::{ALL, Kind, LabelOf, Metric, Scope};

/// A series for each value of a label.
pub struct By<A, H>(Vec<H>, PhantomData<A>);

impl<A: Label, H> By<A, H> {
    pub fn of(&self, value: A) -> &H {
        &self.0[value.index()]
    }
}

/// A series for each pair of values of two labels.
pub struct By2<A, B, H>(Vec<H>, usize, PhantomData<(A, B)>);

impl<A: Label, B: Label, H> By2<A, B, H> {
    pub fn of(&self, first: A, second: B) -> &H {
        &self.0[first.index() * self.1 + second.index()]
    }
}

/// Empty, with the descriptions and buckets of the listed metrics.
pub fn recorder(scope: Scope) -> PrometheusRecorder {
    let of_scope = || ALL.iter().filter(|metric| metric.scope == scope);
    let builder = of_scope().filter(|metric| metric.kind == Kind::Histogram).fold(
        PrometheusBuilder::new(),
        |builder, metric| {
            let buckets = (Matcher::Full(metric.name.to_owned()), metric.buckets);
            let set = builder.set_buckets_for_metric(buckets.0, buckets.1);
            set.expect("every histogram on the list has buckets")
        },
    );
    let recorder = builder.build_recorder();
    for metric in of_scope() {
        let (name, help) = (metric.name.into(), metric.help.into());
        match metric.kind {
            Kind::Counter => recorder.describe_counter(name, None, help),
            Kind::Gauge => recorder.describe_gauge(name, None, help),
            Kind::Histogram => recorder.describe_histogram(name, None, help),
        }
    }
    recorder
}

/// Makes handles.
pub struct Registrar<'a>(pub &'a dyn Recorder);

type Register<'a, H> = &'a dyn Fn(&dyn Recorder, &Key, &Metadata<'_>) -> H;

const COUNTER: Register<'static, Counter> =
    &|recorder, key, metadata| recorder.register_counter(key, metadata);
const GAUGE: Register<'static, Gauge> =
    &|recorder, key, metadata| recorder.register_gauge(key, metadata);
const HISTOGRAM: Register<'static, Histogram> =
    &|recorder, key, metadata| recorder.register_histogram(key, metadata);

impl Registrar<'_> {
    pub fn counter(&self, metric: &'static Metric) -> Counter {
        self.one(metric, COUNTER, Vec::new())
    }

    pub fn gauge(&self, metric: &'static Metric) -> Gauge {
        self.one(metric, GAUGE, Vec::new())
    }

    pub fn histogram(&self, metric: &'static Metric) -> Histogram {
        self.one(metric, HISTOGRAM, Vec::new())
    }

    pub fn counters_by<A: Label>(&self, metric: &'static Metric) -> By<A, Counter> {
        self.by(metric, COUNTER)
    }

    pub fn gauges_by<A: Label>(&self, metric: &'static Metric) -> By<A, Gauge> {
        self.by(metric, GAUGE)
    }

    pub fn histograms_by<A: Label>(&self, metric: &'static Metric) -> By<A, Histogram> {
        self.by(metric, HISTOGRAM)
    }

    pub fn counters_by2<A: Label, B: Label>(&self, metric: &'static Metric) -> By2<A, B, Counter> {
        self.by2(metric, COUNTER)
    }

    pub fn gauges_by2<A: Label, B: Label>(&self, metric: &'static Metric) -> By2<A, B, Gauge> {
        self.by2(metric, GAUGE)
    }

    /// The series with this value of the metric's only label.
    pub fn gauge_with(&self, metric: &'static Metric, value: impl Into<String>) -> Gauge {
        let [LabelOf { name, .. }] = metric.labels else {
            panic!("{} has another number of labels", metric.name)
        };
        self.one(metric, GAUGE, vec![KeyLabel::new(*name, value.into())])
    }

    fn by<A: Label, H>(&self, metric: &'static Metric, register: Register<'_, H>) -> By<A, H> {
        check_labels(metric, &[A::NAME]);
        let words = A::words().into_iter();
        let series =
            words.map(|word| self.one(metric, register, vec![KeyLabel::new(A::NAME, word)]));
        By(series.collect(), PhantomData)
    }

    fn by2<A: Label, B: Label, H>(
        &self,
        metric: &'static Metric,
        register: Register<'_, H>,
    ) -> By2<A, B, H> {
        check_labels(metric, &[A::NAME, B::NAME]);
        let seconds = B::words();
        let mut series = Vec::new();
        for first in A::words() {
            for second in &seconds {
                let labels = vec![KeyLabel::new(A::NAME, first), KeyLabel::new(B::NAME, *second)];
                series.push(self.one(metric, register, labels));
            }
        }
        By2(series, seconds.len(), PhantomData)
    }

    fn one<H>(
        &self,
        metric: &'static Metric,
        register: Register<'_, H>,
        labels: Vec<KeyLabel>,
    ) -> H {
        let metadata = Metadata::new("holdfast", Level::INFO, None);
        register(self.0, &Key::from_parts(metric.name, labels), &metadata)
    }
}

/// Every worker makes all handles when it starts, so this holds once any test has started one.
fn check_labels(metric: &Metric, names: &[&str]) {
    let listed: Vec<&str> = metric.labels.iter().map(|label| label.name).collect();
    assert_eq!(listed, names, "the labels of {}", metric.name);
}
