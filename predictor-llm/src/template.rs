//! The prompts: a TOML file of Jinja templates, checked as a whole at start. What it uses is what the model takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use dataplane::{Datatype, Error, Result};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, syntax::SyntaxConfig};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::{
    args::Strategy,
    rows::{self, Input, Row},
};

/// The prompts that are built in.
const DEFAULT: &str = include_str!("../prompts/default.toml");
/// What stands before candidates that are shown together, in the order in which they are shown.
pub(crate) const LABELS: &str = "ABCDEFGHIJKLMNOPQRST";
/// What the engine itself has under a name.
const BUILT_IN: [&str; 3] = ["range", "dict", "namespace"];

/// What a stylist's prompt may say of the customer.
pub(crate) const WISHER: [&str; 4] = ["gender", "age", "age_group", "purchases"];

/// What a prompt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Pointwise,
    Listwise,
    Explain,
    Stylist,
}

impl Task {
    const fn name(self) -> &'static str {
        match self {
            Self::Pointwise => "pointwise",
            Self::Listwise => "listwise",
            Self::Explain => "explain",
            Self::Stylist => "stylist",
        }
    }
}

/// A part of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    System,
    Customer,
    Candidate,
    Question,
}

impl Part {
    const ALL: [Self; 4] = [Self::System, Self::Customer, Self::Candidate, Self::Question];

    const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Customer => "customer",
            Self::Candidate => "candidate",
            Self::Question => "question",
        }
    }

    /// Whether it is about rows, and may use the inputs.
    const fn has_inputs(self, task: Task) -> bool {
        matches!(self, Self::Customer | Self::Candidate) && !matches!(task, Task::Stylist)
    }

    /// What it may use beside the inputs.
    fn extras(self, task: Task) -> &'static [&'static str] {
        match (self, task) {
            (Self::Candidate, Task::Listwise) => &["label"],
            (Self::Question, Task::Pointwise) => &["json"],
            (Self::Question, Task::Listwise) => &["labels", "count"],
            (Self::Customer, Task::Stylist) => &WISHER,
            (Self::Question, Task::Stylist) => &["request", "json"],
            _ => &[],
        }
    }
}

/// A conversation that asks for something: what the system says, and what the user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prompt {
    pub(crate) system: String,
    pub(crate) user: String,
}

/// A file's content.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    inputs: BTreeMap<String, String>,
    pointwise: Parts,
    listwise: Parts,
    explain: Parts,
    /// The one that is built in where a file has none: files that were written for rankers go on to be good.
    stylist: Option<StylistParts>,
}

/// A stylist is told of a customer and a request, and of no candidate.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StylistParts {
    system: String,
    customer: String,
    question: String,
}

impl StylistParts {
    /// The part that is built in.
    fn built_in() -> Result<Self, String> {
        let file: File = toml::from_str(DEFAULT).map_err(|error| unreadable(DEFAULT, &error))?;
        file.stylist.ok_or_else(|| "stylist: not built in".to_owned())
    }

    fn parts(self) -> [(Part, String); 3] {
        [(Part::System, self.system), (Part::Customer, self.customer), (Part::Question, self.question)]
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    system: String,
    customer: String,
    candidate: String,
    question: String,
}

impl Parts {
    fn part(&self, part: Part) -> &str {
        match part {
            Part::System => &self.system,
            Part::Customer => &self.customer,
            Part::Candidate => &self.candidate,
            Part::Question => &self.question,
        }
    }
}

/// Prompts that can be written.
pub(crate) struct Template {
    environment: Environment<'static>,
    inputs: Vec<Input>,
    digest: String,
}

impl Template {
    /// The prompts in the file at `path`, or those that are built in, as far as `strategy` needs them.
    ///
    /// # Errors
    /// It can't be used; one line that names file, part and name.
    pub(crate) fn new(path: Option<&Path>, strategy: Strategy) -> Result<Self, String> {
        let Some(path) = path else { return Self::read(DEFAULT, strategy) };
        let wrong = |reason: String| format!("--template: {}: {reason}", path.display());
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        Self::read(&text, strategy).map_err(wrong)
    }

    fn read(text: &str, strategy: Strategy) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| unreadable(text, &error))?;
        let known = Input::known(&file.inputs)?;
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        // A line that is a block only leaves no line behind.
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.map_err(|error| error.to_string())?);
        let mut used = BTreeSet::new();
        let tasks =
            [(Task::Pointwise, &file.pointwise), (Task::Listwise, &file.listwise), (Task::Explain, &file.explain)];
        for (task, parts) in tasks {
            for part in Part::ALL {
                let names = add(&mut environment, task, part, parts.part(part).to_owned(), &known)?;
                // Pointwise is also what listwise gives way to.
                if task != Task::Listwise || strategy == Strategy::Listwise {
                    used.extend(names);
                }
            }
        }
        for (part, source) in file.stylist.map_or_else(StylistParts::built_in, Ok)?.parts() {
            add(&mut environment, Task::Stylist, part, source, &known)?;
        }
        let inputs = known.iter().filter(|input| used.contains(input.name.as_ref())).cloned().collect();
        let digest = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        let template = Self { environment, inputs, digest };
        template.try_out(&known)?;
        Ok(template)
    }

    /// The inputs that its parts use, in the order in which the model lists them.
    pub(crate) fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// What tells one template from another.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    /// Asks for the probability that the customer of `row` buys its article.
    pub(crate) fn pointwise(&self, row: &Row, json: bool) -> Result<Prompt> {
        self.single(Task::Pointwise, row, &[("json", json.into())])
    }

    /// Asks why the article of `row` suits its customer.
    pub(crate) fn explain(&self, row: &Row) -> Result<Prompt> {
        self.single(Task::Explain, row, &[])
    }

    /// Asks which of the articles the customer buys. `customer` is that part; the rows get [`LABELS`] in their order.
    pub(crate) fn listwise<'a>(&self, customer: &str, rows: impl Iterator<Item = &'a Row>) -> Result<Prompt> {
        let mut lines = Vec::new();
        for (row, label) in rows.zip(LABELS.chars()) {
            let row = with(row, &[("label", label.to_string().into())]);
            lines.push(self.part(Task::Listwise, Part::Candidate, row)?);
        }
        let last = LABELS.chars().nth(lines.len().saturating_sub(1)).unwrap_or('A');
        let extras = [("labels", format!("A to {last}").into()), ("count", lines.len().into())];
        let user =
            [customer, &lines.join("\n"), "", &self.part(Task::Listwise, Part::Question, with(&Row::new(), &extras))?]
                .join("\n");
        Ok(Prompt { system: self.part(Task::Listwise, Part::System, Row::new())?, user })
    }

    /// Asks for an outfit: as JSON, or in lines. `wish` has what [`WISHER`] names, and the `request`.
    pub(crate) fn outfit(&self, wish: &Row, json: bool) -> Result<Prompt> {
        let of_customer = wish.iter().filter(|(name, _)| WISHER.contains(&name.as_ref()));
        let customer = of_customer.map(|(name, value)| (name.clone(), value.clone())).collect();
        let request = wish.get("request").cloned().unwrap_or_default();
        let extras = [("request", request), ("json", json.into())];
        let user = [
            self.part(Task::Stylist, Part::Customer, customer)?,
            self.part(Task::Stylist, Part::Question, with(&Row::new(), &extras))?,
        ]
        .join("\n\n");
        Ok(Prompt { system: self.part(Task::Stylist, Part::System, Row::new())?, user })
    }

    /// What listwise says of the customer of `row`.
    pub(crate) fn customer(&self, row: &Row) -> Result<String> {
        self.part(Task::Listwise, Part::Customer, row.clone())
    }

    fn single(&self, task: Task, row: &Row, extras: &[(&str, Value)]) -> Result<Prompt> {
        let customer = self.part(task, Part::Customer, row.clone())?;
        let candidate = self.part(task, Part::Candidate, row.clone())?;
        let question = self.part(task, Part::Question, with(&Row::new(), extras))?;
        let user = [customer, candidate, question].join("\n\n");
        Ok(Prompt { system: self.part(task, Part::System, Row::new())?, user })
    }

    fn part(&self, task: Task, part: Part, values: Row) -> Result<String> {
        let (name, values) = (template_name(task, part), Value::from(values));
        let written = self.environment.get_template(&name).and_then(|template| template.render(values));
        let written = written.map_err(|error| Error::internal(format!("template {name}: {error}")))?;
        Ok(written.trim().to_owned())
    }

    /// Writes each prompt once: some mistakes show only then.
    fn try_out(&self, known: &[Input]) -> Result<(), String> {
        for filled in [false, true] {
            let row = rows::sample(known, filled);
            let customer = self.customer(&row);
            let listwise = customer.and_then(|customer| self.listwise(&customer, [&row, &row].into_iter()));
            for prompt in [self.pointwise(&row, true), self.pointwise(&row, false), listwise, self.explain(&row)] {
                prompt.map_err(|error| error.reason().to_owned())?;
            }
            let word = if filled { "word" } else { "" };
            let wish = WISHER.iter().chain(&["request"]).map(|name| (Arc::from(*name), word.into())).collect();
            for json in [true, false] {
                self.outfit(&wish, json).map_err(|error| error.reason().to_owned())?;
            }
        }
        Ok(())
    }
}

fn template_name(task: Task, part: Part) -> String {
    format!("{}.{}", task.name(), part.name())
}

fn with(row: &Row, extras: &[(&str, Value)]) -> Row {
    let mut row = row.clone();
    row.extend(extras.iter().map(|(name, value)| (Arc::from(*name), value.clone())));
    row
}

/// What is wrong with a file that can't be read, on one line.
fn unreadable(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let (line, what) = (before.matches('\n').count() + 1, error.message().replace('\n', " "));
    format!("line {line}: {what}")
}

/// Compiles a part. The inputs that it uses.
fn add(
    environment: &mut Environment<'static>,
    task: Task,
    part: Part,
    source: String,
    known: &[Input],
) -> Result<Vec<String>, String> {
    let name = template_name(task, part);
    let wrong = |reason: String| format!("{name}: {reason}");
    environment.add_template_owned(name.clone(), source).map_err(|error| wrong(error.to_string()))?;
    let template = environment.get_template(&name).map_err(|error| wrong(error.to_string()))?;
    let mut used = Vec::new();
    // In an order of their own: of several unknown names always the same is told.
    for variable in template.undeclared_variables(false).into_iter().collect::<BTreeSet<_>>() {
        let is_input = |name: &str| part.has_inputs(task) && known.iter().any(|input| *input.name == *name);
        match variable.as_str() {
            rows::MONTH if part.has_inputs(task) => used.extend(rows::MONTH_OF.map(ToOwned::to_owned)),
            name if is_input(name) => used.push(variable),
            name if part.extras(task).contains(&name) || BUILT_IN.contains(&name) => {}
            name => return Err(wrong(unknown(name, task, part, known))),
        }
    }
    Ok(used)
}

fn unknown(name: &str, task: Task, part: Part, known: &[Input]) -> String {
    let mut names: Vec<&str> = part.extras(task).to_vec();
    if part.has_inputs(task) {
        names.push(rows::MONTH);
        names.extend(known.iter().map(|input| input.name.as_ref()));
    }
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    format!("unknown name `{name}`; known are {names}; [inputs] declares others")
}

/// The datatype of an input that a file declares.
pub(crate) fn declared(name: &str, datatype: &str) -> Result<Datatype, String> {
    let taken = [Datatype::Bytes, Datatype::Fp32, Datatype::Fp64, Datatype::Int64, Datatype::Bool];
    let datatype = Datatype::from_name(datatype).filter(|datatype| taken.contains(datatype));
    datatype.ok_or_else(|| format!("inputs.{name}: expected {}", taken.map(Datatype::name).join(", ")))
}

#[cfg(test)]
mod tests;
