//! What a bundle that is not what it says looks like from outside.

use std::{fs, path::Path};

use catalog::{Bundle, articles::Articles, bundle::RANKER, customers::Customers, index::Index};
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::{
    ARTICLES, article_id, bundle, bundle_of, columns, edit_manifest, embedding, rows, vectors, write_manifest,
};

const COLUMNS: [&str; 1] = ["colour_group_name"];

/// The one line of the refusal, or nothing.
fn refusal(dir: &Path) -> Option<String> {
    let open = || {
        let bundle = Bundle::open(dir)?;
        bundle.read(RANKER)?;
        let articles = Articles::open(&bundle, &COLUMNS)?;
        Customers::open(&bundle)?;
        Index::open(&bundle, &articles, 1).map(drop)
    };
    open().err().map(|error: catalog::BundleError| error.to_string())
}

#[test]
fn a_bundle_is_read_as_it_was_written() {
    let dir = bundle(&["anna", "bob"]);
    assert_eq!(refusal(dir.path()), None);
    let bundle = Bundle::open(dir.path()).unwrap();
    let articles = Articles::open(&bundle, &COLUMNS).unwrap();
    assert_eq!(
        (articles.len(), articles.id(3), articles.prod_name(3)),
        (ARTICLES, article_id(3).as_str(), "Product 3")
    );
    assert_eq!((articles.row(&article_id(499)), articles.row("0000000000")), (Some(499), None));
    let colour = articles.attribute("colour_group_name").unwrap();
    assert_eq!([colour(0), colour(4), colour(5)], ["Red", "Black", "Blå"]);
    assert!(articles.attribute("prod_name").is_none());
    let id = article_id(4);
    for (column, text) in [
        ("article_id", Some(id.as_str())),
        ("prod_name", Some("Product 4")),
        ("colour_group_name", Some("Black")),
        ("image", None),
        ("embedding", None),
        ("no such column", None),
    ] {
        assert_eq!(articles.text(column, 4), text, "{column}");
    }
}

#[test]
fn a_customer_has_their_own_vector_and_strangers_have_none() {
    let names: Vec<String> = (0..1000).map(|number| format!("customer {number}")).collect();
    let dir = bundle(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let customers = Customers::open(&Bundle::open(dir.path()).unwrap()).unwrap();
    let mut rows: Vec<usize> = names.iter().map(|name| customers.row(name).unwrap()).collect();
    assert!(rows.iter().all(|&row| customers.vector(row)[0] == row as f32));
    rows.sort_unstable();
    assert_eq!(rows, (1..=1000).collect::<Vec<_>>());
    assert!((0..1000).all(|number| customers.row(&format!("stranger {number}")).is_none()));
}

#[test]
fn a_catalogue_without_customers_knows_nobody() {
    let dir = bundle(&[]);
    assert_eq!(Customers::open(&Bundle::open(dir.path()).unwrap()).unwrap().row("anna"), None);
}

#[test]
fn a_flipped_byte_is_refused_by_name_wherever_it_is() {
    for file in
        ["ranker/model.onnx", "retrieval/articles.arrow", "retrieval/articles.usearch", "retrieval/customers.arrow"]
    {
        let dir = bundle(&["anna"]);
        let path = dir.path().join(file);
        let mut content = fs::read(&path).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(&path, content).unwrap();
        let refusal = refusal(dir.path()).unwrap();
        assert!(refusal.contains(file) && refusal.contains("SHA-256") && refusal.lines().count() == 1, "{refusal}");
    }
}

#[test]
fn a_missing_or_cut_file_is_refused_by_name() {
    let dir = bundle(&["anna"]);
    fs::remove_file(dir.path().join("retrieval/customers.arrow")).unwrap();
    assert!(refusal(dir.path()).unwrap().contains("retrieval/customers.arrow: No such file"));
    let dir = bundle(&["anna"]);
    let path = dir.path().join("retrieval/articles.arrow");
    let content = fs::read(&path).unwrap();
    fs::write(&path, &content[..content.len() - 20]).unwrap();
    assert!(refusal(dir.path()).unwrap().contains("bytes, the manifest says"));
}

#[test]
fn another_schema_version_or_no_json_is_refused() {
    let dir = bundle(&["anna"]);
    edit_manifest(dir.path(), "/schema_version", json!(2));
    assert!(refusal(dir.path()).unwrap().ends_with("manifest.json: schema version 2, this server reads 1"));
    fs::write(dir.path().join("manifest.json"), "{").unwrap();
    assert!(refusal(dir.path()).unwrap().contains("manifest.json: EOF"));
    fs::remove_file(dir.path().join("manifest.json")).unwrap();
    assert!(refusal(dir.path()).unwrap().contains("manifest.json: No such file"));
}

#[test]
fn a_count_that_is_not_the_tables_is_refused() {
    let dir = bundle(&["anna"]);
    edit_manifest(dir.path(), "/counts/articles", json!(ARTICLES + 1));
    assert!(refusal(dir.path()).unwrap().contains("500 articles, the manifest says 501"));
    let dir = bundle(&["anna"]);
    edit_manifest(dir.path(), "/counts/customers", json!(2));
    assert!(refusal(dir.path()).unwrap().contains("customers.arrow"));
}

#[test]
fn a_file_with_right_checksum_and_wrong_content_is_refused_too() {
    for (file, content) in [
        ("retrieval/articles.arrow", b"ARROW1\0\0 no table at all ARROW1".as_slice()),
        ("retrieval/customers.arrow", b"".as_slice()),
        ("retrieval/articles.usearch", b"no index".as_slice()),
    ] {
        let dir = bundle(&["anna"]);
        fs::write(dir.path().join(file), content).unwrap();
        write_manifest(dir.path(), 1);
        let refusal = refusal(dir.path()).unwrap();
        assert!(refusal.contains(file), "{refusal}");
    }
}

/// A bundle of three articles that says what is sold to age groups, as far as its manifest agrees.
fn selling(sold: &[f32], age_groups: &[i32]) -> TempDir {
    let mut columns = columns(3);
    columns.push(("sold_by_age_group", vectors(sold.len() / 3, sold.to_vec())));
    columns.push(("alike", rows(vec![-1; 3])));
    columns.push(("alikeness", vectors(1, vec![0.0; 3])));
    let dir = bundle_of(&(0..3).map(embedding).collect::<Vec<_>>(), columns, 200);
    edit_manifest(dir.path(), "/customers", json!({"default_age": 33.0, "age_groups": age_groups}));
    dir
}

const SOLD: [f32; 6] = [-3.0, -2.0, -1.0, -2.0, f32::NEG_INFINITY, -1.0];

#[test]
fn each_age_group_has_what_sells_most_to_it_first_and_ties_in_the_order_of_rows() {
    let dir = selling(&SOLD, &[25]);
    let bundle = Bundle::open(dir.path()).unwrap();
    let articles = Articles::open(&bundle, &COLUMNS).unwrap();
    let signals = articles.signals().unwrap();
    for (age, group, popular) in [(0.0, 0, [1, 0, 2]), (25.0, 0, [1, 0, 2]), (25.5, 1, [2, 0, 1]), (99.0, 1, [2, 0, 1])]
    {
        assert_eq!(bundle.manifest().customers.age_group(age), group, "{age}");
        assert_eq!(signals.popular(group), popular, "{age}");
    }
}

#[test]
fn shares_that_are_none_and_groups_that_do_not_fit_are_refused() {
    let column = "retrieval/articles.arrow: column `sold_by_age_group`:";
    for (sold, age_groups, reason) in [
        (SOLD.as_slice(), vec![25, 35], "expected fixed_size_list(Float32, 3)"),
        (&SOLD, vec![], "expected fixed_size_list(Float32, 1)"),
        (&[f32::NAN; 6], vec![25], "has a share that is no number"),
        (&[-1.0; 9], vec![35, 25], "the manifest's `customers.age_groups` do not ascend"),
    ] {
        let refusal = refusal(selling(sold, &age_groups).path()).unwrap();
        assert!(refusal.ends_with(&format!("{column} {reason}")), "{refusal}");
    }
}
