//! Loading anew when what lies there changes, or when somebody asks for it.

use std::{collections::HashMap, time::Duration};

use tokio::{sync::watch::Receiver, time::MissedTickBehavior};

use super::Repository;

/// Looks at every loader's place for ever: each `interval` for a change (never, where that is nothing), and at each `asked` (a SIGHUP)
/// whatever it finds. What could not be loaded is not tried again until it changes or somebody asks.
pub async fn watch(repository: Repository, interval: Option<Duration>, mut asked: Receiver<()>) {
    let mut seen = HashMap::new();
    for (name, loader) in repository.loaders() {
        seen.insert(name, loader.fingerprint().await);
    }
    // Without an interval the ticks are years apart.
    let mut ticks = tokio::time::interval(interval.unwrap_or(Duration::from_secs(60 * 60 * 24 * 365)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        let forced = tokio::select! {
            _ = ticks.tick() => false,
            // Where nobody can ask any more, ticks go on.
            Ok(()) = asked.changed() => true,
        };
        for (name, loader) in repository.loaders() {
            let fingerprint = loader.fingerprint().await;
            let changed = fingerprint.is_some() && seen.get(&name) != Some(&fingerprint);
            if changed || forced {
                seen.insert(name.clone(), fingerprint);
                // A failure is logged and told in the index; what was loaded before serves on.
                drop(repository.load(&name).await);
            }
        }
    }
}
