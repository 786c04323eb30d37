//! What a client may ask of a stream: the options of `pods/exec`, `pods/attach` and `pods/portforward`.

use api::status::Status;
use rpc::v1::ContainerOpen;
use serde_json::{Value, json};

use super::Verb;
use crate::pipeline::Target;

/// Reads the query of exec or attach. Which container is meant is for others to find out.
pub(super) fn process(
    verb: Verb,
    target: &Target,
    query: &[(String, String)],
) -> Result<ContainerOpen, Status> {
    let all = |name: &str| {
        let values = query.iter().filter(|(own, _)| own == name);
        values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    let on = |name: &str| {
        let value = query.iter().find(|(own, _)| own == name).map(|(_, value)| value.to_ascii_lowercase());
        value.is_some_and(|value| value != "false" && value != "0")
    };
    let tty = on("tty");
    let open = ContainerOpen {
        namespace: target.namespace.clone().unwrap_or_default(),
        pod: target.name.clone().unwrap_or_default(),
        pod_uid: String::new(),
        container: all("container").into_iter().next().unwrap_or_default(),
        command: all("command"),
        stdin: on("stdin"),
        stdout: on("stdout"),
        // A terminal has no standard error of its own.
        stderr: on("stderr") && !tty,
        tty,
    };
    check(verb, &open)?;
    Ok(open)
}

/// What is asked for, as admission sees it: `PodExecOptions` or `PodAttachOptions`.
pub(crate) fn told(open: &ContainerOpen) -> Value {
    let mut told = json!({});
    for (field, is_on) in
        [("stdin", open.stdin), ("stdout", open.stdout), ("stderr", open.stderr), ("tty", open.tty)]
    {
        if is_on {
            told[field] = true.into();
        }
    }
    if !open.container.is_empty() {
        told["container"] = open.container.as_str().into();
    }
    if !open.command.is_empty() {
        told["command"] = json!(open.command);
    }
    told
}

/// Whether it makes sense.
pub(super) fn check(verb: Verb, open: &ContainerOpen) -> Result<(), Status> {
    if verb == Verb::Exec && open.command.is_empty() {
        return Err(Status::bad_request("you must specify at least one command for the container"));
    }
    if !open.stdin && !open.stdout && !open.stderr {
        return Err(Status::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn read(verb: Verb, query: &[(&str, &str)]) -> Result<ContainerOpen, Status> {
        let def: Arc<_> = api::registry::registry().resource("", "v1", "pods").expect("pods");
        let (namespace, name) = (Some("n".to_owned()), Some("p".to_owned()));
        let target = Target { def, namespace, name, subresource: None };
        let query: Vec<_> =
            query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        process(verb, &target, &query)
    }

    #[test]
    fn options_are_read_as_kubernetes_reads_them() {
        let open = read(
            Verb::Exec,
            &[
                ("command", "sh"),
                ("command", "-c"),
                ("command", ""),
                ("container", "c"),
                ("stdin", "true"),
                ("stdout", "1"),
                ("stderr", "false"),
            ],
        )
        .expect("good");
        assert_eq!(open.command, ["sh", "-c", ""]);
        assert_eq!((open.stdin, open.stdout, open.stderr, open.tty), (true, true, false, false));
        assert_eq!((&*open.namespace, &*open.pod, &*open.container), ("n", "p", "c"));
        let tty = read(Verb::Attach, &[("stdout", "true"), ("stderr", "true"), ("tty", "true")]);
        assert!(!tty.expect("good").stderr);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (verb, query) in [
            (Verb::Exec, &[("stdout", "true")][..]),
            (Verb::Exec, &[("command", "ls")]),
            (Verb::Attach, &[("tty", "true"), ("stderr", "true")]),
        ] {
            assert_eq!(read(verb, query).expect_err("refused").code, 400, "{query:?}");
        }
    }
}
