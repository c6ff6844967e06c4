//! One connection: TLS where it is asked for, then HTTP/1 or HTTP/2, whichever the caller speaks.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, Waker, ready},
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, Version, header},
};
use futures_util::FutureExt;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto, graceful::GracefulConnection},
};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep_until},
};
use tower::Service;

use super::{
    activity::{Activity, Answer, Stream, Watched},
    linger::{Asked, Linger},
    patience::{FIRST_REQUEST, Limits, Next, Patience},
    self_wakes::SelfWakes,
    tls,
};
use crate::{
    config::ConnectionArgs,
    metrics::Metrics,
    readiness::Readiness,
    router::{self, Routes},
};

/// As many as the queue of requests is long by default. A gRPC channel puts all its calls on one connection: fewer streams would
/// hold back what the queue has room for, more would be refused behind it anyway, and cost memory before.
const STREAMS: u32 = 256;

/// A head may be no larger than this. It bounds what a connection can make the server hold, and bodies and answers stream through.
const BUFFER_BYTES: usize = 64 * 1024;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What answers.
#[derive(Clone)]
pub(super) enum App {
    Data(Routes),
    Admin(Router),
}

impl App {
    /// What answers on one connection.
    fn own(&self) -> Own {
        match self {
            Self::Data(routes) => Own::Data(routes.own()),
            Self::Admin(router) => Own::Admin(router.clone()),
        }
    }
}

enum Own {
    Data(Arc<router::Own>),
    Admin(Router),
}

impl Own {
    fn answer(&self, request: Request<Asked>) -> router::Answer {
        let request = request.map(Body::new);
        match self {
            Self::Data(own) => own.answer(request),
            Self::Admin(router) => Box::pin(router.clone().call(request)),
        }
    }
}

/// What the connections of one listener share.
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) app: App,
    pub(super) tls: Option<tls::Current>,
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) limits: Limits,
    pub(super) readiness: Readiness,
    pub(super) metrics: Metrics,
    /// Turns true when the listeners close. Whoever closes them waits until nobody holds it.
    pub(super) closing: watch::Receiver<bool>,
}

impl From<&ConnectionArgs> for Limits {
    fn from(args: &ConnectionArgs) -> Self {
        Self { head: args.header_read_timeout, idle: args.keep_alive_timeout }
    }
}

impl Endpoint {
    /// Serves a connection in the background, and gives its permit back when it ends.
    pub(super) fn spawn(self: &Arc<Self>, stream: Box<dyn Stream>, permit: Option<OwnedSemaphorePermit>) {
        let endpoint = self.clone();
        tokio::spawn(async move {
            let _open = endpoint.metrics.connected(endpoint.name);
            if let Err(error) = endpoint.serve(stream).await {
                tracing::debug!(listener = endpoint.name, error, "a connection ended early");
            }
            drop(permit);
        });
    }

    async fn serve(&self, stream: Box<dyn Stream>) -> Result<(), Failure> {
        let Some(tls) = &self.tls else { return self.http(stream).await };
        let met = tokio::select! {
            met = tls.handshake(stream) => met,
            () = self.left(Instant::now()) => Err(io::Error::new(io::ErrorKind::TimedOut, "the server left")),
        };
        match met {
            Ok(stream) => self.http(stream).await,
            Err(error) => {
                self.metrics.handshake_failed();
                Err(format!("TLS: {error}").into())
            }
        }
    }

    /// Waits until the server has left, and somebody who connected at `opened` had time to say something.
    async fn left(&self, opened: Instant) {
        let _ = self.closing.clone().wait_for(|closing| *closing).await;
        sleep_until(opened + FIRST_REQUEST).await;
    }

    async fn http(&self, stream: Box<dyn Stream>) -> Result<(), Failure> {
        let activity = Arc::new(Activity::new(self.readiness.clone()));
        let service = {
            let (own, activity) = (self.app.own(), activity.clone());
            service_fn(move |request: Request<Incoming>| {
                let underway = activity.begin();
                let http1 = request.version() < Version::HTTP_2;
                let activity = http1.then(|| activity.clone());
                own.answer(request.map(|body| Asked { body, activity })).map(move |answer| {
                    let Ok(mut answer) = answer;
                    if http1 && underway.activity().is_last() {
                        hint(&mut answer);
                    }
                    Ok::<_, Infallible>(answer.map(|body| Answer { body, underway }))
                })
            })
        };
        let io = TokioIo::new(Watched { stream, activity: activity.clone(), linger: Linger::default() });
        let connection = self.http.serve_connection(io, service);
        self.bear(pin!(connection), &activity).await
    }

    /// Drives a connection to its end, or as long as it is borne with. Every wake-up comes through here, so the timer and the word that
    /// the server leaves are asked only when they may have something new to say: both know whom to wake.
    async fn bear<C: GracefulConnection<Error = Failure>>(
        &self,
        mut connection: Pin<&mut C>,
        activity: &Activity,
    ) -> Result<(), Failure> {
        let mut patience = Patience::new(self.limits, Instant::now());
        let mut timer = pin!(sleep_until(Instant::now() + self.limits.idle));
        let mut closing = pin!(closed(self.closing.clone()));
        let mut known: Option<Waker> = None;
        let mut self_wakes = SelfWakes::default();
        poll_fn(|context| {
            loop {
                // First, so that what has come is known to `activity` when it is judged.
                if let Poll::Ready(ended) = self_wakes.poll(connection.as_mut(), context) {
                    return Poll::Ready(ended);
                }
                let waits = known.as_ref().is_some_and(|known| known.will_wake(context.waker()));
                if !waits || self.closing.has_changed().unwrap_or(true) {
                    patience.closing = patience.closing || closing.as_mut().poll(context).is_ready();
                }
                let now = Instant::now();
                match patience.next(activity, now) {
                    Next::Tell => connection.as_mut().graceful_shutdown(),
                    Next::End(why) => return Poll::Ready(Err(why.into())),
                    Next::Wait(until) => {
                        // A timer that goes off early looks again. Only one that would be late is moved, so a request moves none.
                        if until < timer.deadline() {
                            timer.as_mut().reset(until);
                        } else if waits && now < timer.deadline() {
                            return Poll::Pending;
                        }
                        known = Some(context.waker().clone());
                        ready!(timer.as_mut().poll(context));
                        timer.as_mut().reset(until);
                    }
                }
            }
        })
        .await
    }
}

/// Waits until the listeners close, and then once more for what the kernel has got by then: a connection that looks idle may have
/// been asked something already.
async fn closed(mut closing: watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
    tokio::task::yield_now().await;
}

/// Tells an HTTP/1 caller to ask its next question elsewhere. The connection closes behind the answer.
fn hint(answer: &mut Response<Body>) {
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// How HTTP is spoken, on every listener.
pub(super) fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Hyper's own limit counts idle time as a head's, and makes a timer for every request.
    http.http1().header_read_timeout(None).max_buf_size(BUFFER_BYTES);
    // No pings: the kernel finds out who is gone, on HTTP/1 too, and costs no request a timer.
    http.http2().max_concurrent_streams(STREAMS);
    http
}
