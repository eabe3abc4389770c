//! The description of the API.

use std::collections::BTreeSet;

use picloud_host::call::{Failure, Position};
use picloud_host::problem::{Code, Problem};
use serde_json::Value;
use uuid::Uuid;

use super::fixture::TestApi;
use crate::api::openapi;

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations.map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

#[tokio::test]
async fn the_description_is_served() {
    let api = TestApi::new().await;
    let answer = api.get("/openapi.json").await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.json(), document());
    assert_eq!(answer.json()["openapi"], "3.1.0");
}

#[test]
fn operations_have_names_of_their_own_and_a_summary() {
    let document = document();
    let operations = operations(&document);
    let ids: BTreeSet<_> =
        operations.iter().map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), operations.len());
    for (name, operation) in operations {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{name}");
        assert!(operation["tags"][0].is_string(), "{name}");
    }
}

#[test]
fn every_parameter_of_a_path_is_described_once() {
    let document = document();
    for (name, operation) in operations(&document) {
        let in_path: BTreeSet<_> =
            name.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described: Vec<_> =
            parameters.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
        assert_eq!(described.iter().copied().collect::<BTreeSet<_>>(), in_path, "{name}");
        assert_eq!(described.len(), in_path.len(), "{name}");
    }
}

#[test]
fn every_error_is_described_as_a_problem() {
    let document = document();
    for (name, operation) in operations(&document) {
        let responses = operation["responses"].as_object().unwrap();
        assert!(responses.contains_key("500"), "{name}");
        for (status, response) in responses.iter().filter(|(status, _)| !status.starts_with(['2', '3'])) {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{name} {status}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, value: &Value) {
        if let Some(path) = value.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(path.trim_start_matches('#')).is_some(), "{path}");
        }
        match value {
            Value::Object(map) => map.values().for_each(|value| walk(document, value)),
            Value::Array(list) => list.iter().for_each(|value| walk(document, value)),
            _ => {}
        }
    }
    walk(&document(), &document());
}

#[test]
fn lists_refer_to_their_entries() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for entry in ["App", "Script", "Version", "Execution"] {
        let items = &schemas[&format!("List_{entry}")]["properties"]["items"]["items"];
        assert_eq!(items["$ref"], format!("#/components/schemas/{entry}"));
        assert_eq!(schemas[entry]["type"], "object");
    }
}

#[test]
fn problems_have_the_members_that_are_described() {
    let failure = Failure {
        code: Code::CompileFailed,
        message: "message".into(),
        position: Some(Position { line: 1, column: 1 }),
        status: None,
    };
    let call = Failure { code: Code::KvConflict, ..failure.clone() };
    let mut members = BTreeSet::new();
    for problem in
        [Problem::of_failure(&failure, Uuid::nil()), Problem::of_failure(&call, Uuid::nil()).instance("/")]
    {
        let value = serde_json::to_value(&problem).unwrap();
        members.extend(value.as_object().unwrap().keys().cloned());
    }
    let document = document();
    let schema = document["components"]["schemas"]["Problem"]["properties"].as_object().unwrap();
    assert_eq!(members, schema.keys().cloned().collect());
}
