//! Five times what it can do: it does what it can, refuses the rest at once, and keeps its memory.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use reqwest::{Client, StatusCode};
use tokio::{task::JoinSet, time};
use tonic::{Code, transport::Channel};

use super::{INFER, V2, channel, message, resident};
use crate::{
    grpc,
    toy::{Process, client},
};

/// Answers in a second: four threads, each taking 40 ms. Long enough that a machine that does other things as well is not what is
/// measured.
const CAPACITY: usize = 100;
const SECONDS: usize = 5;
const ROUNDS: usize = 4;
/// Between two requests of one protocol, of which there are two: five times the capacity.
const EVERY: Duration = Duration::from_millis(4);
/// Over a round, of buffers and connections that are taken once.
const GROWTH_KIB: usize = 8 * 1024;

/// Callers who ask again as soon as they are refused, and how often all of them ask.
const CALLERS: usize = 16;
const REFUSALS: usize = 12_000;
/// Bytes that memory may grow by for each of them: far less than the least that is held of a request.
const BYTES_EACH: usize = 192;

#[derive(Clone)]
struct Caller {
    url: String,
    rest: Client,
    grpc: Channel,
}

/// What became of requests of one kind: how long each took, in order.
#[derive(Debug, Default)]
struct Took {
    accepted: Vec<Duration>,
    refused: Vec<Duration>,
}

impl Took {
    fn record(&mut self, accepted: bool, took: Duration) {
        if accepted { self.accepted.push(took) } else { self.refused.push(took) }
    }
}

impl Caller {
    fn of(toy: &Process) -> Self {
        let grpc = channel(toy.address("grpc").unwrap());
        Self { url: format!("{}{INFER}", toy.url), rest: client(), grpc }
    }

    /// Whether it was accepted. A refusal has to say when to come back.
    async fn ask_rest(&self) -> bool {
        let answer = self.rest.post(&self.url).body(V2).send().await.unwrap();
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.unwrap();
        if status == StatusCode::OK {
            return true;
        }
        assert_eq!((status.as_u16(), &headers["retry-after"]), (429, &"1".parse().unwrap()), "{text}");
        assert!(text.contains(r#""code":"overloaded""#), "{text}");
        false
    }

    async fn ask_grpc(&self) -> bool {
        let Err(status) = grpc::infer(&self.grpc, message()).await else { return true };
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        let metadata = ["x-error-code", "retry-after"].map(|name| status.metadata().get(name).unwrap());
        assert_eq!(metadata, ["overloaded", "1"]);
        false
    }
}

fn quantile(times: &mut [Duration], of_hundred: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * of_hundred / 100]
}

/// Asks at its own pace, whatever becomes of what was asked before; memory each second on the way.
async fn open_loop(toy: &Process, caller: &Caller) -> (Took, Vec<usize>) {
    let took = Arc::new(Mutex::new(Took::default()));
    let (mut asked, mut resident_kib) = (JoinSet::new(), Vec::new());
    let mut tick = time::interval(EVERY);
    // A tick that comes late is no two at once.
    tick.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
    let total = SECONDS * 1000 / usize::try_from(EVERY.as_millis()).unwrap();
    for number in 0..total {
        tick.tick().await;
        for over_rest in [true, false] {
            let (caller, took) = (caller.clone(), took.clone());
            asked.spawn(async move {
                let begun = Instant::now();
                let accepted = if over_rest { caller.ask_rest().await } else { caller.ask_grpc().await };
                took.lock().unwrap().record(accepted, begun.elapsed());
            });
        }
        if (number + 1) % (total / SECONDS) == 0 {
            resident_kib.push(resident(toy));
        }
    }
    asked.join_all().await;
    let took = std::mem::take(&mut *took.lock().unwrap());
    (took, resident_kib)
}

/// The 99th percentile of one caller who waits for each answer before the next question.
async fn unloaded(caller: &Caller) -> Duration {
    let mut took = Vec::new();
    for number in 0..60 {
        let begun = Instant::now();
        assert!(if number % 2 == 0 { caller.ask_rest().await } else { caller.ask_grpc().await });
        took.push(begun.elapsed());
    }
    quantile(&mut took, 99)
}

/// Asks without a pause, half over REST and half over gRPC.
async fn hammer(caller: &Caller, times: usize) {
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let caller = caller.clone();
        callers.spawn(async move {
            for _ in 0..times / CALLERS {
                if number % 2 == 0 {
                    caller.ask_rest().await
                } else {
                    caller.ask_grpc().await
                };
            }
        });
    }
    callers.join_all().await;
}

/// That what is refused leaves nothing behind.
async fn keeps_its_memory(toy: &Process, caller: &Caller) {
    hammer(caller, REFUSALS / 4).await;
    let before = resident(toy);
    hammer(caller, REFUSALS).await;
    let grown = resident(toy).saturating_sub(before) * 1024;
    println!("{grown} bytes more after {REFUSALS} requests");
    assert!(grown < REFUSALS * BYTES_EACH, "{grown} bytes more after {REFUSALS} requests");
}

/// One round; how it was too slow, if it was.
async fn round(toy: &Process, caller: &Caller) -> Result<(), String> {
    let unloaded = unloaded(caller).await;
    let begun = Instant::now();
    let (mut took, resident_kib) = open_loop(toy, caller).await;
    let seconds = begun.elapsed().as_secs_f64();
    let (p99, refusal) = (quantile(&mut took.accepted, 99), quantile(&mut took.refused, 99));
    let (accepted, refused) = (took.accepted.len(), took.refused.len());
    assert!(resident_kib.iter().all(|&now| now < resident_kib[0] + GROWTH_KIB), "{resident_kib:?} KiB");
    let report = format!(
        "unloaded p99 {unloaded:?}; in {seconds:.1} s {accepted} accepted, p99 {p99:?}; {refused} refused, p99 {refusal:?}"
    );
    #[allow(clippy::cast_precision_loss)]
    let (rate, least) = (accepted as f64 / seconds, 0.8 * CAPACITY as f64);
    // At once: all but one in a hundred hear of it before they would have heard from a server that has nothing to do.
    let holds = p99 <= unloaded * 3 && refusal < unloaded && rate >= least;
    println!("{report}; {resident_kib:?} KiB");
    if holds { Ok(()) } else { Err(report) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_five_times_its_capacity_a_server_is_as_quick_as_before_and_refuses_the_rest_at_once() {
    let _turn = super::TURN.lock().await;
    let settings = ["--pause", "40ms", "--workers", "4", "--queue", "4", "--log-level", "off,dataplane::serve=info"];
    let toy = Process::start(&settings);
    let caller = Caller::of(&toy);
    let mut slow = Vec::new();
    // Times are all that a round may miss, for what else the machine does may spoil them; a server that is too slow is so in each. A wrong
    // answer or growing memory fails the test in any round.
    for _ in 0..ROUNDS {
        match round(&toy, &caller).await {
            Ok(()) => return keeps_its_memory(&toy, &caller).await,
            Err(report) => slow.push(report),
        }
    }
    panic!("{slow:#?}");
}
