//! A small bundle, written as `docs/bundle.md` says.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, Int32Array, RecordBatch,
    StringArray, types::Int32Type,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

pub(crate) const SIZE: usize = 8;
pub(crate) const ARTICLES: usize = 500;

pub(crate) const COLOURS: [&str; 3] = ["Red", "Black", "Blå"];

/// A bundle of [`ARTICLES`] articles and the customers given.
pub(crate) fn bundle(customers: &[&str]) -> TempDir {
    let embeddings: Vec<_> = (0..ARTICLES).map(embedding).collect();
    let dir = bundle_of(&embeddings, columns(ARTICLES), 200);
    write_customers(&dir.path().join("retrieval/customers.arrow"), customers);
    write_manifest(dir.path(), customers.len());
    dir
}

/// A bundle of these embeddings and no customers, with these columns beside those that each article table has.
pub(crate) fn bundle_of(embeddings: &[Vec<f32>], columns: Vec<(&str, ArrayRef)>, expansion_search: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("retrieval")).unwrap();
    fs::create_dir_all(dir.path().join("ranker")).unwrap();
    articles(&dir.path().join("retrieval/articles.arrow"), embeddings, columns);
    write_customers(&dir.path().join("retrieval/customers.arrow"), &[]);
    index(&dir.path().join("retrieval/articles.usearch"), embeddings);
    fs::write(dir.path().join("ranker/model.onnx"), b"a model").unwrap();
    write_manifest(dir.path(), 0);
    edit_manifest(dir.path(), "/counts/articles", json!(embeddings.len()));
    edit_manifest(dir.path(), "/retrieval/embedding_size", json!(embeddings[0].len()));
    edit_manifest(dir.path(), "/retrieval/index/expansion_search", json!(expansion_search));
    dir
}

/// The embedding of a row: pseudo-random, and the same every time.
pub(crate) fn embedding(row: usize) -> Vec<f32> {
    let digest = Sha256::digest(row.to_le_bytes());
    digest[..SIZE].iter().map(|&byte| f32::from(byte) / 128.0 - 1.0).collect()
}

pub(crate) fn article_id(row: usize) -> String {
    format!("{:010}", 108_775_015 + row * 7)
}

/// What the price of a row is; each seventh article has none.
pub(crate) fn price(row: usize) -> f32 {
    if row % 7 == 3 { f32::NAN } else { (row % 50) as f32 / 100.0 }
}

pub(crate) fn columns(rows: usize) -> Vec<(&'static str, ArrayRef)> {
    let colours: DictionaryArray<Int32Type> = (0..rows).map(|row| COLOURS[row % 3]).collect();
    let departments: Vec<_> = (0..rows).map(|row| format!("Department {}", row % 20)).collect();
    let departments: DictionaryArray<Int32Type> = departments.iter().map(String::as_str).collect();
    let prices = Float32Array::from_iter_values((0..rows).map(price));
    vec![
        ("colour_group_name", Arc::new(colours) as ArrayRef),
        ("department_name", Arc::new(departments)),
        ("price", Arc::new(prices)),
    ]
}

fn articles(path: &Path, embeddings: &[Vec<f32>], columns: Vec<(&str, ArrayRef)>) {
    let rows = 0..embeddings.len();
    let texts = |text: &dyn Fn(usize) -> String| StringArray::from_iter_values(rows.clone().map(text));
    let mut all = vec![
        ("article_id", Arc::new(texts(&article_id)) as ArrayRef),
        ("prod_name", Arc::new(texts(&|row| format!("Product {row}")))),
        ("detail_desc", Arc::new(texts(&|row| format!("Description {row}")))),
    ];
    all.extend(columns);
    all.push(("embedding", vectors(embeddings[0].len(), embeddings.concat())));
    write(path, all);
}

fn write_customers(path: &Path, customers: &[&str]) {
    let key = |id: &&str| Sha256::digest(id.as_bytes())[..16].to_vec();
    let mut keys: Vec<Vec<u8>> = customers.iter().map(key).collect();
    keys.push(vec![0; 16]);
    keys.sort();
    let values = (0..keys.len()).flat_map(|row| vec![row as f32; SIZE]).collect();
    let keys = FixedSizeBinaryArray::try_from_iter(keys.into_iter()).unwrap();
    write(path, vec![("key", Arc::new(keys) as ArrayRef), ("vector", vectors(SIZE, values))]);
}

pub(crate) fn vectors(size: usize, values: Vec<f32>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    Arc::new(FixedSizeListArray::new(item, size as i32, Arc::new(Float32Array::from(values)), None))
}

/// A column of lists of one row each.
pub(crate) fn rows(values: Vec<i32>) -> ArrayRef {
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    Arc::new(FixedSizeListArray::new(item, 1, Arc::new(Int32Array::from(values)), None))
}

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = FileWriter::try_new(fs::File::create(path).unwrap(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

fn index(path: &Path, embeddings: &[Vec<f32>]) {
    let options = IndexOptions {
        dimensions: embeddings[0].len(),
        connectivity: 16,
        expansion_add: 256,
        metric: MetricKind::IP,
        quantization: ScalarKind::F32,
        ..IndexOptions::default()
    };
    let index = Index::new(&options).unwrap();
    index.reserve(embeddings.len()).unwrap();
    for (row, embedding) in embeddings.iter().enumerate() {
        index.add(row as u64, embedding).unwrap();
    }
    index.save(path.to_str().unwrap()).unwrap();
}

/// The manifest of whatever files stand in `dir` now.
pub(crate) fn write_manifest(dir: &Path, customers: usize) {
    let files =
        ["ranker/model.onnx", "retrieval/articles.arrow", "retrieval/articles.usearch", "retrieval/customers.arrow"];
    let info = |file: &str| {
        let content = fs::read(dir.join(file)).unwrap();
        let sha256: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        (file.to_owned(), json!({"bytes": content.len(), "sha256": sha256}))
    };
    let manifest = json!({
        "schema_version": 1,
        "version": "0123456789ab",
        "created": "2020-09-22T00:00:00Z",
        "counts": {"articles": ARTICLES, "customers": customers, "transactions": 7},
        "customers": {"default_age": 33.0},
        "retrieval": {
            "embedding_size": SIZE,
            "query_tower": {"inputs": [], "output": "query_emb"},
            "index": {"metric": "ip", "expansion_search": 200},
        },
        "ranking": {"features": [{"name": "colour_group_name", "datatype": "BYTES"}], "output": "scores"},
        "files": files.iter().map(|file| info(file)).collect::<BTreeMap<String, Value>>(),
    });
    fs::write(dir.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
}

/// Changes one field of the manifest.
pub(crate) fn edit_manifest(dir: &Path, pointer: &str, value: Value) {
    let path = dir.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    *manifest.pointer_mut(pointer).unwrap() = value;
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
}
