//! `host`: what the agent's own machine has left. Every bound is optional; a check without bounds
//! only measures.

use crate::fault::Slug;
use crate::reader::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostProbe {
    /// Thousandths of all cores.
    pub cpu_used_permille_max: Option<u32>,
    pub memory_used_permille_max: Option<u32>,
    /// Of the file system that holds `disk_path`.
    pub disk_used_permille_max: Option<u32>,
    /// Thousandths of the one-minute load average divided by the cores.
    pub load1_per_core_milli_max: Option<u64>,
    /// By default `/`.
    pub disk_path: String,
}

impl HostProbe {
    pub(super) fn read(value: &Value<'_>) -> Option<Self> {
        let mut fields = value.fields()?;
        let cpu = fields.maybe("cpu_used_percent_max", Value::permille);
        let memory = fields.maybe("memory_used_percent_max", Value::permille);
        let disk = fields.maybe("disk_used_percent_max", Value::permille);
        let load = fields.maybe("load1_per_core_max", read_load);
        let disk_path = fields.or("disk_path", "/".to_owned(), Value::path);
        fields.finish();
        Some(Self {
            cpu_used_permille_max: cpu?,
            memory_used_permille_max: memory?,
            disk_used_permille_max: disk?,
            load1_per_core_milli_max: load?,
            disk_path: disk_path?,
        })
    }
}

fn read_load(value: &Value<'_>) -> Option<u64> {
    let expected = "a load above 0 and up to 1000";
    let milli = value.decimal(3, expected)?;
    match (1..=1_000_000).contains(&milli) {
        true => Some(milli),
        false => value.fault(Slug::OutOfRange, expected, value.node.content.describe()),
    }
}
