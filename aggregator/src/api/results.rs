//! One result, and its proof, read from the evidence. The index only says where to look.

use axum::extract::State;
use axum::response::Response;
use proofmark_evidence::{
    AgentName, CheckResult, DirSource, LogReader, OpenBatch, ResultId, SealedBatch, prove_result,
};

use super::Api;
use super::problem::{PathParts, Problem};
use super::reads::{Read, Told};
use crate::views::family;
use crate::views::model::{MeasurementView, ProblemView, ResultView};

type IdParts = PathParts<(String, u64, u64)>;

/// One result by its id. Only published results are shown: what is shown can be proven.
#[utoipa::path(
    get,
    path = "/api/v1/results/{agent}/{epoch}/{seq}",
    params(
        ("agent" = String, Path, description = "agent's name"),
        ("epoch" = u64, Path, description = "the agent's epoch"),
        ("seq" = u64, Path, description = "sequence number, from 1")
    ),
    responses(
        (status = 200, body = ResultView),
        (status = 400, body = ProblemView),
        (status = 404, body = ProblemView)
    )
)]
pub async fn result(
    State(api): State<Api>,
    id: IdParts,
    read: Read,
) -> Result<Told<ResultView>, Problem> {
    let id = parse_id(id)?;
    let found = blocking(move || read_result(&api, &id)).await;
    read.tell_found(found)
}

/// The proof file of one result: `proofmark evidence check` reads it offline.
#[utoipa::path(
    get,
    path = "/api/v1/results/{agent}/{epoch}/{seq}/proof",
    params(
        ("agent" = String, Path, description = "agent's name"),
        ("epoch" = u64, Path, description = "the agent's epoch"),
        ("seq" = u64, Path, description = "sequence number, from 1")
    ),
    responses(
        (status = 200, body = String, content_type = "text/plain"),
        (status = 400, body = ProblemView),
        (status = 404, body = ProblemView)
    )
)]
pub async fn proof(State(api): State<Api>, id: IdParts, read: Read) -> Result<Response, Problem> {
    let id = parse_id(id)?;
    let text = blocking(move || {
        let (reader, leaf_index) = locate(&api, &id)?;
        let proof = prove_result(&reader, &id, leaf_index);
        proof.map(|proof| proof.to_text()).map_err(|why| Problem::internal(why.slug(), why))
    });
    read.tell_found(text.await).map(Told::into_text)
}

fn parse_id(PathParts((agent, epoch, seq)): IdParts) -> Result<ResultId, Problem> {
    let agent = AgentName::parse(&agent)
        .map_err(|why| Problem::bad_request("result_id", format!("agent name: {why}")))?;
    Ok(ResultId { agent, epoch, seq })
}

/// Files are read on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let read = tokio::task::spawn_blocking(read);
    read.await.unwrap_or_else(|why| Err(Problem::internal("reader_ended", why)))
}

fn locate(api: &Api, id: &ResultId) -> Result<(LogReader, u64), Problem> {
    let missing = |got: &str| {
        Problem::not_found(
            "no_such_result",
            format!("expected a published result, got {id}: {got}"),
        )
    };
    let found = api.index.find(id).map_err(|why| Problem::internal(why.slug(), why))?;
    let leaf_index = found.ok_or_else(|| missing("no batch holds it"))?;
    let reader = LogReader::open(DirSource::new(api.evidence_dir.as_path()))
        .map_err(|why| Problem::internal(why.slug(), why))?;
    if leaf_index >= reader.size() {
        return Err(missing("its batch is accepted and not published yet"));
    }
    Ok((reader, leaf_index))
}

fn read_result(api: &Api, id: &ResultId) -> Result<ResultView, Problem> {
    let (reader, leaf_index) = locate(api, id)?;
    let leaf = reader.leaf(leaf_index).map_err(|why| Problem::internal(why.slug(), why))?;
    let payload = reader.payload(leaf_index).map_err(|why| Problem::internal(why.slug(), why))?;
    let batch = SealedBatch { leaf, payload: payload.into() };
    let open = batch.open().map_err(|why| Problem::internal(why.slug(), why))?;
    let at = id.seq.checked_sub(open.header.seq_first).and_then(|at| usize::try_from(at).ok());
    let result = at.and_then(|at| open.results.get(at));
    let result =
        result.ok_or_else(|| Problem::internal("index_wrong", "the batch lacks the result"))?;
    Ok(view(id, leaf_index, &open, result))
}

fn view(id: &ResultId, leaf_index: u64, open: &OpenBatch, result: &CheckResult) -> ResultView {
    let check = open.check(result);
    let measurements = result.measurements.iter().map(|measurement| MeasurementView {
        kind: measurement.kind.slug().to_owned(),
        value: measurement.value,
    });
    ResultView {
        id: id.to_string(),
        check: check.check.to_string(),
        agent: id.agent.to_string(),
        target: check.target.clone(),
        spec_revision: check.spec_revision,
        scheduled_at_ms: open.scheduled_at_ms(result),
        outcome: result.outcome.slug().to_owned(),
        state: family(&result.outcome),
        duration_us: result.duration_us,
        measurements: measurements.collect(),
        detail: result.detail.clone(),
        leaf_index,
    }
}
