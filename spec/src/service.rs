//! `kind: Service` (OpenSLO v1): what objectives are about.

use crate::metadata::Metadata;
use crate::reader::Value;
use crate::written::Written;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub display_name: Option<String>,
    pub description: Option<String>,
    pub written: Written,
}

impl Service {
    pub(crate) fn read(
        metadata: Option<Metadata>,
        spec: &Value<'_>,
        written: Written,
    ) -> Option<Self> {
        let mut fields = spec.fields()?;
        let description = fields.maybe("description", Value::description);
        fields.finish();
        let Metadata { name, display_name } = metadata?;
        Some(Self { name, display_name, description: description?, written })
    }
}
