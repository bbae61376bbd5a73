//! The nemesis's own tools: a cut that does not cut would test nothing.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use proofmark_tests::chaos::net::{Drops, Net, Way, gateway, sweep};
use proofmark_tests::privilege;
use proofmark_tests::target::Target;
use proofmark_tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_cut_link_lets_nothing_pass_until_it_is_healed() {
    if let Err(why) = privilege::namespaces() {
        return privilege::skip("cut links", &why).unwrap_or_default();
    }
    sweep();
    let mut net = Net::build(&["one".to_owned(), "two".to_owned()]).expect("namespaces");
    let target = Target::on(gateway().into());
    let (host, port) = (net.host(0), target.address().port());
    let up = || reaches(&host, target.address()).then_some(());
    wait::until("the link to come up", PATIENCE, up);
    for (way, of_port, percent, passes) in [
        (Way::Out, None, 100, false),
        (Way::In, None, 100, false),
        (Way::In, Some(port), 100, false),
        (Way::Out, Some(port), 100, false),
        (Way::Out, Some(port ^ 1), 100, true),
        (Way::In, None, 0, true),
    ] {
        net.cut(0, Drops { way, peer: gateway(), port: of_port, percent }).expect("nft");
        let what = format!("{way:?} {of_port:?} {percent}");
        assert_eq!(reaches(&host, target.address()), passes, "{what}");
        assert!(reaches(&net.host(1), target.address()), "{what}: the other host is not cut");
        net.heal().expect("nft");
        assert!(reaches(&host, target.address()), "{what}: healed");
    }
}

/// Whether a connection comes about within a second, seen from a namespace.
fn reaches(host: &str, to: SocketAddr) -> bool {
    let dial = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
    let mut shell = Command::new("ip");
    shell.args(["netns", "exec", host, "timeout", "1", "bash", "-c", &dial]);
    shell.stderr(Stdio::null()).status().expect("ip runs").success()
}
