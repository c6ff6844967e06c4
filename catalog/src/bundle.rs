//! A bundle: the directory that training made, and its manifest. See `docs/bundle.md` for the format.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// The manifest's schema version that this reader knows.
pub const SCHEMA_VERSION: u64 = 1;

/// The file that says what a bundle is.
pub const MANIFEST: &str = "manifest.json";

/// The ranker's graph.
pub const RANKER: &str = "ranker/model.onnx";

/// The ranker's graph over features that are numbers already; older bundles have none.
pub const ENCODED_RANKER: &str = "ranker/encoded.onnx";

/// What explains the ranker's scores; older bundles have none.
pub const CONTRIBUTIONS: &str = "ranker/contributions.json";

/// The query tower's graph.
pub const QUERY_TOWER: &str = "retrieval/query_tower.onnx";

/// What embeds sentences as the articles' texts were embedded: a graph from tokens.
pub const SENTENCE_ENCODER: &str = "stylist/encoder.onnx";

/// What makes a sentence's tokens, as Hugging Face's `tokenizers` write it.
pub const TOKENIZER: &str = "stylist/tokenizer.json";

/// The embeddings of the articles' texts.
pub const TEXTS: &str = "stylist/articles.arrow";

/// The index over them.
pub const TEXTS_INDEX: &str = "stylist/articles.usearch";

/// Why a bundle can't be served. Each text is one line that names the file.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file is not there or can't be read.
    #[error("bundle {}: {file}: {source}", dir.display())]
    Io {
        /// The bundle.
        dir: PathBuf,
        /// The file in it.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file is not what the manifest or the format says.
    #[error("bundle {}: {file}: {reason}", dir.display())]
    Invalid {
        /// The bundle.
        dir: PathBuf,
        /// The file in it.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// What a bundle says of itself. Fields that this reader does not use are not read.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// Identifies the content: what servers report as the model version.
    pub version: String,
    /// How many of what.
    pub counts: Counts,
    /// About customers.
    pub customers: CustomersInfo,
    /// About retrieval.
    pub retrieval: RetrievalInfo,
    /// About ranking.
    pub ranking: RankingInfo,
    /// About what is found by words, where the bundle has that.
    #[serde(default)]
    pub stylist: Option<StylistInfo>,
    /// Size and checksum of each file.
    pub files: BTreeMap<String, FileInfo>,
}

/// How many of what.
#[derive(Clone, Debug, Deserialize)]
pub struct Counts {
    /// Rows of the article table and of the index.
    pub articles: usize,
    /// Customers with a vector of their own.
    pub customers: usize,
}

/// About customers.
#[derive(Clone, Debug, Deserialize)]
pub struct CustomersInfo {
    /// The training median, in years, where an age is unknown.
    pub default_age: f32,
    /// The upper bounds of the age groups, in years, ascending; the last group is open. Older bundles have no groups.
    #[serde(default)]
    pub age_groups: Option<Vec<f32>>,
}

impl CustomersInfo {
    /// The number of the group of an age in years: how many groups' bounds are below it.
    #[must_use]
    pub fn age_group(&self, age: f32) -> usize {
        self.age_groups.iter().flatten().filter(|bound| **bound < age).count()
    }

    /// The years of that group in words, as `26-35` or `66+`; nothing where the bundle has no groups.
    #[must_use]
    pub fn age_group_label(&self, age: f32) -> Option<String> {
        let (bounds, group) = (self.age_groups.as_ref()?, self.age_group(age));
        let least = group.checked_sub(1).and_then(|below| bounds.get(below)).map_or(0.0, |below| below + 1.0);
        Some(bounds.get(group).map_or_else(|| format!("{least}+"), |most| format!("{least}-{most}")))
    }
}

/// About retrieval.
#[derive(Clone, Debug, Deserialize)]
pub struct RetrievalInfo {
    /// Length of query and article vectors.
    pub embedding_size: usize,
    /// The query tower's inputs and output.
    pub query_tower: QueryTowerInfo,
    /// What the query tower is told of a customer's last touches, if anything.
    #[serde(default)]
    pub history: Option<HistoryInfo>,
    /// What finds candidates beside the towers, if anything.
    #[serde(default)]
    pub sources: Option<Sources>,
    /// How the index searches.
    pub index: IndexInfo,
}

/// How the last touches of a customer are told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct HistoryInfo {
    /// How many, at most.
    pub length: usize,
    /// What each counts.
    pub weights: TouchWeights,
}

/// Shares of the candidates that are not for the towers to choose; what these sources leave, the towers fill.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Sources {
    /// What was bought by those who bought what the customer touched of late.
    pub alike: f64,
    /// What sells of late to the customer's age group.
    pub popular: f64,
}

/// What a touch counts, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct TouchWeights {
    /// The article was bought.
    pub purchase: f32,
    /// It was clicked on.
    pub click: f32,
}

/// The query tower's inputs and output.
#[derive(Clone, Debug, Deserialize)]
pub struct QueryTowerInfo {
    /// By name.
    pub inputs: Vec<Feature>,
    /// The output that is the query vector.
    pub output: String,
}

/// How the index searches.
#[derive(Clone, Debug, Deserialize)]
pub struct IndexInfo {
    /// `ip`: inner product.
    pub metric: String,
    /// Candidates that a search looks at; more finds more of the exact neighbours.
    pub expansion_search: usize,
}

/// About ranking.
#[derive(Clone, Debug, Deserialize)]
pub struct RankingInfo {
    /// The ranker's features, in the order of its schema.
    pub features: Vec<Feature>,
    /// The ranker's output that is the score.
    pub output: String,
}

/// About what is found by words.
#[derive(Clone, Debug, Deserialize)]
pub struct StylistInfo {
    /// Length of a sentence's vector.
    pub embedding_size: usize,
    /// Tokens of a sentence that are read; the rest is cut off.
    pub max_tokens: usize,
    /// How the index over the articles' texts searches.
    pub index: IndexInfo,
    /// By gender, the sections whose articles may be offered to it.
    #[serde(default)]
    pub genders: BTreeMap<String, Vec<String>>,
}

/// A named input of a model.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Its datatype, as the Open Inference Protocol names it.
    pub datatype: String,
    /// How a number is computed that is not the request's own; see `docs/bundle.md`.
    #[serde(default)]
    pub function: Option<String>,
    /// The column of the article table that the function reads, where it is not of the feature's name.
    #[serde(default)]
    pub column: Option<String>,
}

/// Size and checksum of a file.
#[derive(Clone, Debug, Deserialize)]
pub struct FileInfo {
    /// SHA-256 in hex.
    pub sha256: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// A bundle whose manifest has been read. Its files are checked when they are asked for, so that a server checks what it uses.
#[derive(Clone, Debug)]
pub struct Bundle {
    dir: PathBuf,
    manifest: Manifest,
    digest: String,
}

impl Bundle {
    /// Reads the manifest.
    ///
    /// # Errors
    /// There is none, it can't be read, or it has another schema version.
    pub fn open(dir: &Path) -> Result<Self, BundleError> {
        let text = fs::read(dir.join(MANIFEST)).map_err(|source| io_error(dir, MANIFEST, source))?;
        let manifest = parse(&text).map_err(|reason| invalid(dir, MANIFEST, reason))?;
        Ok(Self { dir: dir.to_owned(), manifest, digest: sha256(&text) })
    }

    /// The manifest's digest, which stands for every file in it.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// What the bundle says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether the bundle has a file, for those that it may be without.
    #[must_use]
    pub fn has(&self, file: &str) -> bool {
        self.manifest.files.contains_key(file)
    }

    /// The content of a file, checked.
    ///
    /// # Errors
    /// It is not in the manifest, can't be read, or is not the file that the manifest means.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, BundleError> {
        let info = self.info(file)?;
        let content = fs::read(self.dir.join(file)).map_err(|source| io_error(&self.dir, file, source))?;
        self.compare(file, info, content.len() as u64, &Sha256::digest(&content))?;
        Ok(content)
    }

    /// The path of a file, checked: for those who map it.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn verified_path(&self, file: &str) -> Result<PathBuf, BundleError> {
        let info = self.info(file)?;
        let path = self.dir.join(file);
        let (bytes, digest) = hash(&path).map_err(|source| io_error(&self.dir, file, source))?;
        self.compare(file, info, bytes, &digest)?;
        Ok(path)
    }

    /// A file that is not what it must be.
    #[must_use]
    pub fn invalid(&self, file: &str, reason: impl std::fmt::Display) -> BundleError {
        invalid(&self.dir, file, reason.to_string())
    }

    fn info(&self, file: &str) -> Result<&FileInfo, BundleError> {
        self.manifest.files.get(file).ok_or_else(|| self.invalid(MANIFEST, format!("`files` does not list {file}")))
    }

    fn compare(&self, file: &str, info: &FileInfo, bytes: u64, digest: &[u8]) -> Result<(), BundleError> {
        if bytes != info.bytes {
            return Err(self.invalid(file, format!("{bytes} bytes, the manifest says {}", info.bytes)));
        }
        if !hex(digest).eq_ignore_ascii_case(&info.sha256) {
            return Err(self.invalid(file, "its SHA-256 is not the manifest's: the file was changed or damaged"));
        }
        Ok(())
    }
}

/// The digest of a content: `sha256:` and 64 hex digits.
#[must_use]
pub fn sha256(content: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(content)))
}

fn parse(text: &[u8]) -> Result<Manifest, String> {
    #[derive(Deserialize)]
    struct Version {
        schema_version: u64,
    }
    // The version first: another version may well have other fields.
    let Version { schema_version } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if schema_version != SCHEMA_VERSION {
        return Err(format!("schema version {schema_version}, this server reads {SCHEMA_VERSION}"));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Size and SHA-256, read in pieces: mapping it here would count the whole file as memory in use.
fn hash(path: &Path) -> io::Result<(u64, Vec<u8>)> {
    let mut file = File::open(path)?;
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 18], 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((bytes, hasher.finalize().to_vec())),
            count => {
                hasher.update(&buffer[..count]);
                bytes += count as u64;
            }
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn io_error(dir: &Path, file: &str, source: io::Error) -> BundleError {
    BundleError::Io { dir: dir.to_owned(), file: file.to_owned(), source }
}

fn invalid(dir: &Path, file: &str, reason: String) -> BundleError {
    BundleError::Invalid { dir: dir.to_owned(), file: file.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::CustomersInfo;

    #[test]
    fn an_age_group_is_told_by_its_years() {
        let info = CustomersInfo { default_age: 33.0, age_groups: Some(vec![18.0, 25.0, 35.0]) };
        let told = [0.0, 18.0, 18.5, 25.0, 34.0, 90.0].map(|age| info.age_group_label(age).unwrap());
        assert_eq!(told, ["0-18", "0-18", "19-25", "19-25", "26-35", "36+"]);
        assert_eq!(CustomersInfo { age_groups: None, ..info }.age_group_label(30.0), None);
    }
}
