//! `aggregator invite`, `replace`, `leave`, `transfer-leader`, `members`: an operator's words about
//! replicas, over mutually authenticated gRPC.

use proofmark_proto::{
    InviteNodeRequest, LeaveNodeRequest, ListMembersReply, ListMembersRequest, MemberRow,
    TransferLeaderRequest,
};

use super::{Access, access, ttl_seconds};
use crate::args::OperatorAccess;
use crate::exit::{Done, Exit, Failure};

/// Prints the token and nothing else: it is meant for a pipe.
pub fn invite(name: &str, replaces: Option<&str>, ttl: &str, operator: &OperatorAccess) -> Done {
    let ttl_s = ttl_seconds(ttl)?;
    // An empty shell variable must not turn a replacement into one replica more.
    if replaces.is_some_and(str::is_empty) {
        return Err(Failure::new(Exit::Usage, "expected the name of a replica, got empty text"));
    }
    let replaces = replaces.unwrap_or_default().to_owned();
    let request = InviteNodeRequest { name: name.to_owned(), replaces, ttl_s };
    let access = Access::open(operator)?;
    let reply = access::now(access.ask(|mut client| {
        let request = request.clone();
        async move { client.invite_node(request).await }
    }))?;
    println!("{}", reply.token);
    Ok(Exit::Ok)
}

pub fn leave(name: &str, operator: &OperatorAccess) -> Done {
    let request = LeaveNodeRequest { name: name.to_owned() };
    let access = Access::open(operator)?;
    access::now(access.ask(|mut client| {
        let request = request.clone();
        async move { client.leave_node(request).await }
    }))?;
    println!("replica {name} is leaving: see `proofmark aggregator members`");
    Ok(Exit::Ok)
}

pub fn transfer_leader(to: &str, operator: &OperatorAccess) -> Done {
    let request = TransferLeaderRequest { to: to.to_owned() };
    let access = Access::open(operator)?;
    access::now(access.ask(|mut client| {
        let request = request.clone();
        async move { client.transfer_leader(request).await }
    }))?;
    println!("replica {to} leads");
    Ok(Exit::Ok)
}

pub fn list(operator: &OperatorAccess) -> Done {
    let access = Access::open(operator)?;
    let reply = access::now(
        access.ask(|mut client| async move { client.list_members(ListMembersRequest {}).await }),
    )?;
    print!("{}", table(&reply));
    Ok(Exit::Ok)
}

/// Columns as wide as their widest word.
fn table(reply: &ListMembersReply) -> String {
    let head = ["ID", "NAME", "PART", "LEADS", "LAG", "AGENTS", "PEERS"].map(str::to_owned);
    let rows: Vec<[String; 7]> =
        std::iter::once(head).chain(reply.members.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let line = |row: &[String; 7]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(member: &MemberRow) -> [String; 7] {
    let part = match member.replaces.as_str() {
        "" => member.part.clone(),
        old => format!("{} for {old}", member.part),
    };
    let lag = member.lag_entries.map_or_else(|| "-".to_owned(), |lag| lag.to_string());
    let leads = if member.leads { "yes" } else { "-" };
    let text = |word: &str| if word.is_empty() { "-".to_owned() } else { word.to_owned() };
    [
        member.id.to_string(),
        member.name.clone(),
        part,
        leads.to_owned(),
        lag,
        text(&member.grpc),
        text(&member.peers),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_a_table() {
        let member = |id, name: &str, part: &str, lag_entries| MemberRow {
            id,
            name: name.to_owned(),
            part: part.to_owned(),
            lag_entries,
            leads: id == 1,
            ..MemberRow::default()
        };
        let mut late = member(4, "a4", "learner", Some(17));
        (late.replaces, late.grpc) = ("a2".to_owned(), "h:1".to_owned());
        let members = vec![member(1, "a1", "voter", Some(0)), member(2, "a2", "voter", None), late];
        let expect = "\
ID  NAME  PART            LEADS  LAG  AGENTS  PEERS
1   a1    voter           yes    0    -       -
2   a2    voter           -      -    -       -
4   a4    learner for a2  -      17   h:1     -
";
        assert_eq!(table(&ListMembersReply { members, version: 2 }), expect);
    }
}
