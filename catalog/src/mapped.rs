//! Arrow IPC files, mapped: columns over the file's own pages, nothing copied.

use std::{fs::File, sync::Arc};

use arrow_array::{
    Array, ArrowPrimitiveType, DictionaryArray, FixedSizeBinaryArray, FixedSizeListArray, Float32Array, PrimitiveArray,
    RecordBatch, StringArray, cast::AsArray, types::Int32Type,
};
use arrow_buffer::Buffer;
use arrow_ipc::{
    convert::try_fb_to_schema,
    reader::{FileDecoder, read_footer_length},
    root_as_footer,
};
use bytes::Bytes;
use memmap2::{Mmap, UncheckedAdvice};

use crate::bundle::{Bundle, BundleError};

/// A table of one record batch in a bundle's file.
pub(crate) struct Table<'a> {
    bundle: &'a Bundle,
    file: &'a str,
    map: Arc<Mmap>,
    batch: RecordBatch,
}

impl Drop for Table<'_> {
    /// Gives the pages back, once its columns are taken: checks have read all of them, and few are needed from now on. Those come again when
    /// they are.
    fn drop(&mut self) {
        // SAFETY: nobody writes to this map, so it drops nothing but what the file gives again.
        #[allow(unsafe_code)]
        let _ = unsafe { self.map.unchecked_advise(UncheckedAdvice::DontNeed) };
    }
}

impl<'a> Table<'a> {
    /// Checks the file against the manifest and maps it.
    pub(crate) fn map(bundle: &'a Bundle, file: &'a str) -> Result<Self, BundleError> {
        let path = bundle.verified_path(file)?;
        let opened = File::open(path).map_err(|error| bundle.invalid(file, error))?;
        // SAFETY: a bundle's files never change once written (docs/bundle.md): a new version is a new directory. Whoever
        // truncates one under a running server takes its pages away, as with any mapped program or library.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&opened) }.map_err(|error| bundle.invalid(file, error))?;
        let map = Arc::new(map);
        let content = Buffer::from(Bytes::from_owner(Shared(map.clone())));
        let batch = decode(&content).map_err(|reason| bundle.invalid(file, reason))?;
        Ok(Self { bundle, file, map, batch })
    }

    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The columns' names, in their order.
    pub(crate) fn names(&self) -> Vec<String> {
        self.batch.schema_ref().fields().iter().map(|field| field.name().clone()).collect()
    }

    pub(crate) fn strings(&self, name: &str) -> Result<StringArray, BundleError> {
        let column = self.column(name)?.as_string_opt().cloned();
        column.ok_or_else(|| self.invalid(name, "expected utf8"))
    }

    pub(crate) fn dictionary(&self, name: &str) -> Result<DictionaryArray<Int32Type>, BundleError> {
        let column = self.column(name)?.as_dictionary_opt::<Int32Type>().cloned();
        let column = column.filter(|column| column.values().as_string_opt::<i32>().is_some());
        column.ok_or_else(|| self.invalid(name, "expected dictionary(int32, utf8)"))
    }

    pub(crate) fn keys(&self, name: &str, width: i32) -> Result<FixedSizeBinaryArray, BundleError> {
        let column = self.column(name)?.as_fixed_size_binary_opt().cloned();
        let column = column.filter(|column| column.value_length() == width);
        column.ok_or_else(|| self.invalid(name, format!("expected fixed_size_binary({width})")))
    }

    /// A column of vectors, flat: row i is `[i * width .. (i + 1) * width]`.
    pub(crate) fn vectors(&self, name: &str, width: usize) -> Result<Float32Array, BundleError> {
        self.lists(name, width)
    }

    /// A column of lists of one length, flat as [`Table::vectors`].
    pub(crate) fn lists<T: ArrowPrimitiveType>(
        &self,
        name: &str,
        width: usize,
    ) -> Result<PrimitiveArray<T>, BundleError> {
        let wanted = || self.invalid(name, format!("expected fixed_size_list({}, {width})", T::DATA_TYPE));
        let fits = self.width(name)? == Some(width);
        let list: &FixedSizeListArray = self.column(name)?.as_fixed_size_list_opt().ok_or_else(wanted)?;
        let values = list.values().as_primitive_opt().filter(|values| fits && values.null_count() == 0);
        values.cloned().ok_or_else(wanted)
    }

    /// The length of a column's lists, if they are of one.
    pub(crate) fn width(&self, name: &str) -> Result<Option<usize>, BundleError> {
        let list = self.column(name)?.as_fixed_size_list_opt();
        Ok(list.and_then(|list| usize::try_from(list.value_length()).ok()))
    }

    /// Whether there is a column of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some()
    }

    pub(crate) fn invalid(&self, column: &str, reason: impl std::fmt::Display) -> BundleError {
        self.bundle.invalid(self.file, format!("column `{column}`: {reason}"))
    }

    pub(crate) fn column(&self, name: &str) -> Result<&dyn Array, BundleError> {
        let column = self.batch.column_by_name(name).ok_or_else(|| self.invalid(name, "missing"))?;
        if column.null_count() > 0 {
            return Err(self.invalid(name, "has nulls"));
        }
        Ok(column.as_ref())
    }
}

/// A map that has further owners.
struct Shared(Arc<Mmap>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The one record batch of a file. The decoder checks offsets and UTF-8, so that no later read can go astray.
fn decode(file: &Buffer) -> Result<RecordBatch, String> {
    let text = |error: &dyn std::fmt::Display| format!("no Arrow IPC file: {error}");
    let trailer = file.len().checked_sub(10).ok_or("no Arrow IPC file: too short")?;
    let tail: [u8; 10] = file[trailer..].try_into().map_err(|_| "no Arrow IPC file: too short")?;
    let footer_length = read_footer_length(tail).map_err(|error| text(&error))?;
    let footer_start = trailer.checked_sub(footer_length).ok_or("no Arrow IPC file: its footer is cut off")?;
    let footer = root_as_footer(&file[footer_start..trailer]).map_err(|error| text(&error))?;
    let schema = footer.schema().ok_or("no Arrow IPC file: no schema")?;
    let schema = try_fb_to_schema(schema).map_err(|error| text(&error))?;
    let mut decoder = FileDecoder::new(schema.into(), footer.version());
    let block_data = |offset: i64, metadata: i32, body: i64| {
        let (start, length) = (usize::try_from(offset).ok()?, usize::try_from(i64::from(metadata) + body).ok()?);
        (start.checked_add(length)? <= file.len()).then(|| file.slice_with_length(start, length))
    };
    for block in footer.dictionaries().iter().flatten() {
        let data = block_data(block.offset(), block.metaDataLength(), block.bodyLength());
        let data = data.ok_or("no Arrow IPC file: a dictionary lies outside of it")?;
        decoder.read_dictionary(block, &data).map_err(|error| text(&error))?;
    }
    let batches = footer.recordBatches().filter(|batches| batches.len() == 1);
    let block = *batches.ok_or("expected one record batch")?.get(0);
    let data = block_data(block.offset(), block.metaDataLength(), block.bodyLength());
    let data = data.ok_or("no Arrow IPC file: its record batch lies outside of it")?;
    decoder.read_record_batch(&block, &data).map_err(|error| text(&error))?.ok_or_else(|| "no record batch".to_owned())
}
