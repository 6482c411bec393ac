//! Lives through a plan: the hosts, what happens to them, and whether it ends as it must.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hydrant_testkit::sim::SimRng;
use tokio::task::JoinSet;
use turmoil::{Builder, Sim};

use crate::client::{Client, GIVE_UP, pause};
use crate::plan::{End, Plan, Rude, What};
use crate::world::{Due, ROOMY, Shared, lock};
use crate::{good, rude, server};

/// The network's grain: messages arrive at such times, so that a minute is few of them.
const TICK: Duration = Duration::from_millis(50);
/// What is measured in ticks, by several hosts in turn.
const SLACK: Duration = Duration::from_millis(400);
/// All that a client may leave behind is gone by then, whatever it did.
const QUIET: Duration = Duration::from_secs(85);
/// A server that is told to stop has ended by then (its `GRACE`).
const STOP: Duration = Duration::from_secs(20);
/// No run is longer.
const END: Duration = Duration::from_mins(6);

/// Hosts of clients, other than those of the ones that vanish.
const CLIENTS: [&str; 3] = ["near", "far", "rude"];

/// How a run went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) violations: Vec<String>,
    /// Hash and number of all events.
    pub(crate) hash: (u64, u64),
    /// What took effect.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    pub(crate) acked: u64,
    pub(crate) lines: Vec<String>,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, traced: bool) -> Outcome {
    let shared = Arc::new(Shared::new(plan.clone()));
    if traced {
        shared.trace.keep_lines();
    }
    let mut sim = network(&shared);
    drive(&mut sim, &shared);
    shared.falling.store(true, Ordering::Relaxed);
    drop(sim);
    check(&shared);
    let violations = lock(&shared.violations).clone();
    let acked = lock(&shared.ledger).acked();
    Outcome {
        violations,
        hash: shared.trace.hash(),
        faults: shared.trace.faults(),
        acked,
        lines: shared.trace.lines(),
    }
}

/// The hosts: the server, and clients on networks of different luck.
fn network(shared: &Arc<Shared>) -> Sim<'static> {
    let plan = &shared.plan;
    let mut sim = Builder::new()
        .rng_seed(plan.seed)
        .tick_duration(TICK)
        .simulation_duration(2 * END)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::from_millis(120))
        .enable_random_order()
        .build();
    let of_server = shared.clone();
    sim.host(server::HOST, move || server::host(of_server.clone()));
    let (mut near, mut far, mut rudes) = (Vec::new(), Vec::new(), Vec::new());
    let mut ids = 1..;
    let mut client = || Client::new(ids.next().unwrap(), shared);
    near.extend(plan.near.iter().map(|good| (client(), *good)));
    far.extend(plan.far.iter().map(|good| (client(), *good)));
    for (rude, begins) in &plan.rude {
        let client = client();
        if *rude == Rude::Vanished {
            add(
                shared,
                &mut sim,
                &rude::gone(client.id),
                vec![late(client, *rude, *begins)],
            );
        } else {
            rudes.push(late(client, *rude, *begins));
        }
    }
    let good = |all: Vec<(Client, _)>, near| {
        let live = move |(client, good)| boxed(good::live(client, good, near));
        all.into_iter().map(live).collect()
    };
    add(shared, &mut sim, "near", good(near, true));
    add(shared, &mut sim, "far", good(far, false));
    add(shared, &mut sim, "rude", rudes);
    sim
}

type Part = std::pin::Pin<Box<dyn Future<Output = ()>>>;

fn boxed(part: impl Future<Output = ()> + 'static) -> Part {
    Box::pin(part)
}

fn late(client: Client, rude: Rude, begins: Duration) -> Part {
    boxed(async move {
        pause(begins.as_millis().try_into().unwrap()).await;
        // Nothing is told from a call that a server could not answer any more.
        if !*client.shared.stop.borrow() {
            rude::live(client, rude).await;
        }
    })
}

/// Adds a host of clients.
fn add(shared: &Arc<Shared>, sim: &mut Sim<'static>, name: &str, parts: Vec<Part>) {
    let (shared, mut all) = (shared.clone(), JoinSet::new());
    sim.client(name, async move {
        while !shared.is_up() {
            pause(50).await;
        }
        for part in parts {
            all.spawn_local(part);
        }
        while let Some(ended) = all.join_next().await {
            ended?;
        }
        Ok(())
    });
}

fn drive(sim: &mut Sim<'static>, shared: &Shared) {
    let mut events = shared.plan.events.iter().peekable();
    let (mut done, mut told) = (None, false);
    let rng = SimRng::new(shared.plan.seed);
    loop {
        let now = sim.elapsed();
        shared.tick(now);
        while let Some((_, what)) = events.next_if(|(at, _)| shared.is_up() && *at <= now) {
            happen(sim, shared, *what, &rng);
        }
        match sim.step() {
            Ok(clients_done) if clients_done && done.is_none() => done = Some(now),
            Ok(_) => {}
            Err(error) => return shared.violation(format!("a host failed: {error}")),
        }
        if lock(&shared.ended).is_some() && done.is_some() {
            return;
        }
        let late = lock(&shared.times)
            .stopped
            .map(|at| at + STOP + Duration::from_secs(5));
        let ended = lock(&shared.ended).is_some();
        if now > END || (!ended && late.is_some_and(|late| now > late)) {
            return shared.violation("the server or a client did not end".to_owned());
        }
        // Where nobody calls any more, all must come to rest, and only then is it told to stop.
        let quiet = done.is_some_and(|done| {
            now > done + QUIET || (shared.open(), shared.budget.used()) == (0, 0)
        });
        if shared.plan.end == End::Quiet && quiet && !told {
            told = true;
            let (open, used) = (shared.open(), shared.budget.used());
            if (open, used) != (0, 0) {
                shared.violation(format!("{open} connections and {used} bytes do not end"));
            }
            happen(sim, shared, What::Stop, &rng);
        }
    }
}

fn happen(sim: &mut Sim<'static>, shared: &Shared, what: What, rng: &SimRng) {
    shared
        .trace
        .note(format_args!("{:?}: {what:?}", shared.now()));
    match what {
        What::Hold(true) => sim.hold("far", server::HOST),
        What::Hold(false) => sim.release("far", server::HOST),
        What::Cut(false, false) => sim.repair("far", server::HOST),
        What::Cut(true, true) => sim.partition("far", server::HOST),
        What::Cut(true, false) => sim.partition_oneway("far", server::HOST),
        What::Cut(false, true) => sim.partition_oneway(server::HOST, "far"),
        What::Full(full) => {
            let disk = lock(&shared.disk);
            disk.set_capacity(if full { disk.used_bytes() } else { ROOMY });
        }
        What::Power => {
            let disk = lock(&shared.disk).crash(rng);
            *lock(&shared.disk) = disk;
            // Nobody is told: what a host sends while it falls is lost.
            shared.falling.store(true, Ordering::Relaxed);
            for (rude, id) in shared.plan.rude.iter().zip(shared.plan.first_rude()..) {
                if rude.0 == Rude::Vanished {
                    sim.partition(rude::gone(id), server::HOST);
                }
            }
            for clients in CLIENTS {
                sim.partition(clients, server::HOST);
            }
            sim.crash(server::HOST);
            for clients in CLIENTS {
                sim.repair(clients, server::HOST);
            }
            shared.falling.store(false, Ordering::Relaxed);
            lock(&shared.times).down = Some(Duration::MAX);
        }
        What::Start => {
            sim.bounce(server::HOST);
            // A client that waits finds out when it gives up.
            lock(&shared.times).down = Some(shared.now() + GIVE_UP + Duration::from_secs(1));
        }
        What::Stop => {
            lock(&shared.times).stopped = Some(shared.now());
            shared.stop.send_replace(true);
        }
    }
    let name = match what {
        What::Hold(true) => "held",
        What::Cut(true, true) => "cut",
        What::Cut(true, false) | What::Cut(false, true) => "cut one way",
        What::Full(true) => "disk full",
        What::Power => "power lost",
        What::Stop => "stopped",
        _ => return,
    };
    shared.trace.fired(name);
}

/// What the server must have done by the end.
fn check(shared: &Shared) {
    let lives = lock(&shared.lives).clone();
    for (peer, due) in lock(&shared.dues).clone() {
        let Some(life) = lives.get(&peer) else {
            continue;
        };
        let due = match due {
            Due::AfterAccept(time) => life.accepted + time,
            Due::At(at) => at.max(life.accepted),
        };
        if life.closed.is_none_or(|closed| closed > due + SLACK) {
            shared.violation(format!("{peer} was to be closed by {due:?}: {life:?}"));
        }
    }
    let Some((ended, stored)) = lock(&shared.ended).take() else {
        return;
    };
    let stopped = lock(&shared.times).stopped.unwrap();
    if ended > stopped + STOP + SLACK {
        shared.violation(format!(
            "told to stop at {stopped:?}, it ended at {ended:?}"
        ));
    }
    let wrong = lock(&shared.ledger).check(&stored);
    for wrong in wrong {
        shared.violation(wrong);
    }
    if stored.len() < 20 {
        shared.violation("what was there from the start is not there".to_owned());
    }
}
