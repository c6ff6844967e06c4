//! What only SQLite has.

use catalog::{
    events::Kind,
    store::{self, Failure, StoreUrl},
};

use super::{IN_TIME, SECOND, World, event};

#[tokio::test]
async fn a_file_that_is_missing_is_refused_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let url: StoreUrl = format!("sqlite://{}/store.db", dir.path().display()).parse().unwrap();
    let missing = store::open(&url, None).await.err().unwrap().to_string();
    assert!(missing.contains("store.db: no such file"), "{missing}");
}

#[tokio::test]
async fn a_writer_who_holds_the_lock_makes_an_event_wait_and_no_reader() {
    let mut world = World::sqlite().await;
    let store = world.open().await.unwrap();
    world.execute("BEGIN IMMEDIATE").await;
    assert!(store.fresh(&["anna"], IN_TIME).await.unwrap().customers[0].known);
    let refused = store.record(&[event("1", Kind::Click, "a")], SECOND / 5).await.unwrap_err();
    assert_eq!(refused.failure, Failure::Slow);
    world.execute("COMMIT").await;
    assert_eq!(store.record(&[event("2", Kind::Click, "a")], 5 * SECOND).await.unwrap(), [true]);
}

#[test]
fn a_url_that_names_no_store_says_what_one_looks_like_and_repeats_nothing() {
    for text in ["store.db", "sqlite://", "sqlite:", "", "mysql://x", "postgres://", "postgres://u:secret@h:port/x"] {
        let refused = text.parse::<StoreUrl>().unwrap_err();
        assert_eq!(refused, "expected sqlite://PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE", "{text}");
    }
    let url: StoreUrl = "postgres://u:secret@db.example:5433/x".parse().unwrap();
    assert_eq!(format!("{url:?}"), "postgres://db.example:5433");
}
