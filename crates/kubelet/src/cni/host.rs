//! What the node itself needs for its bridge: packets of pods may be forwarded.
//!
//! Docker sets the policy of the FORWARD chain to DROP, and an accept in a table of our own does not lift it. So
//! two rules that name our bridge, and nothing else, are put into that chain; [`remove`] takes them out again.

use std::process::Stdio;

use futures_util::TryStreamExt;

/// Accepts what comes from the bridge and what goes to it. Does nothing where iptables is not installed: then
/// nobody has set that policy either.
pub async fn allow_forwarding(bridge: &str) -> Result<(), String> {
    for direction in ["-i", "-o"] {
        let rule = ["FORWARD", direction, bridge, "-j", "ACCEPT"];
        match iptables("-C", &rule).await {
            Ok(true) => {}
            Ok(false) => {
                if !iptables("-I", &rule).await? {
                    return Err(format!("cannot accept forwarding for {bridge}"));
                }
            }
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

/// Takes the rules and the bridge away.
pub async fn remove(bridge: &str) -> Result<(), String> {
    for direction in ["-i", "-o"] {
        let rule = ["FORWARD", direction, bridge, "-j", "ACCEPT"];
        while iptables("-D", &rule).await.unwrap_or(false) {}
    }
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| error.to_string())?;
    let work = async {
        let mut links = handle.link().get().match_name(bridge.to_owned()).execute();
        if let Ok(Some(link)) = links.try_next().await {
            handle.link().del(link.header.index).execute().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    };
    tokio::select! {
        result = work => result,
        () = connection => Err("netlink has closed".to_owned()),
    }
}

async fn iptables(command: &str, rule: &[&str]) -> Result<bool, String> {
    let status = tokio::process::Command::new("iptables")
        .args(["-w", command])
        .args(rule)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await
        .map_err(|error| error.to_string())?;
    Ok(status.success())
}
