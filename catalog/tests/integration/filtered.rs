//! Filters over article columns: what they let pass, and that a search within them is full.

use std::collections::{BTreeSet, HashSet};

use catalog::{
    Bundle,
    articles::Articles,
    filter::{Condition, Filter, FilterError, Kind, Range, Texts},
    index::exact,
};

use crate::{
    fixture::{ARTICLES, COLOURS, article_id, embedding, price},
    neighbours::{graph, open, rows},
};

fn set(texts: &[&str]) -> BTreeSet<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

fn any_of(texts: &[&str]) -> Condition {
    Condition::Texts(Texts { any_of: Some(set(texts)), ..Texts::default() })
}

fn none_of(texts: &[&str]) -> Condition {
    Condition::Texts(Texts { none_of: set(texts), ..Texts::default() })
}

fn filter<const N: usize>(conditions: [(&str, Condition); N]) -> Filter {
    conditions.into_iter().map(|(column, condition)| (column.to_owned(), condition)).collect()
}

fn passing(articles: &Articles, filter: &Filter) -> Vec<usize> {
    articles.matching(filter).unwrap().rows.iter().map(|row| row as usize).collect()
}

fn expected(holds: impl Fn(usize) -> bool) -> Vec<usize> {
    (0..ARTICLES).filter(|&row| holds(row)).collect()
}

#[test]
fn every_column_that_can_be_compared_can_be_named() {
    let (_dir, articles, _index) = open(1);
    let columns: Vec<_> = articles.columns().collect();
    assert_eq!(
        columns,
        [
            ("article_id", Kind::Text),
            ("prod_name", Kind::Text),
            ("colour_group_name", Kind::Text),
            ("department_name", Kind::Text),
            ("price", Kind::Number),
        ]
    );
}

#[test]
fn texts_are_compared_whole_in_each_kind_of_column() {
    let (_dir, articles, _index) = open(1);
    let colours = filter([("colour_group_name", any_of(&["Blå", "Red", "red", "Green"]))]);
    assert_eq!(passing(&articles, &colours), expected(|row| row % 3 != 1));
    let other = filter([("colour_group_name", none_of(&["Blå", "Green"]))]);
    assert_eq!(passing(&articles, &other), expected(|row| row % 3 != 2));
    let names = filter([("prod_name", any_of(&["Product 7", "Product 70", "Product"]))]);
    assert_eq!(passing(&articles, &names), [7, 70]);
    let ids = [article_id(9), article_id(3), "0".to_owned()];
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert_eq!(passing(&articles, &filter([("article_id", any_of(&ids))])), [3, 9]);
    assert_eq!(passing(&articles, &filter([("article_id", none_of(&ids))])), expected(|row| ![3, 9].contains(&row)));
    let both = Condition::Texts(Texts { any_of: Some(set(&["Red", "Blå"])), none_of: set(&["Red"]) });
    assert_eq!(passing(&articles, &filter([("colour_group_name", both)])), expected(|row| row % 3 == 2));
}

#[test]
fn numbers_are_within_their_bounds_and_nan_within_none() {
    let (_dir, articles, _index) = open(1);
    let within = |range: Range| passing(&articles, &filter([("price", Condition::Range(range))]));
    let prices = |holds: &dyn Fn(f32) -> bool| expected(|row| holds(price(row)));
    assert_eq!(within(Range { gte: Some(0.1), ..Range::default() }), prices(&|price| price >= 0.1));
    assert_eq!(within(Range { gt: Some(0.1), ..Range::default() }), prices(&|price| price > 0.1));
    assert_eq!(within(Range { lte: Some(0.1), ..Range::default() }), prices(&|price| price <= 0.1));
    assert_eq!(within(Range { lt: Some(0.1), ..Range::default() }), prices(&|price| price < 0.1));
    let some = Range { gte: Some(0.1), lt: Some(0.2), ..Range::default() };
    assert_eq!(within(some), prices(&|price| (0.1..0.2).contains(&price)));
    assert_eq!(within(Range::default()), prices(&|price| !price.is_nan()));
}

#[test]
fn all_conditions_must_hold_and_the_one_that_leaves_fewest_is_named() {
    let (_dir, articles, _index) = open(1);
    let filter = filter([
        ("colour_group_name", any_of(&["Red"])),
        ("department_name", any_of(&["Department 4"])),
        ("price", Condition::Range(Range { lt: Some(0.25), ..Range::default() })),
    ]);
    let matching = articles.matching(&filter).unwrap();
    let rows: Vec<_> = matching.rows.iter().map(|row| row as usize).collect();
    assert_eq!(rows, expected(|row| row % 3 == 0 && row % 20 == 4 && price(row) < 0.25));
    assert_eq!(matching.narrowest, Some(("department_name".to_owned(), ARTICLES / 20)));
    assert_eq!(articles.matching(&Filter::default()).unwrap().narrowest, None);
}

#[test]
fn a_column_that_is_not_there_or_of_another_kind_is_an_error() {
    let (_dir, articles, _index) = open(1);
    let number = || Condition::Range(Range::default());
    for wrong in [("size", any_of(&["M"])), ("price", any_of(&["1"])), ("prod_name", number())] {
        let error: FilterError = articles.matching(&filter([wrong.clone()])).unwrap_err();
        assert_eq!(error.to_string(), format!("column `{}` can't be filtered so", wrong.0));
    }
}

#[test]
fn filters_that_ask_for_the_same_have_one_form() {
    let price = || Condition::Range(Range { gte: Some(0.1), lt: Some(2.0), ..Range::default() });
    let one = filter([("price", price()), ("colour_group_name", any_of(&["Red", "Black", "Red"]))]);
    let other = filter([("colour_group_name", any_of(&["Black", "Red"])), ("price", price())]);
    assert_eq!(one.canonical(), other.canonical());
    assert_eq!(one.canonical(), r#"{"colour_group_name":{"in":["Black","Red"]},"price":{"gte":0.1,"lt":2.0}}"#);
    assert_ne!(one.canonical(), filter([("price", price()), ("colour_group_name", none_of(&["Red"]))]).canonical());
}

/// A filter of random conditions, and whether a row passes it, told without the table.
fn random_filter(random: &mut fastrand::Rng) -> (Filter, impl Fn(usize) -> bool + use<>) {
    let colours: Vec<_> = COLOURS.iter().copied().filter(|_| random.bool()).collect();
    let departments: Vec<_> = (0..20).filter(|_| random.u8(..) < 40).collect();
    let (low, high, is_in) = (random.f32() / 2.0, random.f32() / 2.0, random.bool());
    let (by_colour, by_department, by_price) = (random.bool(), random.bool(), random.u8(..) < 80);
    let names: Vec<_> = departments.iter().map(|number| format!("Department {number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let conditions = [
        by_colour.then(|| ("colour_group_name", none_of(&colours))),
        by_department.then(|| ("department_name", if is_in { any_of(&names) } else { none_of(&names) })),
        by_price.then(|| ("price", Condition::Range(Range { gte: Some(low), lt: Some(high), ..Range::default() }))),
    ];
    let filter = conditions.into_iter().flatten().map(|(name, condition)| (name.to_owned(), condition)).collect();
    let passes = move |row: usize| {
        (!by_colour || !colours.contains(&COLOURS[row % 3]))
            && (!by_department || departments.contains(&(row % 20)) == is_in)
            && (!by_price || (low..high).contains(&price(row)))
    };
    (filter, passes)
}

#[test]
fn whatever_is_asked_the_list_has_all_that_it_can_have() {
    let (dir, articles, index) = open(1);
    let graph = graph(&Bundle::open(dir.path()).unwrap(), &articles, 1);
    let mut random = fastrand::Rng::with_seed(7);
    let (mut full, mut short) = (0, 0);
    for number in 0..10_000 {
        let (filter, passes) = random_filter(&mut random);
        let most = [0, 3, 100, 490][random.usize(..4)];
        let bought: HashSet<u32> = (0..random.usize(..=most)).map(|_| random.u32(..ARTICLES as u32)).collect();
        let excluded: HashSet<u32> = (0..random.usize(..=5)).map(|_| random.u32(..2 * ARTICLES as u32)).collect();
        let k = random.usize(1..=100);
        let mut allowed = articles.matching(&filter).unwrap().rows;
        bought.iter().chain(&excluded).for_each(|&row| allowed.remove(row));
        let is_left_out = |row: usize| [&bought, &excluded].iter().any(|rows| rows.contains(&(row as u32)));
        let eligible: HashSet<u32> =
            (0..ARTICLES).filter(|&row| passes(row) && !is_left_out(row)).map(|row| row as u32).collect();
        assert_eq!(allowed.count(), eligible.len());
        let query = embedding(50_000 + number);
        let found = index.search(articles.embeddings(), &query, k, &allowed).unwrap();
        assert_eq!(found, exact(articles.embeddings(), &query, k, &allowed));
        for found in [found, graph.walk(&query, k, &allowed).unwrap()] {
            let distinct = rows(&found);
            assert!(distinct.len() == found.len() && distinct.is_subset(&eligible), "{}", filter.canonical());
            assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        }
        let found = index.search(articles.embeddings(), &query, k, &allowed).unwrap().len();
        assert_eq!(found, k.min(eligible.len()), "{}", filter.canonical());
        if found == k { full += 1 } else { short += 1 }
    }
    assert!(full > 1000 && short > 1000, "{full} full, {short} short: they show too little");
}
