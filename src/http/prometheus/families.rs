//! Which metrics there are: their names, units and values. A name is without the prefix, the unit
//! and the suffix, which the encoder adds.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::domain::{BOUNDS_US, GateMetrics, GateState, Histogram, Metrics, Outcome};
use crate::http::answer::seconds;
use crate::http::meter::{self, Measured, Meter};

/// Labels of a value: a few names, each with what it is.
type Labels<'a> = &'a [(&'static str, &'a str)];

/// What there is to show at one moment.
#[derive(Debug)]
pub(super) struct Moment {
    metrics: Metrics,
    requests: Vec<Measured>,
    began_us: u64,
}

impl Moment {
    pub(super) fn new(metrics: Metrics, meter: &Meter) -> Self {
        Self { metrics, requests: meter.measured(), began_us: meter.began_us() }
    }
}

impl Collector for Moment {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.daemon(&mut page)?;
        self.tasks(&mut page)?;
        self.agents(&mut page)?;
        self.gates(&mut page)?;
        self.schedules(&mut page)?;
        self.isolation(&mut page)?;
        self.store(&mut page)?;
        self.requests(&mut page)
    }
}

impl Moment {
    fn daemon(&self, page: &mut Page<'_>) -> fmt::Result {
        let version: Labels<'_> = &[("version", env!("CARGO_PKG_VERSION"))];
        page.gauges("build_info", "Always 1; its label is the version", None, &[(version, 1.0)])?;
        let began = seconds(self.began_us);
        let help = "When the daemon began, in seconds since the Unix epoch";
        page.gauge("process_start_time", help, Some(&Unit::Seconds), began)
    }

    fn tasks(&self, page: &mut Page<'_>) -> fmt::Result {
        let metrics = &self.metrics;
        page.gauges(
            "tasks",
            "Tasks that have not ended, by status",
            None,
            &[
                (&[("status", "pending")], metrics.tasks_pending as f64),
                (&[("status", "in_progress")], metrics.tasks_in_progress as f64),
            ],
        )?;
        page.counter(
            "tasks_submitted",
            "Accepted submits and retries by order",
            metrics.tasks_total,
        )?;
        page.counters(
            "tasks_ended",
            "Tasks that ended, by status",
            &[
                (&[("status", "completed")], metrics.tasks_completed),
                (&[("status", "failed")], metrics.tasks_failed),
                (&[("status", "cancelled")], metrics.tasks_cancelled),
            ],
        )?;
        let help = "Refused submits, and refused retries by order";
        page.counter("tasks_rejected", help, metrics.tasks_rejected)?;
        page.counter(
            "tasks_requeued",
            "Tasks that came back to the queue",
            metrics.tasks_requeued,
        )?;
        page.counter("assignments", "Tasks that were given to an agent", metrics.assignments)?;
        let help = "Tasks that rules made of results";
        page.counter("follow_ups_created", help, metrics.follow_ups_created)?;
        let help = "Items of results whose task was there already";
        page.counter("follow_ups_skipped", help, metrics.follow_ups_skipped)?;
        let help = "Items of results that nothing could be made of";
        page.counter("follow_ups_invalid", help, metrics.follow_ups_invalid)?;
        page.gauge("queue_length", "Tasks that wait", None, metrics.queue_length as f64)?;
        let waits =
            metrics.oldest_wait.iter().map(|oldest| (oldest.priority.to_string(), oldest.wait_s));
        let waits: Vec<_> = waits.collect();
        let labels: Vec<_> = waits
            .iter()
            .map(|(priority, wait_s)| ([("priority", priority.as_str())], *wait_s))
            .collect();
        let waits: Vec<_> =
            labels.iter().map(|(labels, wait_s)| (labels.as_slice(), *wait_s)).collect();
        let help = "The longest wait of a pending task, by priority";
        page.gauges("queue_oldest_wait", help, Some(&Unit::Seconds), &waits)?;
        let help = "First starts later than queue.assignment_latency_target_ms";
        let over_target = metrics.assignment_latency_over_target;
        page.counter("assignment_latency_over_target", help, over_target)?;
        page.counters(
            "model_tokens",
            "Tokens of language models, as far as agents said so",
            &[
                (&[("direction", "input")], metrics.input_tokens),
                (&[("direction", "output")], metrics.output_tokens),
            ],
        )?;
        let histograms = &metrics.histograms;
        let help = "From when a task became pending to its assignment";
        page.durations("task_queue_wait", help, [(&[][..], &histograms.queue_wait)])?;
        let help = "From the submit, or the retry by order, to the first start";
        page.durations("assignment_latency", help, [(&[][..], &histograms.assignment_latency)])?;
        let attempts = Outcome::ALL.map(|outcome| [("outcome", outcome.name())]);
        let attempts = attempts.iter().map(<[_; 1]>::as_slice).zip(&histograms.attempts);
        let help = "From start to end of an attempt, by how it ended";
        page.durations("attempt_duration", help, attempts)
    }

    fn agents(&self, page: &mut Page<'_>) -> fmt::Result {
        let agents = self.metrics.agents;
        page.gauges(
            "agents",
            "Agents of the pool, by status",
            None,
            &[
                (&[("status", "idle")], agents.idle as f64),
                (&[("status", "analyzing")], agents.analyzing as f64),
                (&[("status", "executing")], agents.executing as f64),
                (&[("status", "degraded")], agents.degraded as f64),
            ],
        )?;
        let help = "Agents that have a run, also one whose task was cancelled";
        page.gauge("active_coordinations", help, None, self.metrics.active_coordinations as f64)?;
        let help = "Tasks in progress that have an unfinished child which is not detached";
        page.gauge("waiting_parents", help, None, self.metrics.waiting_parents as f64)
    }

    fn gates(&self, page: &mut Page<'_>) -> fmt::Result {
        let gates = &self.metrics.gates;
        let labels: Vec<_> = gates.iter().map(|gate| [("gate", gate.name.as_str())]).collect();
        let labels = || labels.iter().map(<[_; 1]>::as_slice);
        let is_open = |gate: &GateMetrics| f64::from(u8::from(gate.state == GateState::Open));
        let open: Vec<_> = labels().zip(gates.iter().map(is_open)).collect();
        let help = "1 while the tasks behind a gate may run, else 0";
        page.gauges("gate_open", help, None, &open)?;
        let waiting = gates.iter().map(|gate| gate.tasks_waiting as f64);
        let waiting: Vec<_> = labels().zip(waiting).collect();
        page.gauges("gate_tasks_waiting", "Tasks that wait for a gate", None, &waiting)?;
        let closures = gates.iter().map(|gate| gate.closures);
        let closures: Vec<_> = labels().zip(closures).collect();
        page.counters("gate_closures", "Times that a gate was closed", &closures)
    }

    fn schedules(&self, page: &mut Page<'_>) -> fmt::Result {
        let jobs = &self.metrics.schedules;
        let labels: Vec<_> = jobs.iter().map(|job| [("schedule", &*job.name)]).collect();
        let labels = || labels.iter().map(<[_; 1]>::as_slice);
        let runs: Vec<_> = labels().zip(jobs.iter().map(|job| job.runs)).collect();
        page.counters("schedule_runs", "Runs of recurring jobs, in all", &runs)?;
        let skips = jobs.iter().map(|job| job.skipped.values().sum());
        let skips: Vec<_> = labels().zip(skips).collect();
        let help = "Times that recurring jobs were due and did not run, in all";
        page.counters("schedule_skipped", help, &skips)
    }

    fn isolation(&self, page: &mut Page<'_>) -> fmt::Result {
        let isolation = self.metrics.isolation;
        let help = "What agents shared or had and must not, at the last check";
        page.gauge("isolation_breaches", help, None, isolation.breaches as f64)?;
        let help = "What checks and canaries found of that";
        page.counter("isolation_breaches_found", help, isolation.breaches_found)?;
        let help = "Checks of how far the agents are kept apart";
        page.counter("isolation_checks", help, isolation.checks)
    }

    fn store(&self, page: &mut Page<'_>) -> fmt::Result {
        let store = &self.metrics.store;
        let bytes = Some(&Unit::Bytes);
        page.gauge("store_file", "The database file", bytes, store.file_bytes as f64)?;
        let help = "What was written and is not in the database file yet";
        page.gauge("store_wal", help, bytes, store.wal_bytes as f64)?;
        let help = "What is free on the file system of the store; 0 without a file";
        page.gauge("store_free", help, bytes, store.free_bytes as f64)?;
        page.counter("store_commits", "Writes to the disk", store.commits)?;
        let help = "Changes of the pool that those writes made durable";
        page.counter("store_turns", help, store.turns)?;
        let help = "Ended tasks that were forgotten because they were too old";
        page.counter("store_expired_tasks", help, store.expired)
    }

    fn requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let help = "From the head of a request to its answer, waits that it asked for included";
        let seconds_of = Some(&Unit::Seconds);
        let mut family = page.0.encode_descriptor(
            "http_request_duration",
            help,
            seconds_of,
            MetricType::Histogram,
        )?;
        for Measured { route, method, class, counts, sum_us } in &self.requests {
            let labels: Labels<'_> =
                &[("route", route), ("method", method), ("status_class", class)];
            buckets(family.encode_family(&labels)?, &meter::BOUNDS_US, counts, *sum_us)?;
        }
        Ok(())
    }
}

/// Where metrics are written to.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn gauge(&mut self, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        family.encode_gauge(&value)
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: &[(Labels<'_>, f64)],
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        values
            .iter()
            .try_for_each(|(labels, value)| family.encode_family(labels)?.encode_gauge(value))
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn counters(&mut self, name: &str, help: &str, values: &[(Labels<'_>, u64)]) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.iter().try_for_each(|(labels, value)| {
            family.encode_family(labels)?.encode_counter::<NoLabelSet, _, u64>(value, None)
        })
    }

    fn durations<'a>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<'a>, &'a Histogram)>,
    ) -> fmt::Result {
        let seconds_of = Some(&Unit::Seconds);
        let mut family = self.0.encode_descriptor(name, help, seconds_of, MetricType::Histogram)?;
        values.into_iter().try_for_each(|(labels, histogram)| {
            let family = family.encode_family(&labels)?;
            buckets(family, &BOUNDS_US, histogram.counts(), histogram.sum_us())
        })
    }
}

/// One histogram; the count of all is that of its buckets, so that they agree.
fn buckets(
    mut family: MetricEncoder<'_>,
    bounds_us: &[u64],
    counts: &[u64],
    sum_us: u64,
) -> fmt::Result {
    let bounds = bounds_us.iter().map(|&us| seconds(us)).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(counts.iter().copied()).collect();
    let count = counts.iter().sum();
    family.encode_histogram::<NoLabelSet>(seconds(sum_us), count, &buckets, None)
}
