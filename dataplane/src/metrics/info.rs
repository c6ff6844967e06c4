//! What is looked up when a scraper asks: the process, and which models are loaded.

use std::{
    fs,
    sync::{Mutex, PoisonError},
};

use prometheus::{
    Counter, Gauge, IntGaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use crate::repository::Repository;

/// Linux counts CPU time and starts in hundredths of a second, on every architecture that it tells programs about.
const TICKS: f64 = 100.0;

/// A metric without labels.
pub(super) struct Measure {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
}

/// CPU, memory, start and open files of this process, from `/proc`. Where there is none, there are none of them.
pub(super) struct Process {
    cpu: Counter,
    memory: Gauge,
    started: Gauge,
    files: Gauge,
    /// Held from a look to where it is counted: of two scrapes at once each would add what the other has added already.
    looking: Mutex<()>,
}

impl Process {
    pub(super) fn new([cpu, memory, started, files]: &[Measure; 4]) -> prometheus::Result<Self> {
        let gauge = |measure: &Measure| Gauge::new(measure.name, measure.help);
        Ok(Self {
            cpu: Counter::new(cpu.name, cpu.help)?,
            memory: gauge(memory)?,
            started: gauge(started)?,
            files: gauge(files)?,
            looking: Mutex::default(),
        })
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        [self.cpu.desc(), self.memory.desc(), self.started.desc(), self.files.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let _looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seen) = Seen::now() else { return Vec::new() };
        self.cpu.inc_by((seen.cpu - self.cpu.get()).max(0.0));
        self.memory.set(seen.memory);
        self.started.set(seen.started);
        self.files.set(seen.files);
        [self.cpu.collect(), self.memory.collect(), self.started.collect(), self.files.collect()].concat()
    }
}

struct Seen {
    cpu: f64,
    memory: f64,
    started: f64,
    files: f64,
}

impl Seen {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in brackets, and may have spaces and brackets itself.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| Some(fields.get(field - 3)?.parse::<f64>().ok()? / TICKS);
        let since_boot = ticks(22)?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: f64 = memory.trim().strip_suffix("kB")?.trim().parse().ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let files = fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Self {
            cpu: ticks(14)? + ticks(15)?,
            memory: kilobytes * 1024.0,
            started: boot + since_boot,
            files: u32::try_from(files.saturating_sub(1)).map(f64::from).ok()?, // without the one that counts them
        })
    }
}

/// One series for each model that is loaded: a version that was swapped out is gone with the next scrape.
pub(super) struct Models {
    options: Opts,
    shape: IntGaugeVec,
    repository: Repository,
}

const MODEL_LABELS: [&str; 3] = ["model", "version", "digest"];

impl Models {
    pub(super) fn new(options: Opts, repository: Repository) -> prometheus::Result<Self> {
        Ok(Self { shape: IntGaugeVec::new(options.clone(), &MODEL_LABELS)?, options, repository })
    }
}

impl Collector for Models {
    fn desc(&self) -> Vec<&Desc> {
        self.shape.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Ok(family) = IntGaugeVec::new(self.options.clone(), &MODEL_LABELS) else { return Vec::new() };
        for model in self.repository.loaded() {
            let metadata = model.metadata();
            let labels =
                [metadata.name.as_str(), metadata.version().unwrap_or_default(), metadata.digest().unwrap_or_default()];
            family.with_label_values(&labels).set(1);
        }
        family.collect()
    }
}
