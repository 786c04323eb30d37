//! The consent of iptables. Docker sets the policy of its FORWARD chain to DROP, and a packet must be accepted by
//! every table: so two rules of ours stand at the head of that chain, where it would drop anything.

use crate::Network;
use crate::apply::{ApplyError, run};

/// What our rules are found by.
const COMMENT: &str = "coxswain";

fn rules(network: &Network) -> [[String; 2]; 2] {
    ["-s", "-d"].map(|direction| [direction.to_owned(), network.cluster.to_string()])
}

/// Has iptables forward what pods send and receive.
pub(super) async fn allow(network: &Network) -> Result<(), ApplyError> {
    let chain = match run("iptables", &["-w", "-S", "FORWARD"], "").await {
        Ok(chain) => chain,
        // Where there is no iptables, nothing of it drops packets.
        Err(ApplyError::Run(_, error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if chain.trim() == "-P FORWARD ACCEPT" {
        return Ok(());
    }
    for [direction, cidr] in rules(network) {
        let present = chain.lines().any(|line| {
            line.contains(COMMENT)
                && line.contains(&format!("{direction} {cidr}"))
                && line.ends_with("ACCEPT")
        });
        if !present {
            change("-I", &direction, &cidr).await?;
        }
    }
    Ok(())
}

/// Takes our rules away.
pub(super) async fn disallow(network: &Network) -> Result<(), ApplyError> {
    let chain = match run("iptables", &["-w", "-S", "FORWARD"], "").await {
        Ok(chain) => chain,
        Err(ApplyError::Run(_, error)) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let ours = chain.lines().filter(|line| line.contains(COMMENT));
    for line in ours {
        for [direction, cidr] in rules(network) {
            if line.contains(&format!("{direction} {cidr}")) {
                change("-D", &direction, &cidr).await?;
            }
        }
    }
    Ok(())
}

async fn change(verb: &str, direction: &str, cidr: &str) -> Result<(), ApplyError> {
    let rule = ["-m", "comment", "--comment", COMMENT, "-j", "ACCEPT"];
    let mut arguments = vec!["-w", verb, "FORWARD", direction, cidr];
    arguments.extend(rule);
    run("iptables", &arguments, "").await.map(drop)
}
