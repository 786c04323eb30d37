//! The queue's guarantees, on paused time.

use component::{Shutdown, spawn};
use futures_util::FutureExt as _;

use super::*;

fn take(queue: &WorkQueue<&'static str>) -> Option<&'static str> {
    queue.next().now_or_never().flatten()
}

#[tokio::test]
async fn a_key_added_many_times_is_taken_once_and_in_order() {
    let queue = WorkQueue::new();
    for key in ["a", "b", "a", "c", "b"] {
        queue.add(key);
    }
    assert_eq!(
        [take(&queue), take(&queue), take(&queue), take(&queue)],
        [Some("a"), Some("b"), Some("c"), None]
    );
}

#[tokio::test]
async fn a_key_added_while_it_is_worked_on_is_taken_again_afterwards_and_not_before() {
    let queue = WorkQueue::new();
    queue.add("a");
    assert_eq!(take(&queue), Some("a"));
    queue.add("a");
    queue.add("a");
    assert_eq!(take(&queue), None);
    queue.done(&"a");
    assert_eq!(take(&queue), Some("a"));
    queue.done(&"a");
    assert_eq!(take(&queue), None);
}

#[tokio::test(start_paused = true)]
async fn of_two_delays_the_earlier_counts() {
    let queue = WorkQueue::new();
    let start = Instant::now();
    queue.add_after("a", Duration::from_secs(60));
    queue.add_after("a", Duration::from_secs(10));
    queue.add_after("a", Duration::from_secs(30));
    queue.add_after("b", Duration::from_secs(5));
    assert_eq!(queue.next().await, Some("b"));
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(queue.next().await, Some("a"));
    assert_eq!(start.elapsed().as_secs(), 10);
    queue.done(&"a");
    assert!(tokio::time::timeout(Duration::from_secs(100), queue.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn failures_delay_a_key_twice_as_long_each_time_until_it_is_forgotten() {
    let queue = WorkQueue::new();
    let mut delays = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        queue.add_rate_limited("a");
        assert_eq!(queue.next().await, Some("a"));
        delays.push(start.elapsed().as_millis());
        queue.done(&"a");
    }
    assert_eq!(delays[..4], [5, 10, 20, 40]);
    assert_eq!(delays[17..], [655_360, 1_000_000, 1_000_000]);
    assert_eq!(queue.failures(&"a"), 20);
    queue.forget(&"a");
    let start = Instant::now();
    queue.add_rate_limited("a");
    queue.next().await;
    assert_eq!(start.elapsed().as_millis(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_key_delayed_while_a_worker_is_busy_is_taken_by_another_one_in_time() {
    let queue = WorkQueue::new();
    let other = queue.clone();
    let busy = async {
        queue.add("busy");
        assert!(queue.next().await.is_some());
        queue.add_after("later", Duration::from_secs(3));
        // This worker takes its time and does not come back.
        std::future::pending::<()>().await;
    };
    let waiting = async {
        tokio::task::yield_now().await;
        let start = Instant::now();
        let key = other.next().await;
        (key, start.elapsed().as_secs())
    };
    let taken = tokio::select! {
        () = busy => unreachable!("it is busy for ever"),
        taken = waiting => taken,
    };
    assert_eq!(taken, (Some("later"), 3));
}

#[tokio::test(start_paused = true)]
async fn every_worker_ends_at_shut_down_after_what_is_ready() {
    let queue = WorkQueue::new();
    queue.add("a");
    queue.add_after("never", Duration::from_secs(1));
    queue.shut_down();
    queue.add("late");
    assert_eq!(queue.next().await, Some("a"));
    let (one, two) = tokio::join!(queue.next(), queue.next());
    assert_eq!((one, two), (None, None));
}

#[tokio::test]
async fn waiting_workers_are_woken_by_shut_down() {
    let queue: WorkQueue<&str> = WorkQueue::new();
    let (one, two, ()) = tokio::join!(queue.next(), queue.next(), async {
        tokio::task::yield_now().await;
        queue.shut_down();
    });
    assert_eq!((one, two), (None, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_workers_lose_nothing_and_never_share_a_key() {
    let queue: WorkQueue<u32> = WorkQueue::new();
    let at_work: Arc<Mutex<HashSet<u32>>> = Arc::default();
    let done: Arc<Mutex<HashMap<u32, u32>>> = Arc::default();
    let shutdown = Shutdown::new();
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (queue, at_work, done) = (queue.clone(), Arc::clone(&at_work), Arc::clone(&done));
            spawn(&shutdown, "worker", async move {
                while let Some(key) = queue.next().await {
                    assert!(at_work.lock().insert(key), "{key} is worked on twice at once");
                    tokio::task::yield_now().await;
                    *done.lock().entry(key).or_default() += 1;
                    at_work.lock().remove(&key);
                    queue.done(&key);
                }
            })
        })
        .collect();
    for round in 0..50 {
        for key in 0..100 {
            queue.add(key);
            if key % 7 == round % 7 {
                queue.add_after(key, Duration::from_millis(1));
            }
        }
        tokio::task::yield_now().await;
    }
    queue.shut_down();
    for worker in workers {
        worker.await.expect("a worker");
    }
    assert_eq!(shutdown.failure(), None);
    assert_eq!(done.lock().len(), 100);
    assert!(queue.is_empty());
}
