//! The behaviour suite of `store::testing` on every backend.

use store::testing::{self, ticking_clock, word_terms};
use store::{Backend, LogOptions, Options, Store, Window};

#[tokio::test]
async fn the_memory_backend_behaves() {
    testing::run_all(|| async {
        let options = Options { clock: ticking_clock(), ..Options::new(Backend::Memory, word_terms()) };
        Store::open(options).expect("memory always opens")
    })
    .await;
}

#[tokio::test]
async fn the_log_backend_behaves() {
    let dir = tempfile::tempdir().expect("a directory");
    let number = std::sync::atomic::AtomicUsize::new(0);
    testing::run_all(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let log = LogOptions::new(dir.path().join(number.to_string()));
        let options = Options { clock: ticking_clock(), ..Options::new(Backend::Log(log), word_terms()) };
        Store::open(options).expect("an empty directory opens")
    })
    .await;
}

#[tokio::test]
async fn the_log_backend_behaves_when_memory_holds_few_events_and_files_are_small() {
    let dir = tempfile::tempdir().expect("a directory");
    let number = std::sync::atomic::AtomicUsize::new(0);
    testing::run_all(|| async {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut log = LogOptions::new(dir.path().join(number.to_string()));
        log.segment_bytes = 4 << 10;
        let window = Window { events: 3, bytes: 1 << 20 };
        let options =
            Options { clock: ticking_clock(), window, ..Options::new(Backend::Log(log), word_terms()) };
        Store::open(options).expect("an empty directory opens")
    })
    .await;
}
