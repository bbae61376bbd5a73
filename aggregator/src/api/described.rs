//! What the document says of every read: the parameter, the headers, and the refusal. One place for
//! all paths under `/api/v1`.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{
    Content, Header, HeaderBuilder, OpenApi, Ref, RefOr, Response, ResponseBuilder,
};

use super::reads::{AGE_MS, APPLIED_INDEX, AS_OF_MS, CONSISTENCY, Consistency, LOG_SIZE};

/// Adds to every path what is the same for all.
pub struct ReadsDescribed;

/// What a replica says of itself is wanted most when there is no majority.
const STALE_BY_DEFAULT: &str = "/api/v1/health";

impl utoipa::Modify for ReadsDescribed {
    fn modify(&self, document: &mut OpenApi) {
        for (path, item) in &mut document.paths.paths {
            let Some(get) = &mut item.get else { continue };
            get.parameters.get_or_insert_default().push(RefOr::T(parameter(path)));
            for response in get.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    response.headers.extend(headers());
                }
            }
            get.responses.responses.insert("503".to_owned(), RefOr::T(refusal()));
        }
    }
}

fn parameter(path: &str) -> Parameter {
    let default = match path {
        STALE_BY_DEFAULT => Consistency::Stale,
        _ => Consistency::Linearizable,
    };
    let words = [Consistency::Linearizable, Consistency::Stale].map(Consistency::word);
    let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words));
    ParameterBuilder::new()
        .name("consistency")
        .parameter_in(ParameterIn::Query)
        .description(Some(
            "linearizable: everything acknowledged before the question is in the answer, or 503; \
             stale: what this replica has, at once, and how old that is",
        ))
        .schema(Some(schema.default(Some(default.word().into()))))
        .build()
}

/// name, what it says, whether it is a number
const HEADERS: &[(&str, &str, bool)] = &[
    (CONSISTENCY, "linearizable or stale", false),
    (APPLIED_INDEX, "the newest entry of the Raft log in the answer", true),
    (LOG_SIZE, "leaves of the log that the answer knows of", true),
    (AS_OF_MS, "the leader's stamp of that entry, Unix milliseconds", true),
    (
        AGE_MS,
        "everything committed longer ago than these milliseconds is in the answer, to within the \
         way of one message; absent: not known since this replica started",
        true,
    ),
];

fn headers() -> impl Iterator<Item = (String, RefOr<Header>)> {
    HEADERS.iter().map(|(name, description, is_number)| {
        let kind = if *is_number { Type::Integer } else { Type::String };
        let schema = ObjectBuilder::new().schema_type(kind).build();
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(*description));
        ((*name).to_owned(), RefOr::T(header.build()))
    })
}

fn refusal() -> Response {
    let schema = Ref::from_schema_name("ProblemView");
    let retry = ObjectBuilder::new().schema_type(Type::Integer).build();
    let retry = HeaderBuilder::new().schema(Some(retry)).description(Some("seconds"));
    ResponseBuilder::new()
        .description(
            "read_index_unanswered, reads_full, read_behind or diverged: nobody vouches for a \
             linearizable answer here now",
        )
        .content("application/json", Content::new(Some(schema)))
        .header("retry-after", retry.build())
        .build()
}
