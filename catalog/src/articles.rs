//! Article columns, mapped. A row number is an article's key in the vector index.

use std::hash::BuildHasher;

use arrow_array::{Array, DictionaryArray, StringArray, cast::AsArray, types::Int32Type};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::{
    bundle::{Bundle, BundleError},
    embeddings::Embeddings,
    filter::{Column, Kind},
    mapped::Table,
    signals::Signals,
};

/// The article table's file.
pub const ARTICLES: &str = "retrieval/articles.arrow";

/// The column of ids.
pub(crate) const ARTICLE_ID: &str = "article_id";
/// The columns of texts of their own in each row.
const PROD_NAME: &str = "prod_name";
const DETAIL_DESC: &str = "detail_desc";
const IMAGE: &str = "image";

/// What is known of every article.
pub struct Articles {
    ids: StringArray,
    prod_names: StringArray,
    detail_descs: StringArray,
    images: Option<StringArray>,
    attributes: Vec<Attribute>,
    columns: Vec<(String, Column)>,
    embeddings: Embeddings,
    signals: Option<Signals>,
    /// Rows by their ids, which stand in the table: a tenth of what a map that has the ids takes.
    by_id: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// A dictionary-encoded column: a request's feature strings are references into its few values.
struct Attribute {
    name: String,
    column: DictionaryArray<Int32Type>,
}

impl Articles {
    /// Maps the table. `attributes` are the columns that the ranker's features need.
    ///
    /// # Errors
    /// The file is not the manifest's, or lacks a column.
    pub fn open(bundle: &Bundle, attributes: &[&str]) -> Result<Self, BundleError> {
        let table = Table::map(bundle, ARTICLES)?;
        let manifest = bundle.manifest();
        let (rows, wanted) = (table.rows(), manifest.counts.articles);
        if rows != wanted || rows == 0 {
            return Err(bundle.invalid(ARTICLES, format!("{rows} articles, the manifest says {wanted}")));
        }
        let ids = table.strings(ARTICLE_ID)?;
        let (id, hasher) = (|row: u32| ids.value(row as usize), DefaultHashBuilder::default());
        let mut by_id = HashTable::with_capacity(rows);
        for row in (0_u32..).take(rows) {
            let hash = hasher.hash_one(id(row));
            if by_id.find(hash, |&other| id(other) == id(row)).is_some() {
                return Err(table.invalid(ARTICLE_ID, format!("{} stands twice", id(row))));
            }
            by_id.insert_unique(hash, row, |&row| hasher.hash_one(id(row)));
        }
        let attribute = |&name: &&str| Ok(Attribute { name: name.to_owned(), column: table.dictionary(name)? });
        Ok(Self {
            ids,
            prod_names: table.strings(PROD_NAME)?,
            detail_descs: table.strings(DETAIL_DESC)?,
            images: table.has(IMAGE).then(|| table.strings(IMAGE)).transpose()?,
            attributes: attributes.iter().map(attribute).collect::<Result<_, BundleError>>()?,
            columns: Column::all(&table)?,
            embeddings: Embeddings::of(&table, manifest.retrieval.embedding_size)?,
            signals: Signals::of(&table, manifest)?,
            by_id,
            hasher,
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Never true: a bundle without articles is refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this id.
    #[must_use]
    pub fn row(&self, article_id: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(article_id);
        self.by_id.find(hash, |&row| self.id(row) == article_id).copied()
    }

    /// The id of a row.
    #[must_use]
    pub fn id(&self, row: u32) -> &str {
        self.ids.value(row as usize)
    }

    /// The product's name.
    #[must_use]
    pub fn prod_name(&self, row: u32) -> &str {
        self.prod_names.value(row as usize)
    }

    /// The description.
    #[must_use]
    pub fn detail_desc(&self, row: u32) -> &str {
        self.detail_descs.value(row as usize)
    }

    /// A column of texts by row, whichever it is; nothing where the bundle does not have it, or has it as numbers.
    #[must_use]
    pub fn text(&self, name: &str, row: u32) -> Option<&str> {
        let row = row as usize;
        let texts = match name {
            ARTICLE_ID => Some(&self.ids),
            PROD_NAME => Some(&self.prod_names),
            DETAIL_DESC => Some(&self.detail_descs),
            IMAGE => self.images.as_ref(),
            _ => match self.column(name)? {
                Column::Dictionary(column) => {
                    let code = usize::try_from(column.keys().values()[row]).ok()?;
                    return Some(column.values().as_string::<i32>().value(code));
                }
                Column::Texts(texts) => Some(texts),
                Column::Ids | Column::Numbers(_) => None,
            },
        };
        texts.map(|texts| texts.value(row))
    }

    /// An attribute's value by row, for one of the attributes that [`Articles::open`] was given.
    #[must_use]
    pub fn attribute<'a>(&'a self, name: &str) -> Option<impl Fn(u32) -> &'a str + use<'a>> {
        let attribute = self.attributes.iter().find(|attribute| attribute.name == name)?;
        let (keys, values) = (attribute.column.keys(), attribute.column.values().as_string::<i32>());
        Some(move |row: u32| values.value(usize::try_from(keys.value(row as usize)).unwrap_or_default()))
    }

    /// A row's embedding.
    #[must_use]
    pub fn embedding(&self, row: u32) -> &[f32] {
        self.embeddings.row(row)
    }

    /// What purchases say of the articles; older bundles do not know.
    #[must_use]
    pub fn signals(&self) -> Option<&Signals> {
        self.signals.as_ref()
    }

    /// A column of numbers by row.
    #[must_use]
    pub fn numbers(&self, name: &str) -> Option<&[f32]> {
        match self.column(name)? {
            Column::Numbers(numbers) => Some(numbers.values()),
            _ => None,
        }
    }

    /// The codes of a column of few texts by row: equal where the texts are.
    #[must_use]
    pub fn codes(&self, name: &str) -> Option<&[i32]> {
        match self.column(name)? {
            Column::Dictionary(texts) => Some(texts.keys().values()),
            _ => None,
        }
    }

    /// The texts of such a column, in the order of their codes.
    pub fn texts(&self, name: &str) -> Option<impl Iterator<Item = &str>> {
        match self.column(name)? {
            Column::Dictionary(texts) => Some(texts.values().as_string::<i32>().iter().map(Option::unwrap_or_default)),
            _ => None,
        }
    }

    /// The columns that a filter can name, in the table's order.
    pub fn columns(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.columns.iter().map(|(name, column)| (name.as_str(), column.kind()))
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, column)| column)
    }

    /// The embeddings by row.
    #[must_use]
    pub fn embeddings(&self) -> &Embeddings {
        &self.embeddings
    }
}
