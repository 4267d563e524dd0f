//! Base images: the list, and one build at a time that all who ask join.

use super::answer::ApiError;
use crate::lock::locked;
use crate::sprites::{SpriteError, blocking};
use futures::Stream;
use sprites_api::extension::{BuildLine, Image, Images};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;
use vmm_image::{Cancel, Config, ImageStore, Progress};

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct ImageBuilds {
    root: PathBuf,
    /// The newest line of the build that is under way.
    now: Arc<Mutex<Option<watch::Receiver<BuildLine>>>>,
}

impl ImageBuilds {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, now: Arc::default() }
    }

    /// All images, newest first.
    pub(super) async fn list(&self) -> Result<Images, ApiError> {
        let root = self.root.clone();
        let list = blocking(move || {
            ImageStore::open(root).and_then(|store| store.list()).map_err(SpriteError::image)
        })
        .await?;
        let mut images: Vec<Image> = list
            .into_iter()
            .map(|image| Image {
                description: format!("Debian {}", image.info.suite),
                created: image.info.created.into(),
                bytes: image.info.stored_bytes,
                kernel: image.info.kernel,
                id: image.info.id,
            })
            .collect();
        images.sort_by_key(|image| std::cmp::Reverse(image.created));
        Ok(Images { images, building: self.under_way().is_some() })
    }

    /// Lines of the build that is under way, or of a new one. Each tells the whole; only the newest is kept for the slow. The build goes on
    /// when nobody listens.
    pub(super) fn build(&self) -> impl Stream<Item = BuildLine> + Send + 'static {
        let lines = self.under_way().unwrap_or_else(|| self.begin());
        let mut over = false;
        WatchStream::new(lines).take_while(move |line| {
            let last = over;
            over = line.done.is_some() || line.error.is_some();
            !last
        })
    }

    fn under_way(&self) -> Option<watch::Receiver<BuildLine>> {
        let now = locked(&self.now);
        now.clone().filter(|lines| {
            let line = lines.borrow();
            line.done.is_none() && line.error.is_none()
        })
    }

    fn begin(&self) -> watch::Receiver<BuildLine> {
        let first = BuildLine { step: "Preparing".into(), ..BuildLine::default() };
        let (sender, receiver) = watch::channel(first);
        *locked(&self.now) = Some(receiver.clone());
        let root = self.root.clone();
        tokio::task::spawn_blocking(move || {
            let tell = |progress: Progress| {
                let line =
                    BuildLine { fraction: progress.fraction, step: progress.step, ..BuildLine::default() };
                sender.send_replace(line);
            };
            let built = ImageStore::open(root)
                .and_then(|store| store.build(&Config::default(), tell, &Cancel::new()));
            let before = sender.borrow().clone();
            sender.send_replace(match built {
                Ok(image) => BuildLine { fraction: 1.0, done: Some(image.info.id), ..before },
                Err(error) => BuildLine { error: Some(SpriteError::image(error).to_string()), ..before },
            });
        });
        receiver
    }
}
