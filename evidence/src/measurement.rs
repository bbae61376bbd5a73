//! What a run measured: a closed list of kinds, each an integer whose unit is in its name.

use crate::bytes::{ByteReader, ByteWriter, DecodeFault};
use crate::codes::closed_list;

closed_list! {
    /// What is measured. Times of one probe follow each other and do not overlap.
    MeasurementKind {
        /// From the scheduled instant to the start of the run.
        StartLagUs = 1 "start_lag_us",
        ResolveUs = 2 "resolve_us",
        ConnectUs = 3 "connect_us",
        TlsUs = 4 "tls_us",
        /// From the request sent to the first byte of the answer.
        FirstByteUs = 5 "first_byte_us",
        /// From the first byte of the answer to its last.
        TransferUs = 6 "transfer_us",
        HttpStatusCode = 7 "http_status_code",
        BodyBytes = 8 "body_bytes",
        /// Seconds the certificate has left; negative when it is past.
        CertificateExpiryS = 9 "certificate_expiry_s",
        RedirectsCount = 10 "redirects_count",
        /// Thousandths of all processors together.
        CpuUsedPermille = 11 "cpu_used_permille",
        MemoryUsedBytes = 12 "memory_used_bytes",
        MemoryTotalBytes = 13 "memory_total_bytes",
        SwapUsedBytes = 14 "swap_used_bytes",
        DiskUsedPermille = 15 "disk_used_permille",
        DiskFreeBytes = 16 "disk_free_bytes",
        /// Load average over one minute, in thousandths.
        Load1Milli = 17 "load_1_milli",
        Load5Milli = 18 "load_5_milli",
        Load15Milli = 19 "load_15_milli",
        FilesCount = 20 "files_count",
        FilesBytes = 21 "files_bytes",
        FilesChangedCount = 22 "files_changed_count",
        /// Records in the answer of a name server.
        AnswersCount = 23 "answers_count",
        /// Runs this one result stands for besides its own, as after a sleep.
        RunsMissedCount = 24 "runs_missed_count",
    }
}

/// One reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Measurement {
    pub kind: MeasurementKind,
    /// In the unit the kind's slug ends with.
    pub value: i64,
}

impl Measurement {
    pub(crate) fn write(&self, writer: &mut ByteWriter) {
        writer.u8(self.kind.code()).signed(self.value);
    }

    pub(crate) fn read(reader: &mut ByteReader<'_>) -> Result<Measurement, DecodeFault> {
        let what = "measurement kind";
        let code = reader.u8(what)?;
        let kind = MeasurementKind::from_code(code)
            .ok_or(DecodeFault::UnknownCode { what, got: code.into() })?;
        Ok(Measurement { kind, value: reader.signed("measurement value")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn kinds_are_unique_and_end_with_their_unit() {
        let slugs: BTreeSet<_> = MeasurementKind::ALL.iter().map(|kind| kind.slug()).collect();
        assert_eq!(slugs.len(), MeasurementKind::ALL.len());
        assert!(MeasurementKind::ALL.is_sorted_by(|a, b| a.code() < b.code()));
        let units = ["us", "s", "bytes", "count", "permille", "milli", "code"];
        for slug in slugs {
            let unit = slug.rsplit('_').next().expect("a slug has words");
            assert!(units.contains(&unit), "{slug} has no unit");
        }
    }

    #[test]
    fn extremes_come_back() {
        for value in [i64::MIN, -1, 0, 1, i64::MAX] {
            let measurement = Measurement { kind: MeasurementKind::CertificateExpiryS, value };
            let mut writer = ByteWriter::new();
            measurement.write(&mut writer);
            let bytes = writer.into_bytes();
            assert_eq!(Measurement::read(&mut ByteReader::new(&bytes)), Ok(measurement));
        }
    }
}
