//! The interface `context`: who is running, for whom, and why.

use picloud_sdk_wit::picloud::sdk::context::{Context, Host, Principal};

use crate::sandbox::CallState;

impl Host for CallState {
    /// During a load there is no call yet: every text is empty and every number 0.
    fn get(&mut self) -> wasmtime::Result<Context> {
        // It names the execution, which is another one each time.
        self.outside = true;
        let Some(request) = &self.request else {
            return Ok(Context {
                app: String::new(),
                script: String::new(),
                version: 0,
                execution_id: String::new(),
                root_execution_id: String::new(),
                trigger_depth: 0,
                deadline_ms: self.limits.deadline_ms,
                principal: None,
            });
        };
        Ok(Context {
            app: request.script.app.to_string(),
            script: request.script.script.to_string(),
            version: request.script.version,
            execution_id: request.execution_id.to_string(),
            root_execution_id: request.root_execution_id.to_string(),
            trigger_depth: request.trigger_depth,
            deadline_ms: self.limits.deadline_ms,
            principal: request
                .principal
                .as_ref()
                .map(|principal| Principal { kind: principal.kind.clone(), name: principal.name.clone() }),
        })
    }
}
