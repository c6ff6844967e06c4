//! `--ranker NAME=URL[,model=M][,protocol=P]`: a ranker beside the predictor that KServe gives.

use std::str::FromStr;

use clap::ValueEnum;

use crate::args::PredictorProtocol;

/// The longest name of a ranker, in characters.
pub(crate) const LONGEST_NAME: u64 = 63;

/// What a setting says of one ranker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RankerSetting {
    /// Its name in requests, answers, logs and metrics.
    pub(crate) name: String,
    /// Where it is: host, host:port, a URL, or a Unix socket.
    pub(crate) host: String,
    /// The model to ask it for; this server's own model name where it is not given.
    pub(crate) model: Option<String>,
    /// How it is spoken to; as the predictor is where it is not given.
    pub(crate) protocol: Option<PredictorProtocol>,
}

impl FromStr for RankerSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let (name, host) = pair(parts.next().unwrap_or_default(), "NAME=URL")?;
        if name.chars().count() as u64 > LONGEST_NAME {
            return Err(format!("expected a name of 1 to {LONGEST_NAME} characters"));
        }
        let mut ranker = Self { name: name.to_owned(), host: host.to_owned(), model: None, protocol: None };
        for part in parts {
            let twice = match pair(part, "model=M or protocol=P")? {
                ("model", model) => ranker.model.replace(model.to_owned()).is_some(),
                ("protocol", protocol) => ranker.protocol.replace(read_protocol(protocol)?).is_some(),
                (key, _) => return Err(format!("expected model=M or protocol=P, got `{key}`")),
            };
            if twice {
                return Err(format!("`{part}` is the second of its kind"));
            }
        }
        Ok(ranker)
    }
}

/// What stands on both sides of the first `=`, neither of it empty.
fn pair<'a>(text: &'a str, expected: &str) -> Result<(&'a str, &'a str), String> {
    let sides = text.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
    let sides = sides.filter(|(key, value)| !key.is_empty() && !value.is_empty());
    sides.ok_or_else(|| format!("expected {expected}, got `{text}`"))
}

pub(super) fn read_protocol(text: &str) -> Result<PredictorProtocol, String> {
    PredictorProtocol::from_str(text, false).map_err(|_| format!("protocol `{text}`: expected v1, v2 or grpc-v2"))
}

#[cfg(test)]
mod tests {
    use super::RankerSetting;
    use crate::args::PredictorProtocol;

    #[test]
    fn a_ranker_is_a_name_and_a_place_and_more_where_it_differs() {
        let plain: RankerSetting = "llmranking=http://llm:8080/a=b".parse().unwrap();
        let host = "http://llm:8080/a=b".to_owned();
        let expected = RankerSetting { name: "llmranking".to_owned(), host, model: None, protocol: None };
        assert_eq!(plain, expected);
        let whole: RankerSetting = "llm=llm:8081, protocol=grpc-v2, model=hemline-llm".parse().unwrap();
        assert_eq!((whole.host.as_str(), whole.model.as_deref()), ("llm:8081", Some("hemline-llm")));
        assert_eq!(whole.protocol, Some(PredictorProtocol::GrpcV2));
    }

    #[test]
    fn what_is_wrong_with_it_is_said() {
        for (text, reason) in [
            ("", "expected NAME=URL, got ``"),
            ("llm", "expected NAME=URL, got `llm`"),
            ("=http://llm", "expected NAME=URL, got `=http://llm`"),
            ("llm=", "expected NAME=URL, got `llm=`"),
            ("llm=llm,", "expected model=M or protocol=P, got ``"),
            ("llm=llm,model=", "expected model=M or protocol=P, got `model=`"),
            ("llm=llm,weight=1", "expected model=M or protocol=P, got `weight`"),
            ("llm=llm,model=a,model=b", "`model=b` is the second of its kind"),
            ("llm=llm,protocol=smtp", "protocol `smtp`: expected v1, v2 or grpc-v2"),
            (&format!("{}=llm", "é".repeat(64)), "expected a name of 1 to 63 characters"),
        ] {
            assert_eq!(text.parse::<RankerSetting>().unwrap_err(), reason, "{text}");
        }
    }
}
