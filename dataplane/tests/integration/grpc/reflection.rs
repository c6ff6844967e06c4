//! What is served, told by the server itself; and the protocol's file, held to what was agreed.

use std::fmt::Write;

use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, field_descriptor_proto::Label};
use tonic_reflection::pb::{v1, v1alpha};

use super::echo;
use crate::golden;

const SERVICES: [&str; 2] = ["grpc.health.v1.Health", "inference.GRPCInferenceService"];

/// Asks one version's service what is served, and which file a symbol is in. Both versions have the same messages under two names.
macro_rules! ask {
    ($version:ident, $channel:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let asked =
            [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(SERVICES[1].to_owned())];
        let asked =
            asked.map(|message| ServerReflectionRequest { host: String::new(), message_request: Some(message) });
        let mut client = ServerReflectionClient::new($channel);
        let mut answers = client.server_reflection_info(futures_util::stream::iter(asked)).await.unwrap().into_inner();
        let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
        let MessageResponse::ListServicesResponse(list) = next().await else { panic!("no list") };
        let MessageResponse::FileDescriptorResponse(mut files) = next().await else { panic!("no file") };
        let services: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        (services, FileDescriptorProto::decode(&*files.file_descriptor_proto.remove(0)).unwrap())
    }};
}

#[tokio::test]
async fn both_versions_list_and_describe_what_is_served() {
    let (_, channel) = echo().await;
    let (services, file) = ask!(v1, channel.clone());
    for service in SERVICES {
        assert!(services.iter().any(|listed| listed == service), "{services:?}");
    }
    let (older, same) = ask!(v1alpha, channel);
    for service in SERVICES {
        assert!(older.iter().any(|listed| listed == service), "{older:?}");
    }
    assert_eq!(file, same);
    golden::check("grpc/open_inference.txt", &described(&file));
}

/// Every method and field with its number and type, a line each.
fn described(file: &FileDescriptorProto) -> String {
    let mut text = format!("package {}\n", file.package());
    for service in &file.service {
        for method in &service.method {
            let path = format!("{}/{}", service.name(), method.name());
            writeln!(text, "{path} {} -> {}", method.input_type(), method.output_type()).unwrap();
        }
    }
    file.message_type.iter().for_each(|message| describe(&mut text, "", message));
    text
}

fn describe(text: &mut String, outer: &str, message: &DescriptorProto) {
    let name = format!("{outer}{}", message.name());
    writeln!(text, "{name}").unwrap();
    for field in &message.field {
        let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
        let kind = match field.type_name() {
            "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
            message => message.to_owned(),
        };
        writeln!(text, "    {} {} {repeated}{kind}", field.number(), field.name()).unwrap();
    }
    message.nested_type.iter().for_each(|nested| describe(text, &format!("{name}."), nested));
}
