//! The files of an image: what a container of it would begin with, as an archive of the engine, unpacked.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use bollard::models::ContainerCreateBody;
use bytes::{Buf as _, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::{DockerRuntime, failed, labels};
use crate::runtime::RuntimeError;

/// How many pieces of the archive may wait for the disk.
const PIECES: usize = 16;

impl DockerRuntime {
    pub(super) async fn unpack(&self, name: &str, folder: &Path) -> Result<(), RuntimeError> {
        let _one_at_a_time = self.unpacking.lock().await;
        let docker = self.docker().await?;
        // It never runs; one that was left by a kubelet that was killed goes with the other containers of the node.
        let body = ContainerCreateBody {
            image: Some(name.to_owned()),
            cmd: Some(vec!["/".to_owned()]),
            labels: Some(HashMap::from([(labels::FILES_OF.to_owned(), self.config.node.clone())])),
            ..ContainerCreateBody::default()
        };
        let options = None::<bollard::query_parameters::CreateContainerOptions>;
        let id = docker.create_container(options, body).await.map_err(failed)?.id;
        let (sender, pieces) = mpsc::channel(PIECES);
        let target = folder.to_owned();
        let unpacking = tokio::task::spawn_blocking(move || {
            let mut archive = tar::Archive::new(Pieces { pieces, current: Bytes::new() });
            archive.set_preserve_permissions(true);
            archive.set_preserve_ownerships(true);
            archive.unpack(target)
        });
        let mut exported = std::pin::pin!(docker.export_container(&id));
        while let Some(piece) = exported.next().await {
            let piece = piece.map_err(|error| io::Error::other(failed(error)));
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        drop(sender);
        let unpacked = unpacking.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        self.remove(&id).await?;
        unpacked.map_err(|error| RuntimeError::Failed(format!("unpack image \"{name}\": {error}")))
    }

    /// Removes containers that a kubelet that was killed has made for the files of their images.
    pub(super) async fn remove_stray_unpacked(&self) -> Result<(), RuntimeError> {
        let Ok(_none_is_in_use) = self.unpacking.try_lock() else { return Ok(()) };
        let docker = self.docker().await?;
        let filters = HashMap::from([("label", vec![format!("{}={}", labels::FILES_OF, self.config.node)])]);
        let options = bollard::query_parameters::ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&filters)
            .build();
        for container in docker.list_containers(Some(options)).await.map_err(failed)? {
            self.remove(container.id.as_deref().unwrap_or_default()).await?;
        }
        Ok(())
    }
}

/// What comes in pieces, to be read by one who waits for each.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_read_as_one_until_something_breaks() {
        let (sender, pieces) = mpsc::channel(4);
        for piece in [Ok("ab"), Ok(""), Ok("cde"), Err("broken")] {
            let piece = piece.map(Bytes::from).map_err(io::Error::other);
            sender.try_send(piece).expect("there is room");
        }
        let mut reader = Pieces { pieces, current: Bytes::new() };
        let mut text = [0; 5];
        reader.read_exact(&mut text).expect("five bytes");
        assert_eq!(&text, b"abcde");
        assert!(reader.read(&mut text).is_err());
    }
}
