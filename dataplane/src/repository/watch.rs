//! Loading anew when what lies there changes, or when somebody asks for it.

use std::{fmt::Write as _, fs, io, os::unix::fs::MetadataExt, path::Path, sync::Arc, time::Duration};

use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::{Loader, Repository};

/// Loads what was never loaded, then looks at every loader's place for ever: each `interval` for a change since the last load (never,
/// where that is zero), and whatever it finds where `asked` changes, as it does at SIGHUP. What could not be loaded is not tried again
/// until it changes or somebody asks, and what was unloaded on purpose not before it is asked for by name.
pub async fn watch(repository: Repository, interval: Duration, mut asked: Receiver<()>) {
    for name in repository.unborn() {
        // As below.
        drop(repository.load(&name).await);
    }
    let watched = !interval.is_zero();
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let forced = tokio::select! {
            _ = ticks.tick(), if watched => false,
            Ok(()) = asked.changed() => true,
            // Nobody looks and nobody can ask any more.
            else => return,
        };
        for (name, loader, seen) in repository.watched() {
            let fingerprint = look(loader).await;
            if forced || (fingerprint.is_some() && fingerprint != seen) {
                // A failure is logged and told in the index; what was loaded before serves on.
                drop(repository.load(&name).await);
            }
        }
    }
}

async fn look(loader: Arc<dyn Loader>) -> Option<String> {
    tokio::task::spawn_blocking(move || loader.fingerprint()).await.ok().flatten()
}

/// What tells one state of a file or folder from another without reading it: name, size, time and inode of every file. Nothing where
/// it can't be looked at, which is the case for a moment while it is exchanged.
#[must_use]
pub fn fingerprint(place: &Path) -> Option<String> {
    let mut text = String::new();
    describe(place, &mut text).ok()?;
    Some(text)
}

fn describe(place: &Path, text: &mut String) -> io::Result<()> {
    let metadata = fs::metadata(place)?;
    if metadata.is_dir() {
        let mut entries = fs::read_dir(place)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        return entries.iter().try_for_each(|entry| describe(entry, text));
    }
    let (size, inode) = (metadata.len(), metadata.ino());
    let (seconds, nanoseconds) = (metadata.mtime(), metadata.mtime_nsec());
    // Writing to a string can't fail.
    let _ = writeln!(text, "{} {size} {inode} {seconds}.{nanoseconds}", place.display());
    Ok(())
}
