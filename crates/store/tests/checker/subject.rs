//! What is recorded: the promises of a store as a small interface, and the real store behind it.

use std::pin::Pin;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use store::testing::{delete, put_if, text};
use store::{
    Bucket, Change, Entry, Event, EventKind, Key, Precondition, ReadError, Revision, Scope, Snapshot, Store,
    Term, Watch, WriteError,
};

/// What a client asks to be written. A text of none deletes.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub key: Key,
    pub text: Option<String>,
    pub precondition: Precondition,
}

/// A revision, or the revision that stands there instead of what the precondition asked for.
pub type Told = Result<Revision, Option<Revision>>;

/// An object in a list.
pub type Item = (Key, Revision, String);

/// What a list shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    pub revision: Revision,
    pub items: Vec<Item>,
}

/// An event as a watcher sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub revision: Revision,
    pub key: Key,
    pub kind: EventKind,
    pub text: String,
    pub previous: Option<(Revision, String)>,
}

/// What is listed or watched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part {
    All,
    Namespace(&'static str),
    Label(&'static str),
}

impl Part {
    pub fn scope(self) -> Scope<'static> {
        match self {
            Part::All => Scope::All,
            Part::Namespace(namespace) => Scope::Namespace(namespace),
            Part::Label(label) => Scope::Term(Term::new("label", "l", label), None),
        }
    }

    pub fn has(self, key: &Key, text: &str) -> bool {
        match self {
            Part::All => true,
            Part::Namespace(namespace) => key.namespace() == namespace,
            Part::Label(label) => text.split(' ').any(|word| word.strip_prefix("l=") == Some(label)),
        }
    }
}

/// What a watcher gets when it looks: news, and how far it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct News {
    pub events: Vec<Seen>,
    pub progress: Revision,
}

/// A watch that was begun.
pub trait Watching: Send {
    fn news(&mut self) -> News;
}

/// An answer that is waited for.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A store, or something that says it is one.
pub trait Subject: Send + Sync {
    fn write(&self, asked: Asked) -> Later<'_, Told>;
    fn list(&self, part: Part) -> Listed;
    /// None where the revision is not kept.
    fn list_at(&self, revision: Revision, part: Part) -> Later<'_, Option<Listed>>;
    fn watch(&self, part: Part, after: Revision) -> Box<dyn Watching>;
    /// Ends it and opens it again.
    fn restart(&self) -> Later<'_, ()>;
}

/// Opens the store.
pub type Open = Arc<dyn Fn() -> Store + Send + Sync>;

/// A real store.
pub struct Real {
    open: Open,
    store: RwLock<Option<Store>>,
}

impl Real {
    pub fn new(open: Open) -> Real {
        let store = RwLock::new(Some(open()));
        Real { open, store }
    }

    pub fn store(&self) -> Store {
        self.store.read().clone().expect("it is open")
    }
}

pub fn pods() -> Bucket {
    Bucket::from("pods")
}

pub fn item(entry: &Entry) -> Item {
    (entry.key.clone(), entry.revision, text(entry).to_owned())
}

pub fn listed(snapshot: &Snapshot, part: Part) -> Listed {
    let items = snapshot.list(&pods(), part.scope(), None).map(|entry| item(entry)).collect();
    Listed { revision: snapshot.revision(), items }
}

pub fn seen(event: &Event) -> Seen {
    Seen {
        revision: event.revision(),
        key: event.entry.key.clone(),
        kind: event.kind,
        text: text(&event.entry).to_owned(),
        previous: event.previous.as_ref().map(|entry| (entry.revision, text(entry).to_owned())),
    }
}

struct RealWatch(Mutex<Watch>);

impl Watching for RealWatch {
    fn news(&mut self) -> News {
        let watch = self.0.get_mut();
        let mut news = News::default();
        while let Some(event) = watch.try_next().expect("the history is kept") {
            news.events.push(seen(&event));
        }
        news.progress = watch.progress();
        news
    }
}

impl Real {
    async fn put_or_delete(&self, asked: Asked) -> Told {
        let Asked { key, text, precondition } = asked;
        let write = match &text {
            Some(text) => put_if(&key, text, precondition),
            None => store::Write { precondition, ..delete(&key, "gone") },
        };
        debug_assert!(matches!(write.change, Change::Put(_)) == text.is_some());
        match self.store().write(write).await {
            Ok(entry) => Ok(entry.revision),
            Err(WriteError::PreconditionFailed { current }) => Err(current.map(|entry| entry.revision)),
            Err(error) => panic!("{error}"),
        }
    }

    async fn list_past(&self, revision: Revision, part: Part) -> Option<Listed> {
        match self.store().snapshot_at(revision).await {
            Ok(snapshot) => Some(listed(&snapshot, part)),
            Err(ReadError::Compacted { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    async fn open_again(&self) {
        let store = self.store.write().take().expect("it is open");
        store.close().await;
        drop(store);
        *self.store.write() = Some((self.open)());
    }
}

impl Subject for Real {
    fn write(&self, asked: Asked) -> Later<'_, Told> {
        Box::pin(self.put_or_delete(asked))
    }

    fn list(&self, part: Part) -> Listed {
        listed(&self.store().snapshot(), part)
    }

    fn list_at(&self, revision: Revision, part: Part) -> Later<'_, Option<Listed>> {
        Box::pin(self.list_past(revision, part))
    }

    fn watch(&self, part: Part, after: Revision) -> Box<dyn Watching> {
        let watch = self.store().watch(&pods(), after, part.scope()).expect("the history is kept");
        Box::new(RealWatch(Mutex::new(watch)))
    }

    fn restart(&self) -> Later<'_, ()> {
        Box::pin(self.open_again())
    }
}
