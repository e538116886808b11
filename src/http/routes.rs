//! Which path and method is which handler: the contract, as a table.

use actix_web::guard::{self, Guard};
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, Resource, Route};

use super::meter::Meter;
use super::problem::{Code, Problem};
use super::{
    agents, canary, complete, external, gates, health, isolation, openapi, pool, reports, retry,
    schedules, tasks,
};

/// Adds every route behind `base`.
pub(super) fn configure(app: &mut ServiceConfig, base: &str, meter: &Meter) {
    let at = |path: &'static str, allow: &'static str| {
        resource(format!("{base}{path}"), allow).app_data(meter.route(path))
    };
    app.service(
        at("/tasks", "GET, HEAD, POST")
            .route(web::post().to(tasks::submit))
            .route(read().to(tasks::list)),
    )
    // Before what has an id in this place: `retry` is none.
    .service(at("/tasks/retry", "POST").route(web::post().to(retry::many)))
    .service(at("/tasks/{id}/retry", "POST").route(web::post().to(retry::one)))
    .service(at("/tasks/{id}/complete", "POST").route(web::post().to(complete::one)))
    .service(at("/tasks/{id}/cancel", "POST").route(web::post().to(tasks::cancel)))
    .service(at("/tasks/{id}", "GET, HEAD").route(read().to(tasks::get)))
    .service(at("/agents/{id}/assignment", "GET").route(web::get().to(external::assignment)))
    .service(at("/agents/{id}/heartbeat", "POST").route(web::post().to(external::heartbeat)))
    .service(at("/agents/{id}/fail", "POST").route(web::post().to(agents::fail)))
    .service(at("/agents/{id}/recover", "POST").route(web::post().to(agents::recover)))
    .service(
        at("/agents/{id}", "DELETE, GET, HEAD")
            .route(read().to(agents::get))
            .route(web::delete().to(agents::remove)),
    )
    .service(
        at("/agents", "GET, HEAD, POST")
            .route(read().to(agents::list))
            .route(web::post().to(agents::spawn)),
    )
    .service(at("/pool/initialize", "POST").route(web::post().to(pool::initialize)))
    .service(at("/pool", "DELETE").route(web::delete().to(pool::close)))
    .service(at("/gates", "GET, HEAD").route(read().to(gates::list)))
    .service(at("/gates/{name}/close", "POST").route(web::post().to(gates::close)))
    .service(at("/gates/{name}/open", "POST").route(web::post().to(gates::open)))
    .service(at("/gates/{name}/auto", "POST").route(web::post().to(gates::auto)))
    .service(at("/schedules", "GET, HEAD").route(read().to(schedules::list)))
    .service(at("/schedules/{name}/run", "POST").route(web::post().to(schedules::run)))
    .service(at("/schedules/{name}/pause", "POST").route(web::post().to(schedules::pause)))
    .service(at("/schedules/{name}/resume", "POST").route(web::post().to(schedules::resume)))
    .service(at("/metrics", "GET, HEAD").route(read().to(reports::metrics)))
    .service(at("/isolation-report", "GET, HEAD").route(read().to(isolation::report)))
    .service(at("/isolation-report/canary", "POST").route(web::post().to(canary::check)))
    .service(at("/healthz", "GET, HEAD").route(read().to(health::alive)))
    .service(at("/readyz", "GET, HEAD").route(read().to(health::ready)))
    .service(at("/openapi.json", "GET, HEAD").route(read().to(openapi::document)))
    .service(at("/docs", "GET, HEAD").route(read().to(openapi::to_page)))
    .service(at("/docs/", "GET, HEAD").route(read().to(openapi::file)))
    .service(at("/docs/{file}", "GET, HEAD").route(read().to(openapi::file)));
}

/// What answers where there is nothing.
pub(super) fn unknown_path() -> Route {
    web::to(|request: HttpRequest| async move {
        let detail = format!("there is nothing at {}", request.path());
        Err::<HttpResponse, _>(Problem::new(Code::NotFound, detail))
    })
}

fn resource(path: String, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move || async move {
        Err::<HttpResponse, _>(Problem::method_not_allowed(allow))
    }))
}

/// A read: GET, or HEAD, which answers the same without a body.
fn read() -> Route {
    let (get, head) = (guard::Get(), guard::Head());
    web::route().guard(guard::fn_guard(move |context| get.check(context) || head.check(context)))
}
