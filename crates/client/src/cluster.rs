//! The cluster as a whole: what it is, its nodes' certificates, backups, keys.

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, future, stream};
use rpc::v1;
use rpc::v1::backup_chunk::Part;
use rpc::v1::cluster_client::ClusterClient;

use crate::connection::{Connection, MAX_MESSAGE};
use crate::{Client, ClientError};

/// A backup on its way.
pub struct Backup<S> {
    /// The revision that it shows.
    pub revision: u64,
    /// The cluster that it is of.
    pub cluster_id: String,
    /// Its bytes, in pieces. Ends with an error where the backup is not whole.
    pub pieces: S,
}

impl Client {
    /// What this cluster is.
    pub async fn cluster_info(&self) -> Result<v1::InfoResponse, ClientError> {
        Ok(self.cluster().info(v1::InfoRequest {}).await?.into_inner())
    }

    /// Has the certificates of a node's daemons signed.
    pub async fn join(&self, request: v1::JoinRequest) -> Result<v1::JoinResponse, ClientError> {
        Ok(self.cluster().join(request).await?.into_inner())
    }

    /// Makes a new key for what is encrypted at rest. Gives the number of objects that were encrypted anew.
    pub async fn rotate_keys(&self) -> Result<u64, ClientError> {
        Ok(self.cluster().rotate_keys(v1::RotateKeysRequest {}).await?.into_inner().objects)
    }

    /// Everything that is stored, as of one revision.
    pub async fn backup(
        &self,
    ) -> Result<Backup<impl Stream<Item = Result<Bytes, ClientError>> + Unpin + use<>>, ClientError> {
        let mut chunks = self.cluster().backup(v1::BackupRequest {}).await?.into_inner();
        let first = chunks.message().await?.and_then(|chunk| chunk.part);
        let Some(Part::Header(v1::BackupHeader { revision, cluster_id })) = first else {
            return Err(ClientError::Protocol("a backup begins with a header"));
        };
        // The end of the stream is looked at too: a backup without a trailer is not whole.
        let ends = chunks.map(Some).chain(stream::iter([None]));
        let pieces = ends.scan((0_u64, false), |(bytes, done), chunk| {
            let part = match chunk {
                Some(Ok(chunk)) => chunk.part,
                Some(Err(error)) => return future::ready(Some(Some(Err(error.into())))),
                None => {
                    let cut = ClientError::Protocol("a backup ends with a trailer");
                    return future::ready((!*done).then_some(Some(Err(cut))));
                }
            };
            future::ready(Some(match part {
                Some(Part::Data(data)) if !*done => {
                    *bytes += data.len() as u64;
                    Some(Ok(data))
                }
                Some(Part::Trailer(trailer)) if trailer.bytes == *bytes => {
                    *done = true;
                    None
                }
                _ => Some(Err(ClientError::Protocol("a backup is data and then a trailer that fits"))),
            }))
        });
        let pieces = pieces.filter_map(future::ready);
        Ok(Backup { revision, cluster_id, pieces })
    }

    fn cluster(&self) -> ClusterClient<Connection> {
        ClusterClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE)
    }
}
