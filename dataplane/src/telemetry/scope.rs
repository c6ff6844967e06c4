//! Whose request a thread works for, so that log lines can say it.
//!
//! The lines of [`super::lines`] ask here: what is never logged is never written out, and most requests log nothing. Any other
//! subscriber knows spans only, and gets one for each request.

use std::{
    cell::RefCell,
    fmt, mem,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tracing::Span;

/// A request, as log lines name it.
pub(crate) trait Request: Send + Sync {
    /// Calls `write` with each name and value.
    fn fields(&self, write: &mut dyn FnMut(&'static str, &str));
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Request>>> = const { RefCell::new(None) };
}

/// Whether this process's lines ask for the request themselves.
static ASKED: AtomicBool = AtomicBool::new(false);

/// From now on they do.
pub(super) fn ask() {
    ASKED.store(true, Relaxed);
}

/// Whether they do, so that no span has to know of a request.
pub(crate) fn is_asked() -> bool {
    ASKED.load(Relaxed)
}

/// Calls `write` with the fields of the request that this thread works for, if it works for one.
pub(super) fn fields(mut write: impl FnMut(&'static str, &str)) {
    let request = CURRENT.with_borrow(Clone::clone);
    if let Some(request) = request {
        request.fields(&mut write);
    }
}

/// What is logged in it belongs to a request.
#[derive(Clone)]
pub(crate) struct Scope {
    span: Span,
    request: Option<Arc<dyn Request>>,
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("span", &self.span).finish_non_exhaustive()
    }
}

impl Scope {
    /// A request's scope. `span` makes its span, where somebody looks at spans.
    pub(crate) fn of(request: Arc<dyn Request>, span: impl FnOnce() -> Span) -> Self {
        if is_asked() {
            return Self { span: Span::none(), request: Some(request) };
        }
        Self { span: span(), request: None }
    }

    /// What this thread works for now, to be taken to another one.
    pub(crate) fn current() -> Self {
        Self { span: Span::current(), request: CURRENT.with_borrow(Clone::clone) }
    }

    /// Works in it.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _before = Before(CURRENT.replace(self.request.clone()));
        self.span.in_scope(work)
    }

    /// Works in it whenever `future` is polled. Where that lies, there it stays: it may be large.
    pub(crate) fn hold<F: Future>(&self, mut future: Pin<&mut F>) -> impl Future<Output = F::Output> {
        std::future::poll_fn(move |context| self.run(|| future.as_mut().poll(context)))
    }
}

/// What the thread worked for before; it does again when this is dropped.
struct Before(Option<Arc<dyn Request>>);

impl Drop for Before {
    fn drop(&mut self) {
        CURRENT.set(mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, sync::Arc};

    use tracing::Span;

    use super::{Request, Scope, fields};

    struct Named(&'static str);

    impl Request for Named {
        fn fields(&self, write: &mut dyn FnMut(&'static str, &str)) {
            write("name", self.0);
        }
    }

    fn named(name: &'static str) -> Scope {
        Scope { span: Span::none(), request: Some(Arc::new(Named(name))) }
    }

    fn now() -> Vec<String> {
        let mut now = Vec::new();
        fields(|_, value| now.push(value.to_owned()));
        now
    }

    #[test]
    fn a_scope_ends_where_it_began_and_goes_to_other_threads_with_who_takes_it() {
        named("outer").run(|| {
            named("inner").run(|| assert_eq!(now(), ["inner"]));
            assert_eq!(now(), ["outer"]);
            let taken = Scope::current();
            let elsewhere = std::thread::spawn(move || (now(), taken.run(now)));
            assert_eq!(elsewhere.join().unwrap(), (Vec::new(), vec!["outer".to_owned()]));
        });
        assert!(now().is_empty());
    }

    #[tokio::test]
    async fn a_future_is_in_its_scope_only_while_it_is_polled() {
        let (one, other) = (named("one"), named("other"));
        let twice = || async {
            let before = now();
            tokio::task::yield_now().await;
            [before, now()].concat()
        };
        let (mut first, mut second) = (pin!(twice()), pin!(twice()));
        let (one, other) = tokio::join!(one.hold(first.as_mut()), other.hold(second.as_mut()));
        assert_eq!((one, other), (vec!["one".to_owned(); 2], vec!["other".to_owned(); 2]));
        assert!(now().is_empty());
    }

    #[test]
    fn a_panic_leaves_no_scope_behind() {
        let caught = std::panic::catch_unwind(|| named("lost").run(|| panic!("as meant")));
        assert!(caught.is_err() && now().is_empty());
    }
}
