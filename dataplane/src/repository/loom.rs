//! What loads, swaps and unloads do to the models that are served, in every order that their threads and their readers can take:
//! `make test-loom`. That one load of a name waits for the other is left to tokio's lock.

use std::sync::{Arc, Weak};

use loom::thread;

use super::{Repository, State, tests::Named};
use crate::{Model, orders::every_order};

fn version(model: &Arc<dyn Model>) -> String {
    model.metadata().version().unwrap().to_owned()
}

#[test]
fn whoever_asks_during_a_swap_gets_the_old_or_the_new_and_never_goes_back() {
    every_order(|| {
        let repository = Repository::default().with(Named::new("m", 1));
        let swapped = repository.clone();
        let swap = thread::spawn(move || swapped.switch("m", Named::new("m", 2), None));
        let seen = [(); 3].map(|()| version(&repository.get("m", None).unwrap()));
        swap.join().unwrap();
        assert!(seen.is_sorted() && seen.iter().all(|version| ["1", "2"].contains(&version.as_str())), "{seen:?}");
        assert_eq!(version(&repository.get("m", None).unwrap()), "2");
    });
}

#[test]
fn what_is_told_of_a_model_is_all_of_one_moment() {
    every_order(|| {
        let repository = Repository::default().with(Named::new("m", 1)).with(Named::new("m", 2));
        let swapped = repository.clone();
        let swap = thread::spawn(move || swapped.switch("m", Named::new("m", 3), None));
        let metadata = repository.metadata("m", None).unwrap();
        assert!(metadata.versions == ["1", "2"] || metadata.versions == ["3"], "{:?}", metadata.versions);
        let index = repository.index();
        assert!(matches!(index.len(), 1 | 2) && index.iter().all(|item| item.state == State::Ready), "{index:?}");
        swap.join().unwrap();
    });
}

#[test]
fn changes_of_several_names_at_once_are_all_kept() {
    every_order(|| {
        let repository = ["a", "b", "c"]
            .map(|name| Named::new(name, 1))
            .into_iter()
            .fold(Repository::default(), |repository, model| repository.with(model));
        let of = |change: fn(&Repository)| {
            let repository = repository.clone();
            thread::spawn(move || change(&repository))
        };
        let threads =
            [of(|repository| repository.switch("a", Named::new("a", 2), None)), of(|repository| repository.clear("b"))];
        repository.refuse("c", "no such file", None);
        for thread in threads {
            thread.join().unwrap();
        }
        let index: Vec<_> = repository.index().into_iter().map(|item| (item.name, item.version, item.reason)).collect();
        let wanted = [("a", "2", ""), ("b", "", "unloaded"), ("c", "1", "the last load failed: no such file")];
        assert_eq!(
            index,
            wanted.map(|(name, version, reason)| (name.to_owned(), version.to_owned(), reason.to_owned()))
        );
    });
}

#[test]
fn a_request_keeps_its_model_and_the_last_one_takes_it_along() {
    every_order(|| {
        let old = Named::new("m", 1);
        let gone = Arc::downgrade(&old);
        let repository = Repository::default().with(old);
        let (swapped, other) = (repository.clone(), repository.clone());
        let swap = thread::spawn(move || swapped.switch("m", Named::new("m", 2), None));
        let request = thread::spawn(move || version(&other.get("m", None).unwrap()));
        let model = repository.get("m", None).unwrap();
        let before = version(&model);
        swap.join().unwrap();
        request.join().unwrap();
        assert_eq!(version(&model), before);
        drop(model);
        assert_eq!(Weak::strong_count(&gone), 0, "the old model outlives its requests");
    });
}
