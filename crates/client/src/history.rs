//! What was: versions of objects, differences between moments, and what was deleted.
//!
//! Objects as of a moment are read like those of the present, by a client of a server whose URL goes into the past
//! (`https://10.0.0.1:6443/at/10m`).

use futures_util::{Stream, StreamExt as _};
use rpc::v1;
use rpc::v1::history_client::HistoryClient;

use crate::connection::{Connection, MAX_MESSAGE};
use crate::{Client, ClientError};

impl Client {
    /// The versions of an object, newest first.
    pub async fn versions(
        &self,
        request: v1::VersionsRequest,
    ) -> Result<impl Stream<Item = Result<v1::Version, ClientError>> + Unpin + use<>, ClientError> {
        let versions = self.history().versions(request).await?.into_inner();
        Ok(versions.map(|version| Ok(version?)))
    }

    /// The objects that differ between two moments.
    pub async fn differences(
        &self,
        request: v1::DifferencesRequest,
    ) -> Result<impl Stream<Item = Result<v1::Difference, ClientError>> + Unpin + use<>, ClientError> {
        let differences = self.history().differences(request).await?.into_inner();
        Ok(differences.map(|difference| Ok(difference?)))
    }

    /// Brings a deleted object back, and what it owned.
    pub async fn undelete(
        &self,
        request: v1::UndeleteRequest,
    ) -> Result<Vec<v1::UndeletedObject>, ClientError> {
        Ok(self.history().undelete(request).await?.into_inner().objects)
    }

    fn history(&self) -> HistoryClient<Connection> {
        HistoryClient::new(self.connection()).max_decoding_message_size(MAX_MESSAGE)
    }
}
