//! The starter spec: applied once, to a log that has none; then it is the user's.

use std::path::Path;

use proofmark_aggregator::node::Node;

use super::Layout;
use crate::exit::{Exit, Failure};
use crate::files::SpecFile;
use crate::operator::{self, Access};

const STARTER: &str = include_str!("../../../deploy/specs/starter/starter.yaml");
/// What the starter's `files` check watches until the user points it elsewhere.
const WATCHED: &str = "Files in this folder are checked by their SHA-256. Change one and look.\n";

/// Writes the spec beside the data, applies it if none is in force, and says where it is.
pub async fn apply_once(layout: &Layout, node: &Node, access: &Access) -> Result<String, Failure> {
    let path = layout.data.join("specs").join("starter.yaml");
    let name = path.display().to_string();
    if node.views().now().state.spec.revision > 0 {
        return Ok(name);
    }
    let text = filled(layout);
    write_new(&path, &text)?;
    write_new(&layout.data.join("files").join("README.txt"), WATCHED)?;
    let file = SpecFile { name: name.clone(), text };
    operator::apply_files(access, vec![file], false).await?;
    Ok(name)
}

fn filled(layout: &Layout) -> String {
    let first = &layout.replicas[0];
    let values = [
        ("${HTTP_ADDRESS}", first.listen.http.to_string()),
        ("${GRPC_ADDRESS}", first.listen.grpc.to_string()),
        ("${CA_FILE}", first.identity_dir().join("ca.pem").display().to_string()),
        ("${DATA_DIR}", layout.data.display().to_string()),
    ];
    values.iter().fold(STARTER.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let fault =
        |why: std::io::Error| Failure::new(Exit::Storage, format!("{}: {why}", path.display()));
    let folder = path.parent().expect("a file below the data directory");
    std::fs::create_dir_all(folder).map_err(fault)?;
    if path.exists() {
        return Ok(());
    }
    std::fs::write(path, text).map_err(fault)
}
