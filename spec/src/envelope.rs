//! What every document has around it: `apiVersion`, `kind`, `metadata`, `spec`.

use crate::check::Check;
use crate::document::DocumentKind;
use crate::fault::{Slug, shown};
use crate::metadata::Metadata;
use crate::reader::{Fields, Value, any_of, instead_of};
use crate::service::Service;
use crate::sli::Sli;
use crate::slo::Slo;
use crate::written::Written;

/// One document, read.
pub(crate) enum Document {
    Check(Check),
    Service(Service),
    Sli(Sli),
    Slo(Slo),
}

#[derive(Clone, Copy)]
enum ApiVersion {
    OpenSlo,
    Proofmark,
}

const API_VERSIONS: [(&str, ApiVersion); 2] =
    [("openslo/v1", ApiVersion::OpenSlo), ("proofmark/v1", ApiVersion::Proofmark)];

impl ApiVersion {
    fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::OpenSlo => &["Service", "SLI", "SLO"],
            Self::Proofmark => &["Check"],
        }
    }

    /// Kinds that exist and are not evaluated yet: refused by name.
    fn later_kinds(self) -> &'static [&'static str] {
        match self {
            Self::OpenSlo => {
                &["AlertCondition", "AlertNotificationTarget", "AlertPolicy", "DataSource"]
            }
            Self::Proofmark => {
                &["Baseline", "Drill", "Gate", "Maintenance", "Route", "Scorecard", "Selector"]
            }
        }
    }
}

impl Document {
    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let version = fields.need("apiVersion", read_api_version);
        let kind = fields.need("kind", |value| read_kind(value, version?));
        // Of a document of an unknown kind nothing more can be said.
        let (Some(_), Some(kind)) = (version, kind) else { return None };
        let metadata = fields.need("metadata", Metadata::read);
        let written = Written::new(&value.reporter.file, value.node);
        let document = read_spec(&mut fields, kind, metadata, written);
        fields.finish();
        document
    }

    pub(crate) fn id(&self) -> (DocumentKind, &str) {
        match self {
            Self::Check(check) => (DocumentKind::Check, &check.name),
            Self::Service(service) => (DocumentKind::Service, &service.name),
            Self::Sli(sli) => (DocumentKind::Sli, &sli.name),
            Self::Slo(slo) => (DocumentKind::Slo, &slo.name),
        }
    }
}

fn read_spec(
    fields: &mut Fields<'_>,
    kind: &str,
    metadata: Option<Metadata>,
    written: Written,
) -> Option<Document> {
    fields.need("spec", |spec| match kind {
        "Check" => Check::read(metadata, spec, written).map(Document::Check),
        "Service" => Service::read(metadata, spec, written).map(Document::Service),
        "SLI" => Sli::read(metadata, spec, written).map(Document::Sli),
        _ => Slo::read(metadata, spec, written).map(Document::Slo),
    })
}

fn read_api_version(value: &Value<'_>) -> Option<ApiVersion> {
    let text = value.text()?;
    match API_VERSIONS.iter().find(|(name, _)| *name == text) {
        Some((_, version)) => Some(*version),
        None => {
            let expected = API_VERSIONS.map(|(name, _)| name).join(" or ");
            value.fault(Slug::UnknownApiVersion, expected, shown(text))
        }
    }
}

fn read_kind(value: &Value<'_>, version: ApiVersion) -> Option<&'static str> {
    let text = value.text()?;
    let kinds = version.kinds();
    if let Some(kind) = kinds.iter().find(|kind| **kind == text) {
        return Some(*kind);
    }
    match version.later_kinds().contains(&text) {
        true => value.fault(Slug::NotSupportedYet, any_of(kinds), shown(text)),
        false => value.fault(Slug::UnknownKind, instead_of(text, kinds), shown(text)),
    }
}
