//! tmp
use rhai::{Dynamic, Map, Array};
use serde_json::Value;
fn to(v: &Dynamic) -> Result<Value, String> {
    if v.is_unit() { return Ok(Value::Null) }
    if let Ok(i) = v.as_int() { return Ok(i.into()) }
    if let Ok(i) = v.as_float() { return Ok(i.into()) }
    if let Ok(i) = v.as_bool() { return Ok(i.into()) }
    if v.is_string() { return Ok(v.to_string().into()) }
    if let Some(a) = v.read_lock::<Array>() { return a.iter().map(to).collect::<Result<Vec<_>,_>>().map(Value::Array) }
    if let Some(a) = v.read_lock::<Map>() { return Ok(Value::Object(a.iter().map(|(k,v)| Ok((k.to_string(), to(v)?))).collect::<Result<_,String>>()?)) }
    Err("x".into())
}
fn from(v: Value) -> Dynamic {
    match v { Value::Null => Dynamic::UNIT, Value::Bool(b) => b.into(), Value::Number(n) => n.as_i64().map(Dynamic::from).unwrap_or_else(|| n.as_f64().unwrap().into()),
      Value::String(s) => s.into(), Value::Array(a) => a.into_iter().map(from).collect::<Array>().into(), Value::Object(o) => o.into_iter().map(|(k,v)| (k.into(), from(v))).collect::<Map>().into() }
}
pub(crate) fn to_text(v: &Dynamic) -> Result<String, String> { Ok(to(v)?.to_string()) }
pub(crate) fn from_text(s: &str) -> Result<Dynamic, String> { serde_json::from_str::<Value>(s).map(from).map_err(|e| e.to_string()) }
