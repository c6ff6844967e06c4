//! ONNX graphs as models: metadata read from the graph, one session a thread.
//!
//! ONNX Runtime is loaded from a shared library when the server starts, so that no build needs it.

use std::path::Path;

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, SessionInputValue, builder::GraphOptimizationLevel},
    value::{DynValue, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType},
};

use crate::{
    error::{Error, Result},
    infer::{InferRequest, InferResponse},
    model::{ModelMetadata, SyncModel, TensorMetadata},
    tensor::{Data, Datatype, Tensor},
};

/// ONNX Runtime, loaded.
pub struct Runtime(Environment);

impl Runtime {
    /// Loads the shared library.
    ///
    /// # Errors
    /// It can't be loaded, or is of another version; the text names it.
    pub fn load(library: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("--onnxruntime `{}`: {error}", library.display());
        // A bare name is looked for by the loader; a path is one from here, not from the program's folder.
        let has_folder = library.parent().is_some_and(|parent| !parent.as_os_str().is_empty());
        let path =
            if has_folder { library.canonicalize().map_err(|error| failed(&error))? } else { library.to_owned() };
        let builder = ort::init_from(path).map_err(|error| failed(&error))?;
        let environment = builder.with_name("hemline").with_telemetry(false).build().map_err(|error| failed(&error))?;
        // What fails is an error that is answered and logged; ONNX Runtime's own lines beside it would be no JSON.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Self(environment))
    }
}

/// Where a graph's free leading dimension is shared by its inputs, a request must agree on it.
#[derive(Clone, Debug, PartialEq)]
struct Port {
    metadata: TensorMetadata,
    /// The symbol of the first dimension, where that is free.
    rows: Option<String>,
}

/// An ONNX graph with a session of its own.
pub struct Graph {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<TensorMetadata>,
}

impl Graph {
    /// Reads a graph. Its session computes on the calling thread only: concurrency is the callers', a session each.
    ///
    /// Outputs that are no tensors of the protocol's datatypes, as the maps of probabilities that classifiers are exported with, are left
    /// out, with a warning.
    ///
    /// # Errors
    /// It is no ONNX graph, or has inputs that are no tensors of the protocol's datatypes, or no output that is one.
    pub fn load(runtime: &Runtime, model: &[u8]) -> Result<Self, String> {
        let (graph, left_out) = Self::read(runtime, model)?;
        warn_of(&left_out);
        Ok(graph)
    }

    /// The same for so many threads.
    ///
    /// # Errors
    /// As [`Graph::load`].
    pub fn copies(runtime: &Runtime, model: &[u8], count: usize) -> Result<Vec<Self>, String> {
        let copies = (0..count).map(|_| Self::read(runtime, model)).collect::<Result<Vec<_>, _>>()?;
        copies.first().into_iter().for_each(|(_, left_out)| warn_of(left_out));
        Ok(copies.into_iter().map(|(graph, _)| graph).collect())
    }

    /// The graph, and what is wrong with the outputs that are left out.
    fn read(runtime: &Runtime, model: &[u8]) -> Result<(Self, Vec<String>), String> {
        let session = Self::session(runtime, model).map_err(|error| format!("no ONNX model: {error}"))?;
        let inputs =
            session.inputs().iter().map(|input| port(input.name(), input.dtype())).collect::<Result<_, _>>()?;
        let (mut outputs, mut left_out) = (Vec::new(), Vec::new());
        for output in session.outputs() {
            match port(output.name(), output.dtype()) {
                Ok(port) => outputs.push(port.metadata),
                Err(reason) => left_out.push(reason),
            }
        }
        if outputs.is_empty() {
            return Err(format!("no output that could be answered: {}", left_out.join(", ")));
        }
        Ok((Self { session, inputs, outputs }, left_out))
    }

    fn session(runtime: &Runtime, model: &[u8]) -> ort::Result<Session> {
        let builder = Session::builder(&runtime.0)?;
        let builder = builder.with_optimization_level(GraphOptimizationLevel::Level3)?;
        let mut builder = builder.with_intra_threads(1)?.with_inter_threads(1)?.with_log_level(LogLevel::Fatal)?;
        builder.commit_from_memory(model)
    }

    /// What the graph takes, in its order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = &TensorMetadata> {
        self.inputs.iter().map(|port| &port.metadata)
    }

    /// What the graph gives.
    #[must_use]
    pub fn outputs(&self) -> &[TensorMetadata] {
        &self.outputs
    }

    /// Runs the graph on the tensors that `tensor` finds by name.
    ///
    /// # Errors
    /// A tensor is missing or can't be what the graph takes ([`crate::Kind::InvalidArgument`]); the graph fails.
    pub fn run<'t>(&mut self, tensor: impl Fn(&str) -> Result<&'t Tensor>) -> Result<Vec<Tensor>> {
        let mut values: Vec<SessionInputValue<'t>> = Vec::with_capacity(self.inputs.len());
        let mut rows: Option<(&str, &str, usize)> = None;
        for port in &self.inputs {
            let name = port.metadata.name.as_str();
            let tensor = tensor(name)?;
            if let (Some(symbol), Some(&count)) = (&port.rows, tensor.shape().first()) {
                match rows {
                    Some((first, shared, wanted)) if shared == symbol && wanted != count => {
                        return Err(Error::invalid(format!(
                            "input `{name}`: {count} rows, where input `{first}` has {wanted}"
                        )));
                    }
                    Some(_) => {}
                    None => rows = Some((name, symbol, count)),
                }
            }
            values.push(to_ort(tensor)?);
        }
        let outputs = self.session.run(values.as_slice()).map_err(Error::internal)?;
        self.outputs.iter().map(|output| from_ort(output, &outputs[output.name.as_str()])).collect()
    }
}

impl SyncModel for Graph {
    /// Answers a row of zeros and empty strings: a model whose first request fails should not be ready.
    fn warm_up(&mut self, _metadata: &ModelMetadata) -> Result<()> {
        // Of what the graph takes, whatever a model around it takes beside that.
        let inputs = self.inputs().map(TensorMetadata::blank).collect::<Result<_>>()?;
        self.infer(InferRequest::of(inputs)).map(drop)
    }

    fn infer(&mut self, request: InferRequest) -> Result<InferResponse> {
        self.run(|name| request.required(name)).map(InferResponse::of)
    }
}

fn warn_of(left_out: &[String]) {
    for reason in left_out {
        tracing::warn!(reason, "an output is left out");
    }
}

fn port(name: &str, dtype: &ValueType) -> Result<Port, String> {
    let ValueType::Tensor { ty, shape, dimension_symbols } = dtype else {
        return Err(format!("`{name}` is no tensor"));
    };
    let datatype = datatype(*ty).ok_or_else(|| format!("`{name}` is a tensor of {ty}, which the protocol has not"))?;
    let rows = (shape.first() == Some(&-1)).then(|| dimension_symbols.first().cloned().unwrap_or_default());
    Ok(Port { metadata: TensorMetadata::new(name, datatype, shape), rows })
}

/// The element types that ONNX and the protocol share.
macro_rules! shared_types {
    ($($variant:ident $ort:ident;)*) => {
        fn datatype(element: TensorElementType) -> Option<Datatype> {
            match element {
                $(TensorElementType::$ort => Some(Datatype::$variant),)*
                TensorElementType::String => Some(Datatype::Bytes),
                _ => None,
            }
        }

        fn to_ort(tensor: &Tensor) -> Result<SessionInputValue<'_>> {
            match tensor.data() {
                $(Data::$variant(data) => {
                    let value = TensorRef::from_array_view((tensor.shape(), data.as_slice()));
                    value.map(SessionInputValue::from).map_err(Error::internal)
                })*
                Data::Bytes(_) => strings(tensor),
            }
        }

        fn from_ort(output: &TensorMetadata, value: &DynValue) -> Result<Tensor> {
            let (shape, data) = match output.datatype {
                $(Datatype::$variant => {
                    let (shape, data) = value.try_extract_tensor().map_err(Error::internal)?;
                    (shape, Data::$variant(data.to_vec()))
                })*
                Datatype::Bytes => {
                    let (shape, data) = value.try_extract_strings().map_err(Error::internal)?;
                    (shape, Data::Bytes(data.iter().collect()))
                }
            };
            let shape = shape.iter().map(|&dimension| usize::try_from(dimension)).collect::<Result<_, _>>();
            Tensor::new(&output.name, shape.map_err(Error::internal)?, data)
        }
    };
}

shared_types! {
    Bool Bool;
    Uint8 Uint8;
    Uint16 Uint16;
    Uint32 Uint32;
    Uint64 Uint64;
    Int8 Int8;
    Int16 Int16;
    Int32 Int32;
    Int64 Int64;
    Fp16 Float16;
    Bf16 Bfloat16;
    Fp32 Float32;
    Fp64 Float64;
}

fn strings(tensor: &Tensor) -> Result<SessionInputValue<'static>> {
    let elements = tensor.as_bytes().into_iter().flat_map(|elements| elements.iter()).enumerate();
    let elements = elements.map(|(row, element)| match std::str::from_utf8(element) {
        Ok(text) if !text.contains('\0') => Ok(text.to_owned()),
        // ONNX Runtime takes strings that end with the first NUL byte.
        _ => {
            Err(Error::invalid(format!("input `{}`, row {row}: expected UTF-8 text without a NUL byte", tensor.name())))
        }
    });
    let elements = elements.collect::<Result<Vec<_>>>()?;
    let value = OrtTensor::from_string_array((tensor.shape(), elements.as_slice()));
    value.map(SessionInputValue::from).map_err(Error::internal)
}
