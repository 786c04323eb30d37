//! Images: asked for, and pulled.

use std::collections::HashSet;

use bollard::auth::DockerCredentials;
use bollard::models::ImageSummary;
use bollard::query_parameters::{
    CreateImageOptionsBuilder, ListContainersOptionsBuilder, ListImagesOptions, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;

use super::sandbox::PAUSE_IMAGE;
use super::{DockerRuntime, failed};
use crate::runtime::image::Reference;
use crate::runtime::{Image, ImagePull, NodeImage, RuntimeError};

impl DockerRuntime {
    pub(super) async fn find_image(&self, name: &str) -> Result<Option<Image>, RuntimeError> {
        let docker = self.docker().await?;
        let inspect = match docker.inspect_image(name).await.map_err(failed) {
            Ok(inspect) => inspect,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let id = inspect.id.unwrap_or_default();
        let digest = inspect.repo_digests.unwrap_or_default().into_iter().next();
        Ok(Some(Image {
            reference: match digest {
                Some(digest) => format!("docker-pullable://{digest}"),
                None => format!("docker://{id}"),
            },
            id,
            size: inspect.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            user: inspect.config.and_then(|config| config.user).unwrap_or_default(),
        }))
    }

    pub(super) async fn list_images(&self) -> Result<Vec<NodeImage>, RuntimeError> {
        let docker = self.docker().await?;
        // Of every container, running or not, ours or not: an image of theirs is in use.
        let options = ListContainersOptionsBuilder::default().all(true).build();
        let containers = docker.list_containers(Some(options)).await.map_err(failed)?;
        let used: HashSet<String> =
            containers.into_iter().filter_map(|container| container.image_id).collect();
        let summaries = docker.list_images(None::<ListImagesOptions>).await.map_err(failed)?;
        let image = |summary: ImageSummary| {
            let names = summary.repo_digests.into_iter().chain(summary.repo_tags);
            let names: Vec<String> = names.filter(|name| !name.contains("<none>")).collect();
            // The one of sandboxes is needed again at any moment.
            let is_pause = names
                .iter()
                .any(|name| name.starts_with(PAUSE_IMAGE) || *name == self.config.registry.pause_image);
            NodeImage {
                in_use: is_pause || used.contains(&summary.id),
                id: summary.id,
                names,
                size: u64::try_from(summary.size).unwrap_or(0),
            }
        };
        Ok(summaries.into_iter().map(image).collect())
    }

    pub(super) async fn delete_image(&self, id: &str) -> Result<(), RuntimeError> {
        // With force, since it may have several names.
        let options = RemoveImageOptionsBuilder::default().force(true).build();
        match self.docker().await?.remove_image(id, Some(options), None).await.map_err(failed) {
            Err(error) if error.is_not_found() => Ok(()),
            removed => removed.map(|_| ()),
        }
    }

    pub(super) async fn pull(&self, pull: &ImagePull) -> Result<Image, RuntimeError> {
        let docker = self.docker().await?;
        let options = CreateImageOptionsBuilder::default().from_image(&pull.source).build();
        let credentials = pull.credentials.as_ref().map(|account| DockerCredentials {
            username: Some(account.username.clone()),
            password: Some(account.password.clone()),
            serveraddress: pull.source.split('/').next().map(str::to_owned),
            ..DockerCredentials::default()
        });
        let mut progress = std::pin::pin!(docker.create_image(Some(options), None, credentials));
        while let Some(step) = progress.try_next().await.map_err(failed)? {
            tracing::trace!(image = pull.source, status = ?step.status, "pulling");
        }
        if pull.source != pull.name {
            self.tag(&docker, pull).await?;
        }
        let image = self.find_image(&pull.source).await?;
        image.ok_or_else(|| RuntimeError::NotFound(pull.source.clone()))
    }

    /// The image came from a mirror: it gets the name that was asked for. A digest needs none.
    async fn tag(&self, docker: &bollard::Docker, pull: &ImagePull) -> Result<(), RuntimeError> {
        let reference = Reference::parse(&pull.name, &self.config.registry)
            .map_err(|error| RuntimeError::Failed(error.to_string()))?;
        if reference.digest.is_some() {
            return Ok(());
        }
        let repository = format!("{}/{}", reference.registry, reference.repository);
        let options = TagImageOptionsBuilder::default().repo(&repository).tag(&reference.tag).build();
        docker.tag_image(&pull.source, Some(options)).await.map_err(failed)
    }
}
