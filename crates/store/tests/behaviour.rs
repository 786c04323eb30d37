//! The behaviour suite of `store::testing` on every backend.

use store::testing::{self, ticking_clock, word_terms};
use store::{Backend, Options, Store};

#[tokio::test]
async fn the_memory_backend_behaves() {
    testing::run_all(|| async {
        let options = Options { clock: ticking_clock(), ..Options::new(Backend::Memory, word_terms()) };
        Store::open(options).expect("memory always opens")
    })
    .await;
}
