//! Updates objects for a long time and says what it cost: rate, memory, files.
//!
//! `cargo run --release -p store --features testing --example soak -- DIR UPDATES OBJECTS BYTES`

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use store::testing::{pod, put};
use store::{Backend, Extract, Extracted, LogOptions, Options, Store, Term};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, updates, objects, bytes] = arguments.as_slice() else {
        return Err("usage: soak DIR UPDATES OBJECTS BYTES".into());
    };
    let (updates, objects, bytes): (u64, u64, usize) = (updates.parse()?, objects.parse()?, bytes.parse()?);
    let mut out = std::io::stdout();
    let start = Instant::now();
    let extract: Extract = Arc::new(|_, value| {
        let text = std::str::from_utf8(value)?;
        let app = text.split_once("app=").map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
        Ok(Extracted { header: Arc::new(()), terms: [Term::new("label", "app", app)].into() })
    });
    let store = Store::open(Options::new(Backend::Log(LogOptions::new(dir)), extract))?;
    writeln!(out, "opened {} objects in {:?}", store.snapshot().len(&"pods".into()), start.elapsed())?;
    report(&mut out, &store, Path::new(dir))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build()?;
    let share = updates.div_ceil(10);
    for part in 0..10 {
        let start = Instant::now();
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for writer in 0..64_u64 {
                let store = store.clone();
                tasks.spawn(async move {
                    for number in (part * share + writer..(part + 1) * share).step_by(64) {
                        let object = number.wrapping_mul(7919) % objects;
                        let text = format!("app=a{} n=v{number} {}", object % 50, "x".repeat(bytes));
                        let key = pod(&format!("ns{}/pod-{object:06}", object % 20));
                        if store.write(put(&key, &text)).await.is_err() {
                            return;
                        }
                    }
                });
            }
            tasks.join_all().await;
        });
        writeln!(out, "{:.0} writes/s", share as f64 / start.elapsed().as_secs_f64())?;
        report(&mut out, &store, Path::new(dir))?;
    }
    let start = Instant::now();
    runtime.block_on(store.close());
    writeln!(out, "closed in {:?}", start.elapsed())?;
    Ok(())
}

fn report(out: &mut impl std::io::Write, store: &Store, dir: &Path) -> std::io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find(|line| line.starts_with("RssAnon")).unwrap_or_default();
    let size = |dir: &Path| -> u64 {
        let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    };
    let snapshot = store.snapshot();
    writeln!(
        out,
        "revision {} oldest {} live {} KB, {} KB, log {} KB, index {} KB",
        snapshot.revision(),
        store.oldest(),
        snapshot.live_bytes() / 1024,
        resident.replace([' ', '\t'], ""),
        size(dir) / 1024,
        size(&dir.join("index")) / 1024,
    )
}
