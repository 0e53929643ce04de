//! What each store takes and gives, in numbers. For release builds: `cargo test --release --test store measure -- --ignored --nocapture --test-threads 1`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hublatch::clock::{Clock, Moment, SystemClock};
use hublatch::store::{Consumed, Inserted, Link, MemoryStore, RedbStore, RedisStore, TokenStore};

use crate::contract::{link, race, wait};
use crate::server::RedisServer;

/// Callers at once: what two busy public threads could have in flight.
const THREADS: usize = 2;

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    let kib: usize = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number");
    kib * 1024
}

fn links(now: Moment, count: usize) -> Vec<Link> {
    (0..count).map(|_| link(now, Duration::from_hours(1))).collect()
}

/// Inserts and consumes `count` links, by `threads` threads with `in_flight` calls each; prints both rates.
pub fn rates(name: &str, store: &dyn TokenStore, clock: &dyn Clock, count: usize, in_flight: usize) {
    let links = links(clock.now(), count);
    let inserted = each(&links, in_flight, |link| async move {
        let inserted = store.insert(vec![link.clone()], None, clock.now()).await;
        matches!(inserted, Ok(Inserted::New))
    });
    println!("{name}: insert {inserted:.0}/s");
    let consumed = each(&links, in_flight, |link| async move {
        matches!(store.consume(link.digest, clock.now()).await, Ok(Consumed::Granted(_)))
    });
    println!("{name}: consume {consumed:.0}/s, {in_flight} in flight on each of {THREADS} threads");
}

/// Does `act` once for each link; answers how often a second. Each must succeed.
fn each<'a, F: Future<Output = bool>>(
    links: &'a [Link],
    in_flight: usize,
    act: impl Fn(&'a Link) -> F + Sync,
) -> f64 {
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    race(THREADS, |_| {
        // As many calls as a measurement wants, however long that takes.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let worker = || async {
                while let Some(link) = links.get(next.fetch_add(1, Ordering::Relaxed)) {
                    assert!(act(link).await, "each call succeeds");
                }
            };
            futures_util::future::join_all((0..in_flight).map(|_| worker())).await;
        });
    });
    #[allow(clippy::cast_precision_loss, reason = "a rate for a reader")]
    let rate = links.len() as f64 / begun.elapsed().as_secs_f64();
    rate
}

#[test]
#[ignore = "a measurement"]
fn a_million_live_tokens_in_memory_fit_into_600_megabytes() {
    let clock = SystemClock::new();
    let before = resident();
    let store = MemoryStore::new(1_000_000);
    let mut slowest = Duration::ZERO;
    let begun = Instant::now();
    for _ in 0..1_000_000 {
        let link = link(clock.now(), Duration::from_hours(1));
        let at = Instant::now();
        assert_eq!(wait_now(store.insert(vec![link], None, clock.now())).expect("room"), Inserted::New);
        slowest = slowest.max(at.elapsed());
    }
    let taken = resident() - before;
    println!("memory: 1,000,000 live tokens take {} MB; made in {:?}", taken / 1_000_000, begun.elapsed());
    println!("memory: slowest insertion {slowest:?}");
    let nobody = crate::contract::user("nobody");
    let at = Instant::now();
    assert_eq!(wait_now(store.revoke_user(&nobody, "portal", clock.now())).expect("an answer"), 0);
    println!("memory: revoking a user among them takes {:?}", at.elapsed());
    assert!(taken <= 600_000_000, "{taken} bytes");
}

/// The memory store answers at once.
fn wait_now<T: std::fmt::Debug>(future: impl Future<Output = T>) -> T {
    futures_util::FutureExt::now_or_never(future).expect("an answer at once")
}

#[test]
#[ignore = "a measurement"]
fn rates_of_the_memory_store() {
    let clock = SystemClock::new();
    for (live, count) in [(1_000, 300_000), (700_000, 300_000)] {
        let store = MemoryStore::new(1_000_000);
        wait(store.insert(links(clock.now(), live), None, clock.now())).expect("room");
        rates(&format!("memory with {live} live tokens"), &store, &clock, count, 1);
    }
}

#[test]
#[ignore = "a measurement"]
fn rates_of_the_redb_store() {
    // Not in memory: the directory of the build is on a disk.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let path = directory.path().join("tokens.redb");
    let store = RedbStore::open(&path, 1_000_000, Arc::clone(&clock)).expect("a store");
    for in_flight in [1, 16, 128] {
        rates("redb", &store, &*clock, 100 * in_flight.max(8), in_flight);
    }
}

/// CPU time of this process.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("procfs");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    // utime and stime, proc(5), in hundredths of a second.
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

/// What this process has had written to disks.
fn written() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").expect("procfs");
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).expect("write_bytes")
}

/// What one call costs with that many links live, by rising numbers: time and CPU, all in flight or one at a time.
fn growth(name: &str, store: &dyn TokenStore, clock: &dyn Clock) {
    const CALLS: u32 = 5_000;
    let (mut live, mut spare) = (0, Vec::new());
    let most = std::env::var("MEASURE_LIVE").map_or(1_000_000, |most| most.parse().expect("a number"));
    for level in [1_000, 10_000, 100_000, 990_000].into_iter().filter(|level| *level <= most) {
        while live < level {
            let batch = links(clock.now(), 1000);
            wait(store.insert(batch.clone(), None, clock.now())).expect("room");
            // Some of all ages, to be taken later.
            spare.extend(batch.into_iter().take(if level > 10_000 { 20 } else { 1000 }));
            live += 1000;
        }
        let told = |what: &str, act: &dyn Fn()| {
            let (begun, before, disk) = (Instant::now(), cpu(), written());
            act();
            let (took, spent) = (begun.elapsed() / CALLS, (cpu() - before) / CALLS);
            let disk = (written() - disk) / u64::from(CALLS);
            println!("{name} with {live} live: {what} {took:?}, {spent:?} of CPU, {disk} bytes to disk");
        };
        let new = links(clock.now(), CALLS as usize);
        told("insert", &|| {
            each(&new, 128, |link| async move {
                store.insert(vec![link.clone()], None, clock.now()).await.is_ok()
            });
        });
        told("find", &|| {
            each(&new, 128, |link| async move { store.find(link.digest, clock.now()).await.is_ok() });
        });
        told("consume", &|| {
            each(&new, 128, |link| async move {
                matches!(store.consume(link.digest, clock.now()).await, Ok(Consumed::Granted(_)))
            });
        });
        let begun = Instant::now();
        let (mut old, mut count) = (Vec::new(), 0);
        while count < 500 && spare.len() > 1 {
            old.push(spare.swap_remove(count * 7919 % spare.len()));
            count += 1;
        }
        each(&old, 64, |link| async move { store.consume(link.digest, clock.now()).await.is_ok() });
        println!("{name} with {live} live: consume of any age {:?}", begun.elapsed() / 500);
        live -= count;
    }
}

#[test]
#[ignore = "a measurement"]
fn what_a_call_costs_with_a_thousand_and_a_million_live_links() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    growth("memory", &MemoryStore::new(1_000_000), &*clock);

    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().join("tokens.redb");
    let store = RedbStore::open(&path, 1_000_000, Arc::clone(&clock)).expect("a store");
    growth("redb", &store, &*clock);
    println!("redb: {} MB of memory", resident() / 1_000_000);
    drop(store);
    let begun = Instant::now();
    let size = std::fs::metadata(&path).expect("the file").len();
    drop(RedbStore::open(&path, 1_000_000, Arc::clone(&clock)).expect("a store"));
    println!("redb: {} MB are checked and opened in {:?}", size / 1_000_000, begun.elapsed());

    let server = RedisServer::start();
    let store = RedisStore::open(&server.config(), 1_000_000).expect("Redis");
    growth("redis", &store, &*clock);
}

#[test]
#[ignore = "a measurement"]
fn rates_of_the_redis_store() {
    let server = RedisServer::start();
    let store = RedisStore::open(&server.config(), 1_000_000).expect("Redis");
    let clock = SystemClock::new();
    for in_flight in [1, 16, 128] {
        rates("redis", &store, &clock, 5_000 * in_flight.min(8), in_flight);
    }
}
