//! The server side of the protocol: what it can do, and who does it.

use std::sync::{Arc, OnceLock};

use rmcp::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomRequest,
    CustomResult, ErrorCode, ErrorData, Implementation, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ReadResourceRequestParams,
    ReadResourceResponse, ReadResourceResult, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp_actix_web::transport::on_request_extensions;
use serde_json::json;

use super::door::Asked;
use super::tools::{self, Name};
use super::{call, refusal, resources};
use crate::actors::handle::PoolHandle;
use crate::http::problem::{Code, Problem};
use crate::http::server::HttpSettings;

const INSTRUCTIONS: &str = "Daedalus gives tasks to a pool of agents and answers for every task it \
    took. Usual order: initialize_pool once; submit_coordination_task for each piece of work; \
    get_coordination_task with wait_s until each has ended; read `result` or `error`. Leave \
    shutdown_pool to whoever owns the pool. A refusal is an error with a stable `code`; when \
    `retryable` is true the same call may be taken later.";

/// What the methods need that can be asked wrongly: such a request comes as one of no known method.
fn needs(method: &str) -> Option<&'static str> {
    match method {
        "initialize" => Some("`protocolVersion`, `capabilities` and `clientInfo`"),
        "tools/call" => Some("a `name` and, when the tool takes any, an object of `arguments`"),
        "resources/read" => Some("a `uri`"),
        _ => None,
    }
}

/// Answers the messages. Cheap to clone.
#[derive(Clone)]
pub(super) struct Tools {
    pool: PoolHandle,
    settings: Arc<HttpSettings>,
    /// Made when somebody lists them first.
    list: Arc<OnceLock<Vec<Tool>>>,
}

impl Tools {
    pub(super) fn new(pool: PoolHandle, settings: Arc<HttpSettings>) -> Self {
        Self { pool, settings, list: Arc::default() }
    }

    fn list(&self) -> &[Tool] {
        self.list.get_or_init(|| tools::list(&self.settings))
    }
}

fn asked(context: &RequestContext<RoleServer>) -> Result<&Asked, ErrorData> {
    let asked = on_request_extensions(&context.extensions).and_then(|given| given.get::<Asked>());
    asked.ok_or_else(|| {
        let lost = Problem::new(Code::Internal, "the tool was not given its request");
        refusal::error(&lost, None)
    })
}

/// The answer, unless the client has gone before.
async fn unless_gone<T>(
    context: &RequestContext<RoleServer>,
    answer: impl Future<Output = Result<T, Problem>>,
) -> Result<T, ErrorData> {
    let trace = &asked(context)?.trace;
    tokio::select! {
        answer = answer => answer.map_err(|problem| refusal::error(&problem, Some(trace))),
        () = context.ct.cancelled() => Err(ErrorData::internal_error("the client has gone", None)),
    }
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().enable_resources().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("daedalus", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(self.list().to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.list().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let asked = asked(&context)?;
        let Some(name) = Name::parse(&request.name) else {
            let known = Name::ALL.map(Name::as_str);
            let message = format!("unknown_tool: there is no tool {}", request.name);
            let data = json!({
                "code": "unknown_tool",
                "message": format!("there is no tool {}", request.name),
                "retryable": false,
                "known": known,
                "trace_id": asked.trace.as_str(),
            });
            return Err(ErrorData::invalid_params(message, Some(data)));
        };
        let said = call::call(name, asked, &self.pool, &self.settings);
        let said = unless_gone(&context, said).await?;
        let mut result = CallToolResult::success(vec![ContentBlock::text(said.text)]);
        result.structured_content = Some(said.value);
        Ok(result.into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(resources::list()))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let contents = unless_gone(&context, resources::read(&request.uri, &self.pool)).await?;
        let Some(contents) = contents else {
            let (code, uri) = ("resource_not_found", &request.uri);
            let said = format!("there is nothing at {uri}");
            let data = json!({ "code": code, "message": said, "retryable": false, "uri": uri });
            return Err(ErrorData::resource_not_found(format!("{code}: {said}"), Some(data)));
        };
        Ok(ReadResourceResult::new(vec![contents]).into())
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method = request.method;
        if let Some(needs) = needs(&method) {
            let message = format!("the params of {method} are not allowed; it needs {needs}");
            return Err(ErrorData::invalid_params(message, None));
        }
        let message = format!("there is no method {method}");
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, message, None))
    }
}
