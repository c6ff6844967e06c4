//! Live is not ready. Ready is when every latch is open and the server does not drain. Dependencies are told beside it and hold back
//! nothing: a server that can answer without one should not be taken away with it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{context::Context, error::Result, metrics::Metrics};

/// What holds a server back from being ready. Clones share their latches.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    latches: RwLock<Vec<Latch>>,
    conditions: RwLock<Vec<Condition>>,
    dependencies: RwLock<Vec<Dependency>>,
    draining: AtomicBool,
}

/// One condition of readiness. Clones are the same latch.
#[derive(Clone, Debug)]
pub struct Latch {
    name: &'static str,
    open: Arc<AtomicBool>,
}

impl Latch {
    /// The condition holds.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// The condition holds no more.
    pub fn close(&self) {
        self.open.store(false, Ordering::Release);
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }
}

/// A condition that is looked at whenever somebody asks.
struct Condition {
    name: &'static str,
    holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A service that this one asks, and whether it answers. Clones are the same dependency.
#[derive(Clone, Debug)]
pub struct Dependency {
    name: Arc<str>,
    up: Arc<AtomicBool>,
    metrics: Metrics,
    latch: Option<Latch>,
    /// The number of the last who began to look after it. Whoever was before has no more say.
    watch: Arc<Mutex<u64>>,
}

/// How a service is looked after. It counts as away when several looks in a row failed, and as back with the first good one: one look
/// that is lost is no reason to send everybody elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// What log lines call the service.
    pub what: &'static str,
    /// Time between two looks, and the longest that one may take.
    pub interval: Duration,
    /// Time between two looks while it is away: servers that start together should not wait for each other's clock.
    pub interval_away: Duration,
    /// Looks that must fail in a row before it counts as away.
    pub misses: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            what: "dependency",
            interval: Duration::from_secs(1),
            interval_away: Duration::from_millis(100),
            misses: 3,
        }
    }
}

impl Dependency {
    /// The server can't answer without it: this latch is opened and closed with it.
    #[must_use]
    pub fn with_latch(self, latch: Latch) -> Self {
        Self { latch: Some(latch), ..self }
    }

    /// Whether it answers.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// It answers, or does not.
    pub fn set(&self, up: bool) {
        self.told(up);
        match &self.latch {
            Some(latch) if up => latch.open(),
            Some(latch) => latch.close(),
            None => {}
        }
    }

    fn told(&self, up: bool) {
        self.up.store(up, Ordering::Release);
        self.metrics.dependency(&self.name, up);
    }

    /// Looks after it until another does, and [sets](Dependency::set) it. When this future is dropped and nobody else looks, it is told
    /// as away; its latch stays as it is, for nobody needs the service then.
    pub async fn watch<F>(&self, probe: Probe, look: impl Fn(Context) -> F)
    where
        F: Future<Output = Result<()>>,
    {
        let watch = Watch::begin(self);
        let (what, dependency, mut misses) = (probe.what, &*self.name, 0);
        while watch.is_last(&self.last()) {
            match look(Context::background(probe.interval)).await {
                Ok(()) => {
                    if !self.is_up() {
                        tracing::info!(dependency, "{what} is ready");
                    }
                    misses = 0;
                    watch.tell(true);
                }
                Err(error) => {
                    misses += 1;
                    if misses == 1 || (misses == probe.misses && self.is_up()) {
                        tracing::warn!(dependency, code = error.kind().row().code, %error, "{what} is not ready");
                    }
                    if misses >= probe.misses {
                        watch.tell(false);
                    }
                }
            }
            tokio::time::sleep(if self.is_up() { probe.interval } else { probe.interval_away }).await;
        }
    }

    fn last(&self) -> MutexGuard<'_, u64> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody looks after a dependency.
struct Watch<'a> {
    dependency: &'a Dependency,
    number: u64,
}

impl<'a> Watch<'a> {
    fn begin(dependency: &'a Dependency) -> Self {
        let mut last = dependency.last();
        *last += 1;
        Self { dependency, number: *last }
    }

    fn is_last(&self, last: &u64) -> bool {
        *last == self.number
    }

    /// Says how it is, unless another has begun to look.
    fn tell(&self, up: bool) {
        let last = self.dependency.last();
        if self.is_last(&last) {
            self.dependency.set(up);
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let last = self.dependency.last();
        if self.is_last(&last) {
            self.dependency.told(false);
        }
    }
}

impl Readiness {
    /// A service that this server asks, away until somebody says otherwise. Its name stands in the health body and in metrics.
    #[must_use]
    pub fn dependency(&self, name: &str, metrics: &Metrics) -> Dependency {
        let dependency = Dependency {
            name: name.into(),
            up: Arc::default(),
            metrics: metrics.clone(),
            latch: None,
            watch: Arc::default(),
        };
        dependency.set(false);
        self.0.dependencies.write().unwrap_or_else(PoisonError::into_inner).push(dependency.clone());
        dependency
    }

    /// Nobody asks this service any more: health and metrics don't tell of it.
    pub fn forget(&self, dependency: &Dependency) {
        let mut known = self.0.dependencies.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|known| !Arc::ptr_eq(&known.up, &dependency.up));
        *dependency.last() += 1; // who looks after it has no more say
        dependency.metrics.forget_dependency(&dependency.name);
    }

    /// The services that this server asks, by name, and whether they answer.
    #[must_use]
    pub fn dependencies(&self) -> BTreeMap<String, bool> {
        let dependencies = self.0.dependencies.read().unwrap_or_else(PoisonError::into_inner);
        let told = dependencies.iter();
        told.map(|dependency| (dependency.name.to_string(), dependency.is_up())).collect()
    }

    /// A new condition, closed until somebody opens it.
    #[must_use]
    pub fn latch(&self, name: &'static str) -> Latch {
        let latch = Latch { name, open: Arc::new(AtomicBool::new(false)) };
        self.0.latches.write().unwrap_or_else(PoisonError::into_inner).push(latch.clone());
        latch
    }

    /// A condition of its own making: `holds` is asked whenever somebody asks whether the server is ready, so it has to be quick.
    pub fn condition(&self, name: &'static str, holds: impl Fn() -> bool + Send + Sync + 'static) {
        let condition = Condition { name, holds: Box::new(holds) };
        self.0.conditions.write().unwrap_or_else(PoisonError::into_inner).push(condition);
    }

    /// From now on never ready again: the server is leaving.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// Whether the server is leaving.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// What the server waits for; empty when it is ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<&'static str> {
        if self.is_draining() {
            return vec!["draining"];
        }
        let latches = self.0.latches.read().unwrap_or_else(PoisonError::into_inner);
        let conditions = self.0.conditions.read().unwrap_or_else(PoisonError::into_inner);
        let closed = latches.iter().filter(|latch| !latch.is_open()).map(|latch| latch.name);
        closed
            .chain(conditions.iter().filter(|condition| !(condition.holds)()).map(|condition| condition.name))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    };

    use tokio::{task::JoinHandle, time::sleep};

    use super::{Dependency, Probe, Readiness};
    use crate::{
        error::{Error, Kind},
        metrics::Metrics,
    };

    /// A service that answers or does not, and how often it was looked at.
    #[derive(Clone, Default)]
    struct Service(Arc<(AtomicBool, AtomicUsize)>);

    impl Service {
        fn answers(&self, answers: bool) {
            self.0.0.store(answers, Ordering::SeqCst);
        }

        fn watched(&self, dependency: &Dependency) -> JoinHandle<()> {
            let (dependency, service) = (dependency.clone(), self.0.clone());
            tokio::spawn(async move {
                let look = |_| async {
                    service.1.fetch_add(1, Ordering::SeqCst);
                    let away = || Error::new(Kind::UpstreamUnavailable, "away");
                    service.0.load(Ordering::SeqCst).then_some(()).ok_or_else(away)
                };
                dependency.watch(Probe::default(), look).await;
            })
        }

        /// Until it has been looked at so many times more, and what was seen is told.
        async fn looks(&self, more: usize) {
            let wanted = self.0.1.load(Ordering::SeqCst) + more;
            while self.0.1.load(Ordering::SeqCst) < wanted {
                sleep(Probe::default().interval_away / 2).await;
            }
        }
    }

    fn shown(metrics: &Metrics, up: bool) -> bool {
        let line = format!("dependency_up{{dependency=\"ranking\"}} {}", u8::from(up));
        String::from_utf8(metrics.text()).unwrap().contains(&line)
    }

    #[tokio::test(start_paused = true)]
    async fn three_misses_in_a_row_close_and_one_good_look_opens() {
        let (readiness, metrics, service) = (Readiness::default(), Metrics::new().unwrap(), Service::default());
        let dependency = readiness.dependency("ranking", &metrics).with_latch(readiness.latch("predictor"));
        let _watch = service.watched(&dependency);
        service.looks(4).await;
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        let is_ready = || {
            let ready = readiness.waiting_for().is_empty();
            assert!(readiness.dependencies()["ranking"] == ready && shown(&metrics, ready), "all say the same");
            ready
        };
        service.answers(true);
        service.looks(1).await;
        assert!(is_ready(), "one good look opens");
        for _ in 0..2 {
            service.answers(false);
            service.looks(2).await;
            assert!(is_ready(), "two misses are none");
            service.answers(true);
            service.looks(1).await;
        }
        service.answers(false);
        service.looks(3).await;
        assert!(!is_ready(), "three misses close");
    }

    #[tokio::test(start_paused = true)]
    async fn who_looked_before_has_no_more_say_and_the_last_leaves_nobody_up() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        let dependency = readiness.dependency("ranking", &metrics).with_latch(readiness.latch("predictor"));
        let (old, new) = (Service::default(), Service::default());
        new.answers(true);
        let before = old.watched(&dependency);
        old.looks(4).await;
        let last = new.watched(&dependency);
        before.await.unwrap();
        new.looks(5).await;
        assert!(dependency.is_up() && shown(&metrics, true));
        last.abort();
        assert!(last.await.unwrap_err().is_cancelled());
        assert!(!dependency.is_up() && shown(&metrics, false));
        assert!(readiness.waiting_for().is_empty(), "nobody needs it");
    }

    #[test]
    fn dependencies_are_told_and_hold_back_nothing() {
        let (readiness, metrics) = (Readiness::default(), Metrics::new().unwrap());
        let ranking = readiness.dependency("ranking", &metrics);
        assert!(readiness.waiting_for().is_empty());
        assert!(!readiness.dependencies()["ranking"]);
        ranking.set(true);
        assert!(readiness.dependencies()["ranking"]);
        let text = String::from_utf8(metrics.text()).unwrap();
        assert!(text.contains("dependency_up{dependency=\"ranking\"} 1"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_asks_any_more_is_told_nowhere_and_not_looked_after() {
        let (readiness, metrics, service) = (Readiness::default(), Metrics::new().unwrap(), Service::default());
        let dependency = readiness.dependency("ranking", &metrics);
        service.answers(true);
        let watch = service.watched(&dependency);
        service.looks(2).await;
        assert!(shown(&metrics, true));
        readiness.forget(&dependency);
        watch.await.unwrap();
        assert!(readiness.dependencies().is_empty() && !shown(&metrics, true) && !shown(&metrics, false));
    }

    #[test]
    fn a_condition_is_looked_at_when_somebody_asks() {
        let (readiness, holds) = (Readiness::default(), Arc::new(AtomicBool::new(false)));
        let asked = holds.clone();
        readiness.condition("predictor", move || asked.load(Ordering::SeqCst));
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        holds.store(true, Ordering::SeqCst);
        assert!(readiness.waiting_for().is_empty());
    }

    #[test]
    fn ready_is_every_latch_open_and_not_draining() {
        let readiness = Readiness::default();
        let (model, predictor) = (readiness.latch("model"), readiness.latch("predictor"));
        model.open();
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        predictor.open();
        assert!(readiness.waiting_for().is_empty());
        predictor.close();
        assert_eq!(readiness.waiting_for(), ["predictor"]);
        predictor.open();
        readiness.drain();
        assert_eq!(readiness.waiting_for(), ["draining"]);
    }
}
